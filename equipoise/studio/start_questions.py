"""Questions about a run before it is started, answered by processes that import torch: the studio does not."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field

from equipoise.errors import RunError

WAITING = 120.0
"""Seconds for which a process waits for the next preview; it holds 600 MB."""
LONGEST_LINE = 64 * 2**20
"""Largest number of bytes of an answer: its pictures are part of it."""
REPLACED = "a newer preview has replaced this one"


@dataclass(eq=False)
class StartQuestions:
    """Asks processes of start_process.py. Of previews, the latest wins.

    Importing takes seconds, so that a process for the next preview waits from :meth:`prepare` on, which is called when
    the form is opened. `words`: the program and arguments of such a process.
    """

    words: tuple[str, ...] = (sys.executable, "-m", "equipoise.studio.start_process")
    trust_code: bool = False
    _preview: asyncio.subprocess.Process | None = None
    _next: asyncio.subprocess.Process | None = None
    _waits_until: asyncio.TimerHandle | None = None
    _plugs: Mapping[str, object] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def plugs(self) -> Mapping[str, object]:
        """Return all plugs, by kind. They are listed once. Raises RunError if that fails."""
        async with self._lock:
            if self._plugs is None:
                (answer,) = [answer async for answer in _answers(await self._start("catalog"), b"")]
                if problem := answer.get("error"):
                    raise RunError(f"what there is to train cannot be listed: {problem}")
                self._plugs = answer
        return self._plugs

    async def preview(self, values: Mapping[str, object]) -> AsyncIterator[Mapping[str, object]]:
        """Yield what is known of a run: what its data hold, and after some seconds also what it costs.

        A preview under way is given up, and its last answer is that a newer one replaced it.
        """
        _kill(self._preview)
        prepared, self._next = self._next, None
        is_ready = prepared is not None and prepared.returncode is None
        process = self._preview = prepared if prepared and is_ready else await self._start_preview()
        async for answer in _answers(process, json.dumps(values).encode()):
            yield answer
        if self._preview is process:
            self._preview = None
            if prepared is not None:
                await self.prepare()

    async def prepare(self) -> None:
        """Start the process of the next preview, unless one waits already. It ends when it has waited for long."""
        if self._waits_until is not None:
            self._waits_until.cancel()
        self._waits_until = asyncio.get_running_loop().call_later(WAITING, self._stop_waiting)
        if self._next is None or self._next.returncode is not None:
            self._next = await self._start_preview()

    def close(self) -> None:
        """End the preview under way, and the process that waits."""
        if self._waits_until is not None:
            self._waits_until.cancel()
        _kill(self._preview)
        self._preview = None
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        _kill(self._next)
        self._next = None

    def _start_preview(self) -> Coroutine[object, object, asyncio.subprocess.Process]:
        return self._start("preview", *(["--trust-code"] if self.trust_code else []))

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *self.words, *words, stdin=pipe, stdout=pipe, stderr=pipe, limit=LONGEST_LINE
            )
        except OSError as error:
            raise RunError(f"the preview cannot be started: {error.strerror or error}") from error


async def _answers(process: asyncio.subprocess.Process, content: bytes) -> AsyncIterator[Mapping[str, object]]:
    """Send `content` to a process and yield its answers, one JSON object a line; a failure is an answer, too."""
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    errors = asyncio.create_task(stderr.read())
    stdin.write(content)
    stdin.close()
    failure = "the preview gave no answer"
    async for line in stdout:
        try:
            answer = json.loads(line)
        except ValueError:
            break
        if isinstance(answer, dict):
            failure = ""
            yield answer
    last = (await errors).decode("utf-8", "replace").strip().rpartition("\n")[2]
    if code := await process.wait():
        failure = REPLACED if code == -9 else last or failure or "the preview ended early"
    if failure:
        yield {"error": failure}


def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        process.kill()
