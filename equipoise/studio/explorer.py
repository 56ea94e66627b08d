"""The studio's end of the explorer: starts its process at the first request, and passes requests on, one at a time.

Latest wins: of the requests of one client only the newest waits, so a slider never has a queue behind it. A process
that ended, for whatever reason, is started again at the next request; what it was computing is requested once more.
Nothing of torch is imported here.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from equipoise.errors import EquipoiseError
from equipoise.studio.frames import Frame, receive_frame

MODULE = "equipoise.studio.explorer_process"
MAX_WAITING = 32
"""Number of clients whose requests can wait."""
TOO_LONG = 30.0
"""Seconds after which a request under way is given up for a newer one of the same client: its process is ended."""
ATTEMPTS = 2


class SupersededError(EquipoiseError):
    """A newer request of the same client has replaced this one."""


class ExplorerError(EquipoiseError):
    """An explorer that cannot answer."""


@dataclass(eq=False)
class _PendingRequest:
    """A request that waits for its answer. `since`: when it was passed on, in seconds of the monotonic clock."""

    client: str
    frame: Frame
    answer: "asyncio.Future[Frame]"
    since: float = 0.0
    attempts: int = 0


@dataclass(eq=False)
class _ExplorerProcess:
    """A running process, and the task that reads its answers."""

    process: asyncio.subprocess.Process
    folder: str
    reader: "asyncio.Task[None] | None" = None


@dataclass(eq=False)
class Explorer:
    """A process that draws samples. `words`: the program and arguments that start it, without the folder.

    One request is under way at a time; `waiting` holds the newest one of each client.
    """

    trust_code: bool = False
    words: tuple[str, ...] = (sys.executable, "-m", MODULE)
    _running: _ExplorerProcess | None = None
    _under_way: _PendingRequest | None = None
    _waiting: "OrderedDict[str, _PendingRequest]" = field(default_factory=OrderedDict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _number: int = 0
    _is_closed: bool = False

    @property
    def pid(self) -> int | None:
        """The id of the process; None before the first request."""
        return None if self._running is None else self._running.process.pid

    async def request(self, values: Mapping[str, object], content: bytes = b"", client: str = "") -> Frame:
        """Return the answer to a message. `client`: "" for a request that none replaces.

        Raises SupersededError if a newer request of the client came meanwhile, ExplorerError if the process does not
        answer, or if it answers with an error.
        """
        if self._is_closed:
            raise ExplorerError("the studio is stopping")
        self._number += 1
        name = client or f"#{self._number}"
        frame = Frame({**values, "id": self._number}, content)
        pending = _PendingRequest(name, frame, asyncio.get_running_loop().create_future())
        if name not in self._waiting and len(self._waiting) >= MAX_WAITING:
            raise ExplorerError("too many pages wait for the explorer; close some of them")
        older = self._waiting.pop(name, None)
        if older is not None and not older.answer.done():
            older.answer.set_exception(SupersededError("a newer request has replaced this one"))
        self._waiting[name] = pending
        self._give_up_for(name)
        self._pass_on()
        answer = await pending.answer
        if "error" in answer.values:
            raise ExplorerError(str(answer.values["error"]))
        return answer

    def close(self) -> None:
        """End the process, and answer what waits with an error."""
        self._is_closed = True
        for pending in (*self._waiting.values(), *([self._under_way] if self._under_way else [])):
            _fail(pending, "the studio is stopping")
        self._waiting.clear()
        self._end_process()

    def _give_up_for(self, client: str) -> None:
        """End the process if it has worked on an older request of the client for too long."""
        current = self._under_way
        if current is not None and current.client == client and time.monotonic() - current.since > TOO_LONG:
            _fail(current, "the request took too long, and was given up for a newer one")
            self._under_way = None
            self._end_process()

    def _pass_on(self) -> None:
        """Pass the longest waiting request to the process, if that is free."""
        if self._under_way is not None or not self._waiting:
            return
        _, self._under_way = self._waiting.popitem(last=False)
        self._send(self._under_way)

    def _send(self, pending: _PendingRequest) -> None:
        pending.since, pending.attempts = time.monotonic(), pending.attempts + 1
        task = asyncio.create_task(self._write(pending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, pending: _PendingRequest) -> None:
        try:
            async with self._lock:
                running = self._running or await self._start()
            assert running.process.stdin is not None
            running.process.stdin.write(pending.frame.encode())
            await running.process.stdin.drain()
        except (ConnectionError, RuntimeError):
            return  # the process has ended, which its reader reports
        except OSError as error:
            self._finish(pending, Frame({"error": f"the explorer cannot be started: {error.strerror or error}"}))

    async def _start(self) -> _ExplorerProcess:
        folder = tempfile.mkdtemp(prefix="equipoise-explorer-")
        flags = ["--trust-code"] if self.trust_code else []
        try:
            process = await asyncio.create_subprocess_exec(
                *self.words,
                folder,
                *flags,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        running = self._running = _ExplorerProcess(process, folder)
        running.reader = asyncio.create_task(self._read(running))
        return running

    async def _read(self, running: _ExplorerProcess) -> None:
        """Hand out the answers of a process; when it ends, repeat what it was computing with a new one."""
        stream = running.process.stdout
        assert stream is not None
        while (answer := await receive_frame(stream)) is not None:
            current = self._under_way
            if current is not None and answer.values.get("id") == current.frame.values["id"]:
                self._finish(current, answer)
        code = await running.process.wait()
        shutil.rmtree(running.folder, ignore_errors=True)
        if self._running is not running:
            return
        self._running = None
        current = self._under_way
        if current is None or self._is_closed:
            return
        if current.attempts < ATTEMPTS:
            self._send(current)
        else:
            problem = f"the explorer ended twice with this request (exit code {code}), perhaps for lack of memory"
            self._finish(current, Frame({"error": f"{problem}; request fewer samples"}))

    def _finish(self, pending: _PendingRequest, answer: Frame) -> None:
        if not pending.answer.done():
            pending.answer.set_result(answer)
        if self._under_way is pending:
            self._under_way = None
        self._pass_on()

    def _end_process(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()
        shutil.rmtree(running.folder, ignore_errors=True)


def _fail(pending: _PendingRequest, problem: str) -> None:
    if not pending.answer.done():
        pending.answer.set_exception(ExplorerError(problem))
