"""The processes of one run: how many there are, starting them on this machine, connecting them, and how they end.

`torchrun` starts them and describes them in the environment: RANK, WORLD_SIZE, LOCAL_RANK. `--devices N` starts N - 1
in the same way, and this process is rank 0; they find each other through a file.
"""

import dataclasses
import os
import shutil
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

from equipoise.errors import LostProcessError, RunError, SettingError, resume_command
from equipoise.experiment.settings import Experiment, require

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

    from equipoise.core.world import World

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others: longer than an evaluation or the preparation of the data, by rank 0."""
REPORT_TIMEOUT = 10.0
"""Seconds to wait for the error report of another process that has ended."""
RENDEZVOUS = "EQUIPOISE_RENDEZVOUS"
"""Environment variable: the file through which the processes of `--devices` find each other."""
ENDED, PROBLEM, REPORTED = "equipoise/ended", "equipoise/problem", "equipoise/reported"
"""Keys of the store: that rank 0 ends, why another process failed, how many have reported the end of rank 0."""


def environment_size() -> int:
    """Return the number of processes that were started together, as torchrun does; 1 otherwise."""
    size = os.environ.get("WORLD_SIZE", "1")
    return int(size) if "RANK" in os.environ and size.isdecimal() else 1


def is_follower() -> bool:
    """Whether this process takes part in a run that another process leads."""
    return environment_size() > 1 and os.environ["RANK"] != "0"


def with_devices(experiment: Experiment) -> Experiment:
    """Return the experiment with the number of processes that torchrun started.

    Raises SettingError if the experiment names another number.
    """
    devices = started_processes(experiment.devices)
    return experiment if devices == experiment.devices else dataclasses.replace(experiment, devices=devices)


def started_processes(devices: int | None) -> int | None:
    """Return the number of processes that torchrun started; `devices`, which the user named, without torchrun.

    Raises SettingError if both differ.
    """
    size = environment_size()
    if size == 1:
        return devices
    if devices not in (None, size):
        raise SettingError(
            f"devices = {devices}, but {size} processes were started; omit --devices, or start without torchrun"
        )
    return size


def check_shares(experiment: Experiment) -> None:
    """Raise SettingError if the processes of a completed experiment cannot share a batch, or cannot be used."""
    size, batch_size = experiment.devices or 1, require(experiment.batch_size, "batch_size")
    if batch_size % size:
        below, above = batch_size // size * size, -(-batch_size // size) * size
        choice = f"{below} or {above}" if below else f"{above}"
        raise SettingError(
            f"batch_size = {batch_size} cannot be divided among {size} processes; use --batch-size {choice}"
        )
    device, _, number = (experiment.device or "auto").partition(":")
    if size > 1 and number:
        raise SettingError(
            f"device = {experiment.device} names one GPU, and {size} processes use one each; use --device {device}"
        )
    if size > 1 and experiment.compile:
        raise SettingError(f"compile = true works with one process, not with {size}; omit --compile")


def one_share(experiment: Experiment) -> Experiment:
    """Return what one of the processes of an experiment does, as an experiment of its own, to be measured."""
    size = experiment.devices or 1
    if size == 1:
        return experiment
    return dataclasses.replace(
        experiment, devices=None, batch_size=require(experiment.batch_size, "batch_size") // size
    )


@dataclass(slots=True)
class Connection:
    """The connection of this process to the others. `store`: texts that all can read; None without others.

    `folder`: of the run, for messages. `parent`: the process that started this one for the run; None if the user did.
    `rendezvous_folder`: temporary folder through which the processes of `--devices` find each other, on rank 0.
    """

    world: "World"
    store: "Store | None" = None
    children: Sequence["subprocess.Popen[bytes]"] = ()
    folder: Path | None = None
    parent: int | None = None
    rendezvous_folder: Path | None = None

    def report(self, problem: str) -> None:
        """Leave a message for rank 0 why this process ends."""
        if self.store is not None:
            with suppress(RuntimeError):
                self.store.set(PROBLEM, f"process {self.world.rank} of {self.world.size}: {problem}")

    def cause(self) -> str:
        """Return what is known about a process that has ended, in a few words; waits for its error report."""
        deadline = time.monotonic() + REPORT_TIMEOUT
        while self.store is not None and time.monotonic() < deadline:
            with suppress(RuntimeError):
                if self.store.check([PROBLEM]):
                    return self.store.get(PROBLEM).decode()
            for rank, child in enumerate(self.children, 1):
                if code := child.poll():
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    return f"process {rank} of {self.world.size} {how}"
            time.sleep(0.1)
        return f"another of the {self.world.size} processes of this run has ended"

    def loss_message(self) -> str:
        """Return in one line what is known about a process that has ended, and how to resume the run."""
        size, folder = self.world.size, self.folder
        what = f"process 0 of {size} has ended" if self.world.rank else self.cause()
        has_checkpoint = folder is not None and (folder / "checkpoints").is_dir()
        return f"{what}; resume with: {resume_command(folder)}" if folder is not None and has_checkpoint else what

    def is_orphan(self) -> bool:
        """Whether rank 0 has ended without reporting it, so that this process has to; true in one process only.

        A rank 0 that started this process is alive while it is the parent, even if a full disk prevents its report.
        """
        deadline = time.monotonic() + REPORT_TIMEOUT
        with suppress(RuntimeError):
            while self.store is not None and time.monotonic() < deadline and not self.has_lost_parent:
                if self.store.check([ENDED]):
                    return False
                time.sleep(0.1)
            if RENDEZVOUS in os.environ and not self.has_lost_parent:
                return False
            return self.store is not None and self.store.add(REPORTED, 1) == 1
        return True

    @property
    def has_lost_parent(self) -> bool:
        """Whether the process that started this one for the run has ended."""
        return self.parent is not None and os.getppid() != self.parent

    def has_lost(self) -> bool:
        """Whether another process is known to have ended, or to be about to, before the end of the run."""
        if self.has_lost_parent or any(child.poll() for child in self.children):
            return True
        with suppress(RuntimeError):
            return self.store is not None and self.store.check([ENDED if self.world.rank else PROBLEM])
        return False


@contextmanager
def connect(size: int, folder: Path | None = None) -> Iterator[Connection]:
    """Connect the processes of a run, and start them if torchrun did not. `folder`: of the run, for messages.

    Raises RunError on rank 0, and LostProcessError on the others, if another one ends before this one.
    """
    if size == 1:
        from equipoise.core.world import ALONE

        yield Connection(ALONE)
        return
    with ExitStack() as stack:
        connection = _join(stack, size)
        connection.folder = folder
        try:
            yield connection
        except LostProcessError as error:
            if connection.world.rank:
                raise
            raise RunError(connection.loss_message()) from error


def _join(stack: ExitStack, size: int) -> Connection:
    """Start what is to be started, and connect; `stack` ends the connection."""
    import torch
    import torch.distributed.nn  # before there is a group, which its default arguments would keep alive
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from equipoise.core.world import World

    if distributed.is_initialized():
        raise RunError("this process is already connected to others by torch.distributed; start a new process")
    children: list[subprocess.Popen[bytes]] = []
    folder = None
    rank, file = int(os.environ.get("RANK", "0")), os.environ.get(RENDEZVOUS)
    parent = os.getppid() if "RANK" in os.environ else None
    if "RANK" not in os.environ:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="equipoise-")))
        file = str(folder / "store")
        children = [_start(other, size, file) for other in range(1, size)]
        stack.callback(_end, children)
    store: Store
    if file is not None:
        store = distributed.FileStore(file, size)  # type: ignore[attr-defined]
    else:
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    connection = Connection(
        World(rank, size), PrefixStore("equipoise", store), children, parent=parent, rendezvous_folder=folder
    )
    if rank == 0:
        stack.callback(_announce_end, connection)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if uses_nccl := torch.cuda.is_available() and distributed.is_nccl_available():
        has_left = threading.Event()
        stack.callback(has_left.set)
        threading.Thread(target=_watch, args=(connection, has_left), daemon=True).start()
    backend = "cpu:gloo,cuda:nccl" if uses_nccl else "gloo"
    try:
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except RuntimeError as error:
        raise LostProcessError("another process of this run has not started") from error
    stack.push(_Disconnection(uses_nccl))
    return connection


def check_devices(device_type: str) -> None:
    """Raise SettingError if this machine has fewer GPUs than processes of the run that use one."""
    import torch

    local = int(os.environ.get("LOCAL_WORLD_SIZE", environment_size()))
    count = torch.cuda.device_count()
    if device_type == "cuda" and local > count:
        raise SettingError(
            f"{local} processes need {local} GPUs, and this machine has {count}; use --devices {count}, or --device cpu"
        )


def _start(rank: int, size: int, file: str) -> "subprocess.Popen[bytes]":
    """Start the process of one of the other ranks. Rank 0 prints its messages."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, RENDEZVOUS: file}
    environment = {**os.environ, **{name: str(value) for name, value in places.items()}}
    command = [sys.executable, "-m", "equipoise", "train"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _announce_end(connection: Connection) -> None:
    with suppress(RuntimeError):
        if connection.store is not None:
            connection.store.set(ENDED, "1")


@dataclass(frozen=True, slots=True)
class _Disconnection:
    """Closes the connection at the end of a context; after an error only if it does not use NCCL.

    Closing ends the threads of gloo: one that releases a tensor during interpreter shutdown would abort the process.
    Closing NCCL would wait for processes that may have ended; they notice by themselves that this one has.
    """

    uses_nccl: bool

    def __call__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        from torch import distributed

        if kind is None or not self.uses_nccl:
            with suppress(RuntimeError):
                distributed.destroy_process_group()


def _end(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Wait for the children, which end by themselves; end those that do not."""
    deadline = time.monotonic() + 2 * REPORT_TIMEOUT
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _watch(connection: Connection, has_left: threading.Event) -> None:
    """End this process if another one has ended during a GPU collective, which would otherwise hang."""
    while not has_left.wait(1.0):
        if connection.has_lost() and not has_left.wait(REPORT_TIMEOUT):
            if connection.world.rank == 0 or connection.is_orphan():
                print(f"equipoise: {connection.loss_message()}", file=sys.stderr, flush=True)
            _abandon(connection)
            os._exit(2)


def _abandon(connection: Connection) -> None:
    """Do what the end of a context would do, for a process that ends in the middle of an exchange."""
    if connection.world.rank == 0:
        _announce_end(connection)
    for child in connection.children:
        child.kill()
    if connection.rendezvous_folder is not None:
        shutil.rmtree(connection.rendezvous_folder, ignore_errors=True)
