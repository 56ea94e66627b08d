"""Execution of jobs in separate processes, one thread each.

Each job gets a new process, so that no job changes the global state of another, and a killed job affects no other.
Processes are forked from a server that has imported PyTorch already (start method `forkserver`, `spawn` where that does
not exist), which saves 4 of 4.4 CPU seconds of a short job. Scripts that run a comparison therefore need the usual
`if __name__ == "__main__":`. `concurrent.futures` is not used: if one process of its pool is killed, the pool and all
pending jobs are lost.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from equipoise.comparison.execution import Job, execute_job
from equipoise.comparison.folder import ComparisonFolder
from equipoise.errors import EquipoiseError

FAILED, INTERRUPTED = 2, 130
"""Exit codes of a job that reported an error, and of one that was interrupted, saved, and can be resumed."""
POLL_SECONDS = 0.1
"""Maximum time in seconds until an interruption is noticed."""
PRELOADED_MODULES = (execute_job.__module__, "torch._dynamo")
"""Modules that the server imports. The first takes 2.4 s of CPU time; the second, which the first optimizer step
imports, 1.5 s."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, eq=False)
class JobProcess:
    """A running process; `cpu` receives its CPU seconds when it ends."""

    process: BaseProcess
    cpu: Connection

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the process runs, negative if a signal killed it."""
        return self.process.exitcode

    def terminate(self) -> None:
        """Ask the process to save its run and end."""
        self.process.terminate()

    def join(self) -> float:
        """Wait until the process has ended; return its CPU seconds, 0 if it was killed."""
        self.process.join()
        try:
            return float(self.cpu.recv())
        except EOFError:
            return 0.0


def start_process(folder: ComparisonFolder, job: Job) -> JobProcess:
    """Start a job in a new process; its output goes to `folder.output(job.name)`."""
    folder.failed(job.name).unlink(missing_ok=True)
    folder.output(job.name).parent.mkdir(parents=True, exist_ok=True)
    folder.output(job.name).write_bytes(b"")
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_job, args=(folder, job, sender), name=job.name)
    with _one_thread():
        process.start()
    sender.close()
    return JobProcess(process, receiver)


def _context() -> ForkServerContext | SpawnContext:
    """Return the context that starts processes; the server imports PyTorch when the first process starts."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED_MODULES))
    return context


def wait_for_any(processes: Iterable[JobProcess]) -> None:
    """Wait until one of the processes has ended, at most POLL_SECONDS."""
    wait([process.process.sentinel for process in processes], POLL_SECONDS)


def _run_job(folder: ComparisonFolder, job: Job, cpu: Connection) -> None:
    """Execute a job in this process. Ends with exit code 0, FAILED after an expected error, or INTERRUPTED.

    A run is saved and ends after SIGTERM, Ctrl-C, or the end of the parent process.
    """
    with folder.output(job.name).open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stop.set())
    threading.Thread(target=_stop_with_parent, args=(stop,), daemon=True).start()
    try:
        code = 0 if execute_job(folder, job, stop.is_set) else INTERRUPTED
    except EquipoiseError as error:
        print(error, file=sys.stderr)
        code = FAILED
    finally:
        cpu.send(time.process_time())
    sys.exit(code)


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
