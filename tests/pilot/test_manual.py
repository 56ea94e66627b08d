"""Manual control of a custom loop: a person holds knobs above the controller."""

import json

import pytest

from equipoise.controllers.annealed import Annealed
from equipoise.errors import SettingError, UnknownNameError
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.state import SavedPilot


def make_pilot(loop) -> Pilot:
    return Pilot(Annealed(schedules={"lr_d": "linear(4e-3, 0.001)"}), steps=20, optimizers=loop.optimizers)


def test_a_held_knob_is_written_to_the_optimizer_and_survives_a_checkpoint(create_loop) -> None:
    loop = create_loop(betas=(0.5, 0.9))
    pilot = make_pilot(loop)
    pilot.observe(**loop.step())
    (change,) = pilot.set_manual("lr_d", 2e-3, "for a try")
    assert (change.knob, change.after, change.source, change.reason) == ("lr_d", 2e-3, "manual", "for a try")
    pilot.observe(**loop.step())
    assert loop.settings("discriminator")[0] == 2e-3
    tensors, values = pilot.state()
    other_loop = create_loop(betas=(0.5, 0.9))
    other = make_pilot(other_loop)
    other.restore(pilot.step, pilot.images, tensors, json.loads(json.dumps(values)))
    assert other.manual == {"lr_d": 2e-3}
    for each, its_loop in ((pilot, loop), (other, other_loop)):
        each.observe(**its_loop.step())
        (change,) = each.set_manual("lr_d", None)
        assert change.after == pytest.approx(4e-3 - 3e-3 * 3 / 20), "the controller's value of that reading"
        assert its_loop.settings("discriminator")[0] == change.after


def test_what_is_not_held_takes_no_room_in_a_checkpoint(create_loop) -> None:
    _, values = make_pilot(create_loop(betas=(0.5, 0.9))).state()
    assert "manual" not in values
    assert SavedPilot.of(values).manual == {}


def test_a_value_that_is_set_twice_replaces_the_first(create_loop) -> None:
    pilot = make_pilot(create_loop(betas=(0.5, 0.9)))
    pilot.set_manual("lr_d", 2e-3)
    (change,) = pilot.set_manual("lr_d", 1e-3)
    assert (change.before, change.after) == (2e-3, 1e-3)
    assert pilot.set_manual("lr_d", 1e-3) == ()


@pytest.mark.parametrize(
    ("knob", "value", "named"),
    [
        ("lr_x", 1.0, "no knob 'lr_x'"),
        ("lr_d", 3.0, "outside its range"),
        ("lr_d", float("nan"), "outside its range"),
        ("discriminator_steps", 2.0, "no effect in this run"),
        ("lr_g", None, "lr_g is not held"),
    ],
)
def test_a_change_that_is_impossible_changes_nothing(create_loop, knob: str, value: float | None, named: str) -> None:
    pilot = make_pilot(create_loop(betas=(0.5, 0.9)))
    before = pilot.knobs
    with pytest.raises((SettingError, UnknownNameError), match=named):
        pilot.set_manual(knob, value)
    assert (pilot.knobs, pilot.manual) == (before, {})
