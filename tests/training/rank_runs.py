"""One of two processes that make whole small runs together in tests, some of them disturbed in one process.

python rank_runs.py FOLDER RANK        see rank_server.py
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rank_server import SIZE, digest, is_shared, serve
from torch import Tensor

from equipoise.core.events import Event, Finished, Remedied
from equipoise.core.requests import RunRequest
from equipoise.core.world import World
from equipoise.errors import SettingError
from equipoise.experiment import launch, together
from equipoise.experiment.assembly import seed_global_generators, seed_of_rank
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.experiment.together import SharedRun, assemble_together, check_weights
from equipoise.runs import requests
from equipoise.training import checkpoint
from equipoise.training.loop import Training, restore, train
from equipoise.training.plan import never_interrupted
from equipoise.training.ranks import follow
from equipoise.training.state import TrainingState

READING = 5
"""Steps between two readings, from the first step on."""
Interrupted = Callable[[], bool]
Disturbance = Callable[[Training, int], None]


def small_experiment(**settings: Any) -> Experiment:
    """Return the settings of a small run of all processes."""
    values: dict[str, Any] = {
        "data": PlugSpec("digits", {"image_size": 16}),
        "model": PlugSpec("dcgan", {"width": 4, "latent_dim": 6}),
        "metric": PlugSpec("none"),
        "controller": PlugSpec("fixed"),
        **{"precision": "fp32", "threads": 1, "batch_size": 16, "seed": 3, "devices": SIZE},
        **{"steps": 30, "save_every": 10, "sample_every": 1000},
    }
    return complete(Experiment(**values | settings))


def start(folder: Path, world: World, interrupted: Interrupted = never_interrupted, **settings: Any) -> Training:
    """Assemble a run in this process, with its initial weights."""
    experiment = small_experiment(**settings)
    training = assemble_together(SharedRun(experiment, folder), world, interrupted)
    launch.load_initial_weights(training, experiment)
    seed_global_generators(seed_of_rank(3, world.rank))
    training.pilot.dense_steps, training.pilot.sense_every = 0, READING
    return training


def run(training: Training, disturb: Disturbance = lambda training, step: None) -> dict[str, object]:
    """Train to the end; return what each process knows of it. `disturb`: called in the first phase of each step."""
    first, *others = training.state.model.phases
    knobs: list[float] = []

    def loss(networks: Any, batch: Any, moment: Any) -> Any:
        knobs.append(moment.knobs.lr_d)
        disturb(training, moment.step)
        return first.loss(networks, batch, moment)

    phases = (dataclasses.replace(first, loss=loss), *others)
    training.state.model = dataclasses.replace(training.state.model, phases=phases)
    events: list[Event] = []
    reason = follow(training) if training.state.world.rank else _last(events, training).reason
    tensors = training.state.tensors()
    return {
        "reason": reason,
        "step": training.state.step,
        "knobs": knobs,
        "shared": digest({name: value for name, value in tensors.items() if is_shared(name)}),
        "all": digest(tensors),
        "restored": [event.restored for event in events if isinstance(event, Remedied)],
    }


def _last(events: list[Event], training: Training) -> Finished:
    """Train in process 0; return its last event."""
    events.extend(train(training))
    assert isinstance(events[-1], Finished)
    return events[-1]


def rollback(folder: str, rank: str, world: World) -> dict[str, object]:
    """Damage the weights of one process in step 24; return digests of each state after a rollback."""
    loaded: list[tuple[str, str]] = []
    original = TrainingState.roll_back

    def roll_back(state: TrainingState, tensors: dict[str, Tensor], source: str) -> None:
        original(state, tensors, source)
        loaded.append((digest(_without_random(tensors)), digest(_without_random(state.tensors()))))

    def plant_nan(training: Training, step: int) -> None:
        if step == 23 and world.rank == int(rank):
            with torch.no_grad():
                next(training.state.model.networks["generator"].parameters()).fill_(math.nan)

    TrainingState.roll_back = roll_back  # type: ignore[assignment, method-assign]
    try:
        result = run(start(Path(folder), world), plant_nan)
    finally:
        TrainingState.roll_back = original  # type: ignore[method-assign]
    return {**result, "loaded": loaded}


def _without_random(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name.startswith(("network/", "averaged/", "optimizer/"))}


def slow(folder: str, rank: str, world: World) -> dict[str, object]:
    """Train for half a second, while one process is slow."""

    def wait(training: Training, step: int) -> None:
        if world.rank == int(rank):
            time.sleep(0.02)

    training = start(Path(folder), world, steps=100_000, seconds=0.5, save_every=100_000)
    return run(training, wait)


def not_finite(folder: str, rank: str, world: World) -> dict[str, object]:
    """Give one process a batch that is not finite, without repair."""
    training = start(Path(folder), world, repair=False)

    def plant_nan(training: Training, step: int) -> None:
        if step == 12 and world.rank == int(rank):
            with torch.no_grad():
                next(training.state.model.networks["discriminator"].parameters()).fill_(math.nan)

    return run(training, plant_nan)


def control(folder: str, world: World) -> dict[str, object]:
    """Let a person hold a knob in step 7, save in step 12, release it in step 16, and stop in step 22."""
    path = Path(folder)
    training = start(path, world, repair=False)
    sent = {
        7: RunRequest("turn", "lr_d", 1e-4),
        12: RunRequest("save"),
        16: RunRequest("release", "lr_d"),
        22: RunRequest("stop"),
    }

    def send(training: Training, step: int) -> None:
        if world.rank == 0 and step + 1 in sent:
            requests.write_request(path, sent[step + 1])

    requests.STOP_INTERVAL = 0.0
    if world.rank == 0:
        path.mkdir(exist_ok=True)
        training.plan = dataclasses.replace(training.plan, requests=requests.RequestFolder(path))
    return run(training, send)


def stop(folder: str, rank: str, world: World) -> dict[str, object]:
    """Stop a run in step 13 by a wish of one process, resume it, and compare it with one that was not stopped."""
    path, steps = Path(folder), [0]
    whole = run(start(path / "whole", world))
    stopping = start(path / "stopped", world, lambda: steps[0] == 12 and world.rank == int(rank))

    def count(training: Training, step: int) -> None:
        steps[0] = step

    stopped = run(stopping, count)
    resumed = start(path / "stopped", world)
    (*_, last) = checkpoint.find(path / "stopped" / "checkpoints")
    restore(resumed, last)
    again = run(resumed)
    return {**stopped, "checkpoint": last.name, "is_equal": again["all"] == whole["all"]}


def differ(subject: str, world: World) -> dict[str, object]:
    """Start a run in processes of which one differs from the other; return the error of each."""
    versions, small = together.installed_versions, {"width": 4, "latent_dim": 6}
    if subject == "versions" and world.rank:
        together.installed_versions = lambda: {**versions(), "torch": "1.0"}
    try:
        if subject == "versions":
            shared = SharedRun(small_experiment(), Path("run"))
            shared.share(world) if world.rank == 0 else SharedRun.receive(world)
        else:
            images = {"training_images": 100} if world.rank and subject == "data" else {}
            options = {"width": 8} if world.rank and subject == "weights" else {}
            data = PlugSpec("digits", {"image_size": 16, **images})
            check_weights(start(Path("run"), world, data=data, model=PlugSpec("dcgan", small | options)))
    except SettingError as error:
        return {"message": str(error)}
    finally:
        together.installed_versions = versions
    return {"message": ""}


CHECKS = {"rollback": rollback, "slow": slow, "not_finite": not_finite, "control": control, "stop": stop}

if __name__ == "__main__":
    serve({**CHECKS, "differ": differ})
