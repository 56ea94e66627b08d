"""Connecting the processes of one run: those of `--devices` are started here and meet through a file, those of torchrun
through MASTER_ADDR and MASTER_PORT.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from torch import distributed

from equipoise.core.world import ALONE, World
from equipoise.errors import LostProcessError, RunError
from equipoise.experiment.connection import Connection, ReportedLossError, watch
from equipoise.experiment.processes import ADDRESS, RENDEZVOUS, started_processes

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others: longer than an evaluation or the preparation of the data, by rank 0."""
GRACE = 1.0
"""Seconds in which a process that is connecting may notice by itself that another one has ended."""
END_TIMEOUT = 20.0
"""Seconds until processes that do not end with rank 0 are killed."""
PARENT = "EQUIPOISE_PARENT"
"""Environment variable: the id of the process that started this one for a run, with `--devices`."""
JOINED = "equipoise/joined"
"""Key of the store, with the rank: that a process is there."""


@contextmanager
def connect(size: int, folder: Path | None = None) -> Iterator[Connection]:
    """Connect the processes of a run, and start them if torchrun did not. `folder`: of the run, for messages.

    Raises SettingError if torchrun started another number, and RunError if they cannot be connected. If another process
    ends before this one, raises LostProcessError, or FailedProcessError on rank 0 if it reported why, to be printed;
    ReportedLossError in processes that are not the one to report it.
    """
    if size == 1:
        yield Connection(ALONE)
        return
    started_processes(size)
    if distributed.is_initialized():
        raise RunError("this process is already connected to others by torch.distributed; start a new process")
    with _open(size, folder) as connection:
        try:
            with _group(connection):
                yield connection
        except LostProcessError as error:
            if connection.world.rank == 0:
                connection.announce_end()
            elif not connection.has_to_report():
                raise ReportedLossError(str(error)) from error
            raise connection.loss_error() from error


@contextmanager
def _open(size: int, folder: Path | None) -> Iterator[Connection]:
    """Start what is to be started, and open the store; wait for the children at the end."""
    from torch.distributed.distributed_c10d import PrefixStore

    rank, file = int(os.environ.get("RANK", "0")), os.environ.get(RENDEZVOUS)
    connection = Connection(World(rank, size), folder=folder)
    with ExitStack() as stack:
        if "RANK" not in os.environ:
            connection.rendezvous_folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="equipoise-")))
            file = str(connection.rendezvous_folder / "store")
            children: list[subprocess.Popen[bytes]] = []
            connection.children = children
            stack.callback(_end, children)
            children.extend(_start(other, size, file) for other in range(1, size))
        else:
            connection.parent = int(os.environ.get(PARENT, os.getppid()))
            if file is not None and PARENT in os.environ:
                connection.rendezvous_folder = Path(file).parent
                stack.callback(connection.remove_folder)
                if not connection.rendezvous_folder.exists():
                    raise ReportedLossError("process 0 of this run has ended, as another process has reported")
        connection.store = PrefixStore("equipoise", _store(rank, size, file))
        if rank == 0:
            stack.callback(connection.announce_end)
        yield connection


def _store(rank: int, size: int, file: str | None) -> "Store":
    """Return the store through which the processes find each other. Raises RunError if it cannot be reached."""
    from torch.distributed.rendezvous import rendezvous

    if file is not None:
        return distributed.FileStore(file, size)  # type: ignore[attr-defined]
    try:
        store: Store = next(rendezvous("env://", timeout=TIMEOUT))[0]
    except (RuntimeError, ValueError, OSError) as error:
        address, cause = ":".join(os.environ[name] for name in ADDRESS), str(error).partition("\n")[0]
        raise RunError(
            f"process {rank} of {size} cannot reach the others through {address} ({cause}); check MASTER_ADDR and "
            "MASTER_PORT"
        ) from error
    return store


@contextmanager
def _group(connection: Connection) -> Iterator[None]:
    """Connect the processes, as soon as all of them are there, for the exchanges of :class:`World`.

    Raises LostProcessError if one of them ends before. In the meantime, and between GPUs until the end, a thread
    watches the others.
    """
    import torch.distributed.nn  # before there is a group, which its default arguments would keep alive

    _meet(connection)
    world = connection.world
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    uses_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if uses_nccl else "gloo"
    with ExitStack() as stack:
        try:
            with _watched(connection, GRACE):
                distributed.init_process_group(
                    backend, store=connection.store, rank=world.rank, world_size=world.size, timeout=TIMEOUT
                )
        except RuntimeError as error:
            raise LostProcessError("another process of this run has not started") from error
        if uses_nccl:  # exchanges through gloo notice themselves that a process has ended
            stack.enter_context(_watched(connection))
        stack.push(_Disconnection(uses_nccl))
        yield


@contextmanager
def _watched(connection: Connection, grace: float | None = None) -> Iterator[None]:
    """Watch the other processes in the context, in a thread; `grace` as of :func:`watch`."""
    has_left = threading.Event()
    threading.Thread(target=watch, args=(connection, has_left, grace), daemon=True).start()
    try:
        yield
    finally:
        has_left.set()


def _meet(connection: Connection) -> None:
    """Return when all processes are there: unlike the functions of torch that wait for them, this can be interrupted.

    Raises LostProcessError if one ends before, and RunError if one is not there after TIMEOUT.
    """
    world, store = connection.world, connection.store
    assert store is not None
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    try:
        store.set(f"{JOINED}/{world.rank}", "1")
        while True:
            if connection.has_lost() or any(child.poll() is not None for child in connection.children):
                raise LostProcessError("another process of this run has ended")
            if store.check([f"{JOINED}/{rank}" for rank in range(world.size)]):
                return
            if time.monotonic() > deadline:
                missing = [str(rank) for rank in range(world.size) if not store.check([f"{JOINED}/{rank}"])]
                raise RunError(
                    f"process {', '.join(missing)} of {world.size} has not started within "
                    f"{TIMEOUT.total_seconds() / 60:g} minutes; start all of them"
                )
            time.sleep(0.1)
    except RuntimeError as error:
        raise LostProcessError("another process of this run has ended") from error


def _start(rank: int, size: int, file: str) -> "subprocess.Popen[bytes]":
    """Start the process of one of the other ranks. Rank 0 prints its messages."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, RENDEZVOUS: file}
    if os.name == "posix":  # elsewhere a virtual environment may start Python through another process
        places[PARENT] = os.getpid()
    environment = {**os.environ, **{name: str(value) for name, value in places.items()}}
    command = [sys.executable, "-m", "equipoise", "train"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class _Disconnection:
    """Closes the connection at the end of a context; after an error only if it does not use NCCL.

    Closing ends the threads of gloo: one that releases a tensor during interpreter shutdown would abort the process.
    Closing NCCL would wait for processes that may have ended; they notice by themselves that this one has.
    """

    uses_nccl: bool

    def __call__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None or not self.uses_nccl:
            with suppress(RuntimeError):
                distributed.destroy_process_group()


def _end(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Wait for the children, which end by themselves; end those that do not."""
    deadline = time.monotonic() + END_TIMEOUT
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
