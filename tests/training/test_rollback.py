"""Repair, from the finding to the weights: what is gone back to, what goes on, and what is told of it."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.core.events import Event, Finished, Remedied, Saved, Stepped, Turned
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.pilot.replay import observations, overrides, replay
from equipoise.runs.run_folder import Run
from equipoise.training import checkpoint
from equipoise.training.loop import Training, restore, save, train
from equipoise.training.rollback import Sound

STEPS = 60


def experiment(**settings: Any) -> Experiment:
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6})
    wanted: dict[str, Any] = {"steps": STEPS, "batch_size": 8, "save_every": 10, "threads": 1, "precision": "fp32"}
    return complete(
        Experiment(data=PlugSpec("digits"), model=model, image_size=16, metric=PlugSpec("none"), **wanted, **settings)
    )


def assembled(folder: Path, **settings: Any) -> Training:
    """A run in memory, its checkpoints in `folder`."""
    mine = experiment(**settings)
    training = launch.assemble(dataclasses.replace(mine, sample_every=None), folder)
    launch.set_out(training, mine)
    return training


def spoil(training: Training, at: int, what: Callable[[Training], None]) -> None:
    """Do something to a run, once, in the step after `at` steps."""
    first, *others = training.state.model.phases
    done = []

    def loss(networks: Any, batch: Any, moment: Any) -> Any:
        if moment.step == at and not done:
            done.append(at)
            what(training)
        return first.loss(networks, batch, moment)

    phases = (dataclasses.replace(first, loss=loss), *others)
    training.state.model = dataclasses.replace(training.state.model, phases=phases)


def plant_nan(training: Training) -> None:
    with torch.no_grad():
        next(training.state.model.networks["generator"].parameters()).fill_(math.nan)


def run(training: Training) -> list[Event]:
    return list(train(training))


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_weights_that_are_not_numbers_are_replaced_and_the_run_goes_on(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    spoil(training, 34, plant_nan)
    events = run(training)
    (remedied,) = of(Remedied, events)
    (finished,) = of(Finished, events)
    assert (remedied.finding.symptom, remedied.restored, remedied.step, remedied.lost) == ("divergence", 30, 35, 5)
    assert (finished.reason, finished.step) == ("steps", STEPS)
    assert all(value.isfinite().all() for value in training.state.tensors().values() if value.is_floating_point())


def test_without_repair_it_ends_there(tmp_path: Path) -> None:
    training = assembled(tmp_path, repair=False)
    spoil(training, 34, plant_nan)
    events = run(training)
    assert not of(Remedied, events)
    assert (of(Finished, events)[0].reason, training.sound.start) == ("diverged", None)


def test_before_the_first_checkpoint_the_start_is_gone_back_to(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    start = training.sound.start
    assert start is not None
    spoil(training, 4, plant_nan)
    events = train(training)
    for event in events:
        if isinstance(event, Remedied):
            break
    assert event.restored == 0
    now = training.state.tensors()
    assert all(
        torch.equal(now[name], value) for name, value in start.items() if name.startswith(("network", "averaged"))
    )
    assert not any(name.startswith("optimizer/") and name.endswith("exp_avg") for name in start)
    assert all(not optimizer.state for optimizer in training.state.optimizers.values())


def test_clock_stream_and_chance_go_on_while_weights_go_back(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    spoil(training, 34, plant_nan)
    for event in train(training):
        if isinstance(event, Remedied):
            break
    saved = checkpoint.read(tmp_path / checkpoint.name_of(30))
    now = training.state.tensors()
    assert all(torch.equal(now[name], value) for name, value in saved.tensors.items() if name.startswith("network/"))
    assert not torch.equal(now["random/moment"], saved.tensors["random/moment"])
    assert (training.state.step, training.state.draws) == (35, 35)
    assert saved.values["draws"] == 30


def test_a_checkpoint_is_gone_back_to_once_then_an_older_one(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    spoil(training, 34, plant_nan)
    first = training.state.model.phases[0]
    spoil(training, 36, plant_nan)
    assert training.state.model.phases[0] is not first
    spoil(training, 38, plant_nan)
    restored = [event.restored for event in of(Remedied, run(training))]
    assert restored == [30, 20, 10]


def test_no_more_is_gone_back_once_too_many_steps_are_lost(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    for at in range(20, 40, 2):
        spoil(training, at, plant_nan)
    events = run(training)
    lost = [event.lost for event in of(Remedied, events)]
    assert sum(lost[:-1]) < 0.7 * STEPS <= sum(lost)
    assert of(Finished, events)[0].reason == "diverged"


def test_weights_that_are_too_old_are_not_gone_back_to(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    training.sound.steps = [10, 20]
    for step in (10, 20):
        (tmp_path / checkpoint.name_of(step)).mkdir()
    assert training.sound.before(tmp_path, since=40, oldest=30) is None
    assert training.sound.start is not None
    assert training.sound.before(tmp_path, since=40, oldest=0) == (0, training.sound.start)


def test_knobs_are_turned_back_when_the_override_expires(tmp_path: Path) -> None:
    training = assembled(tmp_path, knobs={"lr_d": 1e-2}, controller=PlugSpec("fixed"))
    spoil(training, 11, plant_nan)
    turned = of(Turned, run(training))
    assert [(one.step, one.knob, one.before, one.after, one.by) for one in turned] == [
        (12, "lr_d", 1e-2, pytest.approx(2e-3), "repair"),
        (18, "lr_d", pytest.approx(2e-3), 1e-2, "repair"),
    ]
    assert turned[0].why == "divergence"


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run that is assembled is spoilt in its 35th step, once: also one that is resumed before it."""
    assemble = launch.assemble

    def spoiling(*arguments: Any, **named: Any) -> Training:
        training = assemble(*arguments, **named)
        spoil(training, 34, plant_nan)
        return training

    monkeypatch.setattr(launch, "assemble", spoiling)


def left(folder: Path) -> dict[str, bytes]:
    tensors = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize("stop", [30, 40])
def test_a_repaired_run_that_was_cut_off_ends_with_the_same_bytes(tmp_path: Path, stop: int) -> None:
    """Cut off before the repair, and after it."""
    mine = experiment(knobs={"lr_d": 1e-2})
    *_, last = launch.start(mine, tmp_path / "whole")
    assert isinstance(last, Finished)
    for event in (events := launch.start(mine, tmp_path / "cut")):
        if isinstance(event, Saved) and event.step == stop:
            events.close()
            break
    list(launch.resume(tmp_path / "cut"))
    assert left(tmp_path / "cut") == left(tmp_path / "whole")
    assert len(Run(tmp_path / "cut").named("remedied")) == 1


@pytest.mark.usefixtures("spoilt")
def test_where_a_run_was_interrupted_is_no_place_to_go_back_to(tmp_path: Path) -> None:
    """Stopped at 33, a save of its own, and spoilt in the step after: the whole run knows nothing of that save."""
    mine, steps = experiment(knobs={"lr_d": 1e-2}), [0]
    list(launch.start(mine, tmp_path / "whole"))
    for event in launch.start(mine, tmp_path / "cut", lambda: steps[-1] >= 33):
        if isinstance(event, Stepped):
            steps.append(event.step)
    assert event.reason == "interrupted"
    list(launch.resume(tmp_path / "cut"))
    assert left(tmp_path / "cut") == left(tmp_path / "whole")


def test_weights_that_are_no_numbers_are_passed_over_even_if_nobody_had_looked(tmp_path: Path) -> None:
    for step, value in ((10, 1.0), (20, math.nan)):
        checkpoint.write(tmp_path, checkpoint.Checkpoint(step, {"network/a": torch.tensor([value])}, {"step": step}))
    result = Sound(steps=[10, 20]).before(tmp_path, since=30, oldest=0)
    assert result is not None
    assert result[0] == 10


def test_a_run_that_ails_still_does_so_when_it_is_resumed(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    training.verdict = "unhealthy"
    path = tmp_path / save(training, tmp_path).checkpoint
    again = assembled(tmp_path)
    restore(again, path)
    assert again.verdict == "unhealthy"


@pytest.mark.usefixtures("spoilt")
def test_the_log_replays_every_knob_across_a_repair(tmp_path: Path) -> None:
    mine = experiment(knobs={"lr_d": 1e-2}, controller=PlugSpec("annealed"))
    list(launch.start(mine, tmp_path / "run"))
    run_folder = Run(tmp_path / "run")
    training = launch.assemble(mine, None)
    base = training.pilot.base
    seen = list(observations(run_folder, base))
    replayed = replay(training.pilot.controller, seen, base, overrides(run_folder))
    logged = [observation.knobs for observation in seen[1:]]
    assert replayed[:-1] == logged
    assert len({knobs.lr_d for knobs in logged}) > 10


@pytest.mark.usefixtures("spoilt")
def test_the_log_tells_what_was_done_and_why(tmp_path: Path) -> None:
    list(launch.start(experiment(knobs={"lr_d": 1e-2}), tmp_path / "run"))
    (line,) = Run(tmp_path / "run").named("remedied")
    assert line["finding"]["symptom"] == "divergence"
    assert (line["step"], line["restored"], line["lost"], line["rung"]) == (35, 30, 5, 0)
    assert line["overrides"] == [{"knob": "lr_d", "value": 2e-3, "base": 1e-2, "until": 35 + STEPS // 10}]
    assert json.dumps(line)
