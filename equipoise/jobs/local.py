"""Calls in processes of this machine, one thread each.

Each call gets a new process, so that none changes the global state of another, and a killed one affects no other.
Processes are forked from a server that has imported PyTorch already (start method `forkserver`, `spawn` where that does
not exist), which saves 4 of 4.4 CPU seconds of a short job. Scripts that start calls therefore need the usual
`if __name__ == "__main__":`. `concurrent.futures` is not used: if one process of its pool is killed, the pool and all
pending calls are lost.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from equipoise.jobs.backend import POLL_SECONDS, Call, RunningCall, execute_call

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
STOPS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to save and end; Windows has no SIGHUP."""
KILLED = -9
"""Exit code of a process that a signal killed, if the signal is unknown; Windows does not name it."""
SERVER_ENDED = 255
"""What `Process.exitcode` says where the server that started a process has ended, whatever the process does."""


@dataclass(slots=True, eq=False)
class LocalProcess:
    """A process that was started. `end`: receives its exit code and CPU seconds; closed if it was killed."""

    process: BaseProcess
    end: Connection
    _result: tuple[int, float] | None = None

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the process runs, negative if a signal killed it."""
        if self._result is None:
            self._result = self._poll()
        return None if self._result is None else self._result[0]

    def terminate(self) -> None:
        """Ask the process to save and end."""
        if self.process.exitcode == SERVER_ENDED and self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)
        else:
            self.process.terminate()

    def kill(self) -> None:
        """End the process without saving."""
        if self.exit_code is None and self.process.pid is not None:
            with suppress(OSError):
                os.kill(self.process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def join(self) -> float:
        """Wait until the process has ended; return its CPU seconds, 0 if it was killed."""
        while self.exit_code is None:
            self.end.poll(POLL_SECONDS)
        self.process.join()
        assert self._result is not None
        return self._result[1]

    def _poll(self) -> tuple[int, float] | None:
        """Return the exit code and the CPU seconds of a process that has ended; None while it runs."""
        code = self.process.exitcode  # read before the pipe: a process that ended has sent its result
        if self.end.poll():
            with suppress(EOFError):  # it was killed
                result: tuple[int, float] = self.end.recv()
                return result
        elif code is None or code == SERVER_ENDED:
            return None
        self.process.join()
        code = self.process.exitcode
        return (KILLED if code is None or code == SERVER_ENDED else code), 0.0


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Processes of this machine, `slots` at once. `preload`: modules that the server imports once for all of them.

    `method`: how processes are started; None: from a server where there is one.
    """

    slots: int
    preload: tuple[str, ...] = ()
    method: str | None = None

    @property
    def is_remote(self) -> bool:
        """False: a process of this machine is known to run or not."""
        return False

    def start(self, call: Call) -> LocalProcess:
        """Start a call in a new process."""
        call.output.parent.mkdir(parents=True, exist_ok=True)
        call.output.write_bytes(b"")
        context = self._context()
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run_call, args=(call, sender), name=call.name)
        with _one_thread():
            if isinstance(context, ForkServerContext):
                _start_server()
            process.start()
        sender.close()
        return LocalProcess(process, receiver)

    def wait(self, running: Iterable[RunningCall]) -> None:
        """Wait until one of the processes has ended, at most POLL_SECONDS."""
        ends = [one.end for one in running if isinstance(one, LocalProcess)]
        if ends:
            wait(ends, POLL_SECONDS)
        else:
            time.sleep(POLL_SECONDS)

    def _context(self) -> ForkServerContext | SpawnContext:
        """Return the context that starts processes; the server imports its modules when the first process starts."""
        methods = multiprocessing.get_all_start_methods()
        if self.method == "spawn" or "forkserver" not in methods:
            return multiprocessing.get_context("spawn")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(self.preload))
        return context


def _run_call(call: Call, end: Connection) -> None:
    """Execute a call in this process, which ends with its exit code.

    The request to save and end is SIGTERM, Ctrl-C, a closed terminal, or the end of the parent process.
    """
    with call.output.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    stop = threading.Event()
    for number in STOPS:
        if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN:  # with nohup it stays ignored
            signal.signal(number, lambda number, frame: stop.set())
    if hasattr(signal, "pthread_sigmask"):  # where there is a server, which has blocked them
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    code = 1
    try:
        code = execute_call(call, stop.is_set)
    finally:
        end.send((code, time.process_time()))
    sys.exit(code)


def _start_server() -> None:
    """Start the server of processes, unless it runs, with the signals blocked that ask to end.

    It belongs to the group of processes that Ctrl-C ends, and would ignore that only after it has imported its modules.
    """
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # which would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # the server inherits it
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop_with_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Context manager: processes that are started in it compute with one thread."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
