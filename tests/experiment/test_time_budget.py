"""Time budgets: the steps follow from a measurement, are recorded, and determine the run like steps that were given."""

import dataclasses
import json
import math
import time
from pathlib import Path

import pytest

from equipoise.errors import SettingError
from equipoise.experiment import assembly, launch, time_budget
from equipoise.experiment.assembly import OVERRUN, assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run
from equipoise.training import timing
from equipoise.training.loop import Training
from equipoise.training.timing import Intervals, RunCosts, run_seconds

pytestmark = pytest.mark.usefixtures("working_directory")

RING = Experiment(
    data=PlugSpec("ring"), model=PlugSpec("mlp", {"width": 8}), controller=PlugSpec("annealed"), batch_size=8
)
BUDGET = dataclasses.replace(RING, seconds=1.0)
COSTS = RunCosts(0, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)


@pytest.fixture
def quick_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the measurement, whose result differs from run to run: 12 steps fit."""
    costs = RunCosts(0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr(time_budget, "measure_costs", lambda training, seconds: costs)
    monkeypatch.setattr(time_budget, "OVERHEAD_SHARE", 0.0)
    monkeypatch.setattr(assembly, "OVERRUN", 1e6)


def short_budget() -> Experiment:
    return dataclasses.replace(RING, seconds=0.125)


def test_run_with_a_budget_completes_its_schedules(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "OVERRUN", 1e6)  # the machine may become busy after the measurement
    begin = time.monotonic()
    *_, last = launch.start(dataclasses.replace(RING, seconds=3.0), "run")
    assert time.monotonic() - begin < 60, "generous: the machine may be busy"
    values = json.loads(Path("run/experiment.json").read_text())
    assert (last.step, values["budget"]) == (values["steps"], 3.0)
    assert not {"seconds", "minutes"} & values.keys()
    lines = Run(working_directory / "run").lines()
    assert lines[-1]["reason"] == "steps"
    assert lines[-1]["step"] == lines[0]["steps"] == values["steps"]
    sensed = [line for line in lines if line["event"] == "sensed"]
    assert all(line["progress"] == line["step"] / values["steps"] for line in sensed), "schedules end with the run"
    assert f"{values['steps']:,} steps fit into the time budget of 3 seconds" in lines[0]["notes"][0]


@pytest.mark.usefixtures("quick_measurement")
def test_run_equals_one_with_the_same_number_of_steps(assert_equal_runs, working_directory: Path) -> None:
    list(launch.start(short_budget(), "budget"))
    steps = json.loads(Path("budget/experiment.json").read_text())["steps"]
    assert steps == 12
    list(launch.start(dataclasses.replace(RING, steps=steps), "steps"))
    for folder in ("budget", "steps"):
        log = (working_directory / folder / "events.jsonl").read_text()
        (working_directory / folder / "events.jsonl").write_text(log.replace(_notes(log), "[]"))
    assert_equal_runs(working_directory / "budget", working_directory / "steps")


def _notes(log: str) -> str:
    return json.dumps(json.loads(log.splitlines()[0])["notes"])


@pytest.mark.usefixtures("quick_measurement")
def test_resumed_run_keeps_the_recorded_steps(working_directory: Path, final_bytes) -> None:
    list(launch.start(dataclasses.replace(short_budget(), save_every=3), "whole"))
    events = launch.start(dataclasses.replace(short_budget(), save_every=3), "killed")
    next(event for event in events if event.step == 5)
    events.close()
    *_, last = launch.resume("killed")
    assert (last.step, last.reason) == (12, "steps")
    assert final_bytes(working_directory / "killed") == final_bytes(working_directory / "whole")


@pytest.mark.parametrize("value", [math.inf, math.nan, 0.0, -1.0, -math.inf])
@pytest.mark.parametrize("name", ["seconds", "minutes"])
def test_invalid_times_are_refused(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name} = .*: it must be (a finite number|above 0)"):
        complete(parse_experiment({"data": "ring", name: value}, "plan.toml"))


def test_two_times_are_refused() -> None:
    with pytest.raises(SettingError, match="use one of --seconds and --minutes"):
        complete(dataclasses.replace(RING, seconds=60.0, minutes=1.0))


def test_time_is_a_limit_if_the_steps_are_given() -> None:
    experiment = complete(dataclasses.replace(RING, steps=70, minutes=2.0))
    assert (experiment.steps, experiment.seconds, experiment.minutes, experiment.budget) == (70, 120.0, None, None)
    assert time_budget.set_steps(experiment) == experiment
    assert assemble(experiment, None).plan.seconds == 120


def test_budget_is_complete_before_and_after_the_measurement() -> None:
    experiment = complete(dataclasses.replace(RING, minutes=0.5))
    assert (experiment.steps, experiment.budget, experiment.sample_every) == (None, 30.0, None)
    assert complete(experiment) == experiment
    measured = dataclasses.replace(experiment, steps=9)
    assert complete(measured).steps == 9
    assert assemble(complete(measured), None).plan.seconds == OVERRUN * 30


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Experiment(seconds=9.0), (None, 9.0, None)),
        (Experiment(steps=5), (5, None, None)),
        (Experiment(steps=5, minutes=1.0), (5, None, None)),
        (Experiment(seed=3), (70, None, 40.0)),
    ],
)
def test_other_lengths_replace_a_recorded_budget(other: Experiment, expected: tuple[object, ...]) -> None:
    merged = dataclasses.replace(RING, steps=70, budget=40.0).merge(other)
    assert (merged.steps, merged.seconds, merged.budget) == expected


@pytest.mark.usefixtures("quick_measurement")
def test_limit_of_images_is_respected() -> None:
    experiment = launch.settle(dataclasses.replace(short_budget(), images=33))
    assert experiment.steps == 5
    assert launch.settle(experiment) == experiment


@pytest.mark.usefixtures("quick_measurement")
def test_options_of_the_controller_follow_from_the_measured_steps() -> None:
    controller = PlugSpec("chain", {"of": ("epochs", "annealed")})
    completed = complete(Experiment(data=PlugSpec("digits"), controller=controller, batch_size=8, seconds=0.125))
    assert completed.controller.options["settings"] == {}
    experiment = time_budget.set_steps(completed)
    epochs = experiment.steps * 8 / 4000
    assert experiment.controller.options["settings"] == {"epochs": {"epochs": epochs}}


def test_measured_costs_are_positive() -> None:
    experiment = launch.settle(BUDGET)
    assert experiment.steps is not None
    assert experiment.steps > 1
    assert experiment.evaluate_every is not None


def test_steps_of_networks_that_grow_are_timed_over_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes as many seconds as its share of the run, and the last share is the cost of a reading's step."""
    training = assemble(complete(dataclasses.replace(RING, steps=1000, metric="none")), None)  # type: ignore[arg-type]
    training.state.model = dataclasses.replace(training.state.model, measured_at=(0.1, 0.3, 0.8))
    shares = []

    def step_seconds(training: Training, seconds: float, clock: timing.Clock) -> float:
        shares.append(training.state.step / training.plan.steps)
        return shares[-1]

    monkeypatch.setattr(timing, "_step_seconds", step_seconds)
    monkeypatch.setattr(timing, "_reading_seconds", lambda *args, **options: 1.0)
    costs = timing.measure_costs(training, 0.1)
    assert shares == [0.1, 0.3, 0.8]
    assert costs.step == pytest.approx(0.4)
    assert costs.reading == pytest.approx(0.2)


def test_run_seconds_counts_every_part() -> None:
    every = Intervals(sense=50, sample=10, evaluate=100, save=25, keep_best=False)
    assert run_seconds(COSTS, 1, every) == 0.25 + 0.5 + 2 * 2.0 + 3.0 + 4.0
    assert run_seconds(COSTS, 200, every) == 200 * 0.25 + 98 * 0.5 + 4 * 1.0 + 21 * 2.0 + 2 * 3.0 + 8 * 4.0
    pretrained = dataclasses.replace(COSTS, start=150, pretraining=1.0)
    assert run_seconds(pretrained, 200, every) - run_seconds(COSTS, 200, every) == 150 * 0.75
    best = dataclasses.replace(every, keep_best=True)
    assert run_seconds(COSTS, 200, best) - run_seconds(COSTS, 200, every) == 2 * 4.0
