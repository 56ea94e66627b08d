"""Preparing a run in each of its processes: all build the same training, or all of them stop with the same message."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.core.world import World
from equipoise.errors import EquipoiseError, LostProcessError, SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.memory_errors import memory_errors
from equipoise.experiment.resources import check_devices
from equipoise.experiment.settings import Experiment, installed_versions
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training.inheritance import digest_of
from equipoise.training.loop import Training
from equipoise.training.plan import never_interrupted


@dataclass(frozen=True, slots=True)
class SharedRun:
    """The run that the processes take part in.

    `folder`: of the run. `reseed`: whether a resumed run gets new random numbers.
    """

    experiment: Experiment
    folder: Path
    reseed: bool = False

    def share(self, world: World) -> None:
        """Send it from rank 0 to the others, after all have compared their versions."""
        if world.size > 1:
            _check_versions(world)
            values = {"experiment": self.experiment.to_json(), "folder": str(self.folder.resolve())}
            world.share_text(json.dumps({**values, "reseed": self.reseed}))

    @classmethod
    def receive(cls, world: World) -> "SharedRun":
        """Return what rank 0 sends. Raises SettingError if it has other versions, which may send something else."""
        _check_versions(world)
        values = json.loads(world.share_text(""))
        experiment = parse_experiment(values["experiment"], "the run")
        return cls(experiment, Path(values["folder"]), values["reseed"])


def assemble_together(shared: SharedRun, world: World, interrupted: Callable[[], bool] = never_interrupted) -> Training:
    """Build the objects of a run in each process; EquipoiseError if this fails in one of them, or if they differ."""
    with agreement(world), memory_errors(shared.experiment):
        check_devices(shared.experiment)  # those of the machine of this process
        training = assemble(shared.experiment, shared.folder / CHECKPOINTS_FOLDER, interrupted, world)
    if world.size > 1:
        check_equal(world, "data", _digest_of_data(training))
    return training


@contextmanager
def agreement(world: World) -> Iterator[None]:
    """At the end of the context, raise the error of any process in every process."""
    if world.size == 1:
        yield
        return
    problem = ""
    try:
        yield
    except LostProcessError:
        raise
    except EquipoiseError as error:
        problem = str(error)
    problems = world.gather_texts(problem)
    if problem:
        raise SettingError(problem)
    for rank, other in enumerate(problems):
        if other:
            raise SettingError(f"process {rank} of {world.size}: {other}")


def check_equal(world: World, subject: str, value: str) -> None:
    """Raise SettingError if the processes have different values; `subject`: what it is."""
    values = world.gather_texts(value)
    for rank, other in enumerate(values):
        if other != values[0]:
            raise SettingError(
                f"process {rank} of {world.size} has other {subject} than process 0{_difference(values[0], other)}; "
                f"give all machines the same {subject}"
            )


def _check_versions(world: World) -> None:
    check_equal(world, "versions", json.dumps(installed_versions(), sort_keys=True))


def check_weights(training: Training) -> None:
    """Raise SettingError if the processes start with different weights."""
    world = training.state.world
    if world.size > 1:
        weights = {
            f"{name}/{key}": value
            for name, network in training.state.trained_networks.items()
            for key, value in network.state_dict().items()
        }
        check_equal(world, "initial weights", digest_of(weights))


def _digest_of_data(training: Training) -> str:
    """Return a digest of the first batch."""
    batch = training.streams.train.batch(0)
    fields = {name: getattr(batch, name, None) for name in ("real", "condition", "source", "lengths")}
    return digest_of({name: value for name, value in fields.items() if isinstance(value, torch.Tensor)})


def _difference(first: str, second: str) -> str:
    """Return the entries that differ between two JSON objects, to be appended to a message; "" for other texts."""
    if not first.startswith("{"):
        return ""
    ours, theirs = json.loads(first), json.loads(second)
    return ": " + ", ".join(
        f"{name} {theirs.get(name)} instead of {ours.get(name)}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )
