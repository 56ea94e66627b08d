"""A training that is measured and then thrown away, with the other processes of the run if they share its processors.

The processes of a run on CPUs slow each other down and wait for each other: one of them alone takes steps in a fraction
of their time. So this process starts the others for the measurement; they end with it, and the run starts its own.
Processes with a GPU each are measured as one, without the exchanges.
"""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from torch import distributed

from equipoise.core.world import World
from equipoise.errors import LostProcessError, RunError
from equipoise.experiment.assembly import assemble, select_device
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.processes import environment_size, one_share
from equipoise.experiment.rendezvous import TIMEOUT
from equipoise.experiment.settings import Experiment, require
from equipoise.training.loop import Training
from equipoise.training.timing import end_announced_steps, take_announced_steps


@dataclass(frozen=True, slots=True)
class MeasuredTraining:
    """A training on process 0. `start_seconds`: how long the run takes to start its other processes, measured here."""

    training: Training
    start_seconds: float = 0.0


@contextmanager
def training_to_measure(experiment: Experiment) -> Iterator[MeasuredTraining]:
    """Yield the training of a completed experiment, whose steps :mod:`equipoise.training.timing` can measure.

    Raises RunError if one of its other processes ends.
    """
    size = _local_size(experiment)
    if size == 1:
        yield MeasuredTraining(assemble(one_share(experiment), None))
        return
    share = require(experiment.batch_size, "batch_size") // (experiment.devices or 1)
    with tempfile.TemporaryDirectory(prefix="equipoise-") as name:
        folder, begin = Path(name), time.monotonic()
        local = dataclasses.replace(experiment, devices=size, batch_size=share * size)
        (folder / "experiment.json").write_text(json.dumps(local.to_json()))
        others = [_start(folder, rank, size) for rank in range(1, size)]
        try:
            _wait_until_ready(folder, others)
            with _group(folder, 0, size) as world:
                connected = time.monotonic() - begin
                training = assemble(local, None, world=world)
                world.gather_texts("")  # until the others have assembled theirs
                # torchrun has started the processes of the run already.
                yield MeasuredTraining(training, 0.0 if environment_size() > 1 else connected)
                end_announced_steps(training.state)
        except LostProcessError as error:
            raise RunError(f"a process that measures the speed of {size} has ended{_last_line(folder)}") from error
        finally:
            for process in others:
                process.kill()
                process.wait()


def _local_size(experiment: Experiment) -> int:
    """Return how many processes of a run share the processors of this machine; 1 if they are not measured together."""
    size = experiment.devices or 1
    if size == 1 or select_device(experiment.device or "auto").type != "cpu" or distributed.is_initialized():
        return 1
    return min(size, int(os.environ.get("LOCAL_WORLD_SIZE", size))) if environment_size() > 1 else size


@contextmanager
def _group(folder: Path, rank: int, size: int) -> Iterator[World]:
    """Connect the processes that measure, which find each other through a file."""
    importlib.import_module("torch.distributed.nn")  # before there is a group, which its default arguments would keep
    store = distributed.FileStore(str(folder / "store"), size)  # type: ignore[attr-defined]
    try:
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except RuntimeError as error:
        raise LostProcessError("another process of this measurement has not started") from error
    try:
        yield World(rank, size)
    finally:
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def _start(folder: Path, rank: int, size: int) -> "subprocess.Popen[bytes]":
    """Start one of the other processes. What it prints is stored in the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", f"from {__name__} import main; main()", str(folder), str(rank), str(size)]
    with open(folder / f"errors-{rank}.txt", "wb") as errors:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def _wait_until_ready(folder: Path, others: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Wait until the other processes are about to connect. Raises LostProcessError if one of them ends before."""
    for rank, process in enumerate(others, 1):
        while not (folder / f"ready-{rank}").exists():
            if process.poll() is not None:
                raise LostProcessError(f"process {rank} of this measurement has ended")
            time.sleep(0.02)


def _last_line(folder: Path) -> str:
    """Return the last line that one of the other processes printed, after a colon; "" if there is none."""
    for path in sorted(folder.glob("errors-*.txt")):
        if lines := [line for line in path.read_text(errors="replace").splitlines() if line.strip()]:
            return f": {lines[-1]}"
    return ""


def main() -> None:
    """Take part in a measurement: the process that :func:`_start` starts."""
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    experiment = parse_experiment(json.loads((folder / "experiment.json").read_text()), "the run")
    (folder / f"ready-{rank}").touch()
    with _group(folder, rank, size) as world:
        training = assemble(experiment, None, world=world)
        world.gather_texts("")
        take_announced_steps(training)
