"""Rollbacks of a run: the weights that are loaded, what continues, and what is logged."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.core.events import Event, Finished, Remedied, Saved, Stepped, Turned
from equipoise.core.observations import Finding, Health
from equipoise.diagnosis.remedies import is_restorable
from equipoise.experiment import launch, together
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.pilot.replay import replay
from equipoise.runs.observations import read_observations, read_overrides
from equipoise.runs.run import Run
from equipoise.training import checkpoint
from equipoise.training.loop import Training, restore, save, train
from equipoise.training.rollback import RollbackPoints

STEPS = 60


def experiment(**settings: Any) -> Experiment:
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6})
    defaults: dict[str, Any] = {"steps": STEPS, "batch_size": 8, "save_every": 10, "threads": 1, "precision": "fp32"}
    return complete(
        Experiment(data=PlugSpec("digits"), model=model, image_size=16, metric=PlugSpec("none"), **defaults, **settings)
    )


def assembled(folder: Path, **settings: Any) -> Training:
    """Assemble a run whose checkpoints are in `folder`."""
    settings_of_run = experiment(**settings)
    training = assemble(dataclasses.replace(settings_of_run, sample_every=None), folder)
    load_initial_weights(training, settings_of_run)
    return training


def damage(training: Training, at: int, change: Callable[[Training], None]) -> None:
    """Change a run once, in the step after `at` steps."""
    first, *rest = training.state.model.phases
    damaged_steps = []

    def loss(networks: Any, batch: Any, moment: Any) -> Any:
        if moment.step == at and not damaged_steps:
            damaged_steps.append(at)
            change(training)
        return first.loss(networks, batch, moment)

    phases = (dataclasses.replace(first, loss=loss), *rest)
    training.state.model = dataclasses.replace(training.state.model, phases=phases)


def plant_nan(training: Training) -> None:
    with torch.no_grad():
        next(training.state.model.networks["generator"].parameters()).fill_(math.nan)


def run(training: Training) -> list[Event]:
    return list(train(training))


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_nan_weights_are_rolled_back_and_training_continues(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    damage(training, 34, plant_nan)
    events = run(training)
    (remedied,) = of(Remedied, events)
    (finished,) = of(Finished, events)
    assert (remedied.finding.symptom, remedied.restored, remedied.step, remedied.lost) == ("divergence", 30, 35, 5)
    assert (finished.reason, finished.step) == ("steps", STEPS)
    assert all(value.isfinite().all() for value in training.state.tensors().values() if value.is_floating_point())


def test_run_without_repair_ends_diverged(tmp_path: Path) -> None:
    training = assembled(tmp_path, repair=False)
    damage(training, 34, plant_nan)
    events = run(training)
    assert not of(Remedied, events)
    assert (of(Finished, events)[0].reason, training.rollback_points.initial) == ("diverged", None)


def test_rollback_before_first_checkpoint_loads_initial_weights(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    start = training.rollback_points.initial
    assert start is not None
    damage(training, 4, plant_nan)
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


def test_rollback_keeps_step_stream_and_random_state(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    damage(training, 34, plant_nan)
    for event in train(training):
        if isinstance(event, Remedied):
            break
    saved = checkpoint.read(tmp_path / checkpoint.folder_name(30))
    now = training.state.tensors()
    assert all(torch.equal(now[name], value) for name, value in saved.tensors.items() if name.startswith("network/"))
    assert not torch.equal(now["random/moment"], saved.tensors["random/moment"])
    assert (training.state.step, training.state.draws) == (35, 35)
    assert saved.values["draws"] == 30


def test_each_checkpoint_is_used_for_one_rollback(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    damage(training, 34, plant_nan)
    first = training.state.model.phases[0]
    damage(training, 36, plant_nan)
    assert training.state.model.phases[0] is not first
    damage(training, 38, plant_nan)
    restored = [event.restored for event in of(Remedied, run(training))]
    assert restored == [30, 20, 10]


def test_no_rollback_after_too_many_lost_steps(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    for at in range(20, 40, 2):
        damage(training, at, plant_nan)
    events = run(training)
    lost = [event.lost for event in of(Remedied, events)]
    assert sum(lost[:-1]) < 0.7 * STEPS <= sum(lost)
    assert of(Finished, events)[0].reason == "diverged"


def test_rollback_does_not_use_weights_that_are_too_old(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    training.rollback_points.steps = [10, 20]
    for step in (10, 20):
        (tmp_path / checkpoint.folder_name(step)).mkdir()
    assert training.rollback_points.take(tmp_path, newest=40, oldest=30) is None
    assert training.rollback_points.initial is not None
    assert training.rollback_points.take(tmp_path, newest=40, oldest=0) == (0, training.rollback_points.initial)


def test_knobs_return_when_override_expires(tmp_path: Path) -> None:
    training = assembled(tmp_path, knobs={"lr_d": 1e-2}, controller=PlugSpec("fixed"))
    damage(training, 11, plant_nan)
    turned = of(Turned, run(training))
    assert [(one.step, one.knob, one.before, one.after, one.by) for one in turned] == [
        (12, "lr_d", 1e-2, pytest.approx(2e-3), "repair"),
        (18, "lr_d", pytest.approx(2e-3), 1e-2, "repair"),
    ]
    assert turned[0].why.startswith("divergence, reset")


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every assembled run is damaged once in its 35th step, also one that is resumed before it."""
    original = together.assemble

    def assemble_damaged(*arguments: Any, **named: Any) -> Training:
        training = original(*arguments, **named)
        damage(training, 34, plant_nan)
        return training

    monkeypatch.setattr(together, "assemble", assemble_damaged)


def final_tensors(folder: Path) -> dict[str, bytes]:
    tensors = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("stop", [30, 40])
def test_resumed_repaired_run_ends_with_same_bytes(tmp_path: Path, stop: int) -> None:
    """Killed before the repair, and after it."""
    settings_of_run = experiment(knobs={"lr_d": 1e-2})
    *_, last = launch.start(settings_of_run, tmp_path / "whole")
    assert isinstance(last, Finished)
    for event in (events := launch.start(settings_of_run, tmp_path / "cut")):
        if isinstance(event, Saved) and event.step == stop:
            events.close()
            break
    list(launch.resume(tmp_path / "cut"))
    assert final_tensors(tmp_path / "cut") == final_tensors(tmp_path / "whole")
    assert len(Run(tmp_path / "cut").lines("remedied")) == 1


@pytest.mark.usefixtures("damaged")
def test_checkpoint_of_interruption_is_no_rollback_point(tmp_path: Path) -> None:
    """Interrupted at 33, with a checkpoint, and damaged in the next step: the complete run has no such checkpoint."""
    settings_of_run, steps = experiment(knobs={"lr_d": 1e-2}), [0]
    list(launch.start(settings_of_run, tmp_path / "whole"))
    for event in launch.start(settings_of_run, tmp_path / "cut", lambda: steps[-1] >= 33):
        if isinstance(event, Stepped):
            steps.append(event.step)
    assert event.reason == "interrupted"
    list(launch.resume(tmp_path / "cut"))
    assert final_tensors(tmp_path / "cut") == final_tensors(tmp_path / "whole")


def test_checkpoint_with_nan_weights_is_skipped(tmp_path: Path) -> None:
    for step, value in ((10, 1.0), (20, math.nan)):
        checkpoint.write(tmp_path, checkpoint.Checkpoint(step, {"network/a": torch.tensor([value])}, {"step": step}))
    result = RollbackPoints(steps=[10, 20]).take(tmp_path, newest=30, oldest=0)
    assert result is not None
    assert result[0] == 10


def test_verdict_is_restored_on_resume(tmp_path: Path) -> None:
    training = assembled(tmp_path)
    training.verdict, training.restorable = "unhealthy", False
    path = tmp_path / save(training, tmp_path).checkpoint
    again = assembled(tmp_path)
    restore(again, path)
    assert (again.verdict, again.restorable) == ("unhealthy", False)


def test_findings_without_repair_leave_checkpoints_restorable() -> None:
    def health(symptom: str, severity: float) -> Health:
        return Health((Finding(symptom, severity, {}, since=0),), missing="a metric")

    assert is_restorable(Health(missing="a metric")), "unknown"
    assert is_restorable(health("data_out_of_range", 1.0))
    assert is_restorable(health("mode_collapse", 0.4))
    assert not is_restorable(health("mode_collapse", 0.6))
    assert not is_restorable(health("divergence", 1.0))


@pytest.mark.usefixtures("damaged")
def test_log_replays_every_knob_across_a_repair(tmp_path: Path) -> None:
    settings_of_run = experiment(knobs={"lr_d": 1e-2}, controller=PlugSpec("annealed"))
    list(launch.start(settings_of_run, tmp_path / "run"))
    run_folder = Run(tmp_path / "run")
    training = assemble(settings_of_run, None)
    base = training.pilot.base
    observations = list(read_observations(run_folder, base))
    replayed = replay(training.pilot.settings.controller, observations, base, read_overrides(run_folder))
    logged = [observation.knobs for observation in observations[1:]]
    assert replayed[:-1] == logged
    assert len({knobs.lr_d for knobs in logged}) > 10


@pytest.mark.usefixtures("damaged")
def test_remedied_line_names_finding_and_rollback(tmp_path: Path) -> None:
    list(launch.start(experiment(knobs={"lr_d": 1e-2}), tmp_path / "run"))
    (line,) = Run(tmp_path / "run").lines("remedied")
    assert line["finding"]["symptom"] == "divergence"
    assert (line["step"], line["restored"], line["lost"], line["rung"]) == (35, 30, 5, 0)
    assert line["overrides"] == [{"knob": "lr_d", "value": 2e-3, "base": 1e-2, "until": 35 + STEPS // 10}]
    assert json.dumps(line)
