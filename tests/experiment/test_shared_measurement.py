"""A run of several processes is measured by as many: its time budget, its estimate, and a process that ends."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

from equipoise.core.world import ALONE, World
from equipoise.errors import RunError
from equipoise.experiment import assembly, estimates, launch, shared_measurement, time_budget
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.experiment.shared_measurement import training_to_measure
from equipoise.training import timing
from equipoise.training.loop import Training
from equipoise.training.timing import RunCosts, measure_costs

pytestmark = pytest.mark.usefixtures("working_directory")

RING = Experiment(
    data=PlugSpec("ring"),
    model=PlugSpec("mlp", {"width": 8}),
    controller=PlugSpec("annealed"),
    batch_size=8,
    threads=1,
    devices=2,
)


def test_all_processes_take_the_measured_steps() -> None:
    """Readings, shares of the run and knobs that change: the others take the steps that process 0 announces."""
    with training_to_measure(complete(dataclasses.replace(RING, steps=1000))) as measured:
        training = measured.training
        training.state.model = dataclasses.replace(training.state.model, measured_at=(0.1, 0.9))
        assert (training.state.world.size, training.plan.batch_size) == (2, 8)
        assert measured.start_seconds > 0
        costs = measure_costs(training, 0.2)
        pilot = training.pilot
        knobs = pilot.knobs.with_values({"discriminator_steps": 3})
        pilot._state = dataclasses.replace(pilot._state, knobs=knobs)
        timing._take_step(training)
    assert min(costs.step, costs.sampling, costs.evaluation, costs.saving) > 0
    assert not distributed.is_initialized()


def test_budget_is_measured_by_all_and_recorded(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def measure(training: Training, seconds: float) -> RunCosts:
        sizes.append(training.state.world.size)
        return RunCosts(0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0)

    monkeypatch.setattr(time_budget, "measure_costs", measure)
    monkeypatch.setattr(time_budget, "OVERHEAD_SHARE", 0.0)
    monkeypatch.setattr(assembly, "OVERRUN", 1e6)
    events = launch.start(dataclasses.replace(RING, seconds=0.125, save_every=3), "run")
    next(event for event in events if event.step == 5)
    events.close()
    values = json.loads(Path("run/experiment.json").read_text())
    assert (sizes, values["steps"], values["budget"], values["devices"]) == ([2], 12, 0.125, 2)
    *_, last = launch.resume("run")
    assert (last.step, last.reason, sizes) == (12, "steps", [2])


def test_estimate_is_measured_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def seconds(training: Training, steps: int) -> float:
        sizes.append(training.state.world.size)
        return timing.mean_step_seconds(training, steps)

    monkeypatch.setattr(estimates, "mean_step_seconds", seconds)
    estimate = estimates.estimate(dataclasses.replace(RING, steps=1000))
    assert sizes == [2]
    assert estimate.seconds > 0
    assert estimate.experiment.batch_size == 8


def test_process_that_ends_before_the_measurement_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(folder: Path, rank: int, size: int) -> "subprocess.Popen[bytes]":
        with open(folder / f"errors-{rank}.txt", "wb") as errors:
            return subprocess.Popen([sys.executable, "-c", "import sys; sys.exit('no memory')"], stderr=errors)

    monkeypatch.setattr(shared_measurement, "_start", start)
    message = "a process that measures the speed of 2 has ended: no memory"
    with pytest.raises(RunError, match=message), training_to_measure(complete(dataclasses.replace(RING, steps=9))):
        pass


def test_steps_of_process_0_alone_are_forgotten() -> None:
    training = assembly.assemble(dataclasses.replace(complete(dataclasses.replace(RING, steps=9)), devices=None), None)
    state = training.state
    state.world = World(0, 2)
    with timing.alone(state):
        assert state.world is ALONE
        timing._take_step(training)
        assert (state.step, state.images) == (1, 8)
    assert (state.world.size, state.step, state.images, state.draws) == (2, 0, 0, 0)


def test_of_several_machines_the_processes_of_one_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = complete(dataclasses.replace(RING, steps=9, devices=4))
    assert shared_measurement._local_size(experiment) == 4
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert shared_measurement._local_size(experiment) == 2
    assert shared_measurement._local_size(dataclasses.replace(experiment, devices=None)) == 1
