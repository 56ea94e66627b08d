"""Copies of a training: exact, independent of the training, and loaded any number of times."""

import pytest
import torch
from torch import Tensor

from equipoise.comparison.suite.episode import ArmSettings, open_training
from equipoise.comparison.suite.snapshots import load_snapshot, take_snapshot, train_until
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core.events import Evaluated, Stepped
from equipoise.experiment.settings import PlugSpec
from equipoise.training.loop import Training, train

POINTS = SuiteTask("points", "training", "mixtures", steps=16, training_images=64, model="mlp", options={"width": 8})
PICTURES = SuiteTask("pictures", "training", "bursts", steps=6, training_images=32, model="sngan", options={"width": 4})
ADA = ArmSettings(PlugSpec("ada"), {"augment_p": 0.3})
ANNEALED = ArmSettings(PlugSpec("annealed"))


def tensors(training: Training) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.state.tensors().items()}


def advance(training: Training, step: int) -> list[object]:
    return list(train_until(training, step))


def check_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(("task", "settings"), [(POINTS, ANNEALED), (PICTURES, ADA)], ids=["points", "pictures"])
def test_a_copy_continues_bit_equal(task: SuiteTask, settings: ArmSettings) -> None:
    training, middle = open_training(task, settings, 0), task.steps // 2
    advance(training, middle)
    snapshot, at_middle = take_snapshot(training), tensors(training)
    advance(training, task.steps)
    at_end, pilot = tensors(training), training.pilot
    for _ in range(2):
        load_snapshot(training, snapshot)
        assert training.state.step == snapshot.step == middle
        check_equal(tensors(training), at_middle)
        advance(training, task.steps)
        check_equal(tensors(training), at_end)
        assert training.pilot.knobs == pilot.knobs
        assert training.pilot.controller_state == pilot.controller_state
        assert training.best.value is not None


def test_a_copy_can_be_loaded_into_another_training() -> None:
    first, second = open_training(POINTS, ANNEALED, 0), open_training(POINTS, ANNEALED, 1)
    advance(first, 6)
    advance(second, 9)
    snapshot = take_snapshot(first)
    load_snapshot(second, snapshot)
    second.streams = first.streams  # the seed has chosen the data
    advance(first, 12)
    advance(second, 12)
    check_equal(tensors(first), tensors(second))


def test_training_in_parts_equals_training_at_once() -> None:
    whole, parts = open_training(POINTS, ANNEALED, 0), open_training(POINTS, ANNEALED, 0)
    events = list(train(whole))
    in_parts = [event for step in (1, 5, 5, 11, 16) for event in advance(parts, step)]
    check_equal(tensors(whole), tensors(parts))
    for kind in (Evaluated, Stepped):
        assert [event.step for event in in_parts if isinstance(event, kind)] == [
            event.step for event in events if isinstance(event, kind)
        ]


def test_the_plan_is_the_same_after_a_part() -> None:
    training = open_training(POINTS, ANNEALED, 0)
    plan = training.plan
    advance(training, 2)
    assert training.plan is plan
