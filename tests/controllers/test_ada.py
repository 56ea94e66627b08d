"""Adaptive augmentation: the rule of Karras 2020, and its bounds."""

import dataclasses
import math

import pytest

from equipoise.controllers.ada import ADA
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError
from equipoise.models._diffusion import DiffusionKnobs

BASE = AdversarialKnobs()


def trajectory(controller, values, count, start=BASE):
    """The knob after each of `count` evenly spaced readings."""
    state, knobs, path = controller.initial(start), start, []
    for number in range(1, count + 1):
        signals = Signals(**{controller.signal: values(number)})
        turn = controller.update(state, Observation(number, number / count, signals, Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs.values()[controller.knob])
    return path


def test_it_follows_the_rule_of_the_paper() -> None:
    """p <- p + sign(r_t - 0.6) · images / ada_kimg, computed independently (Karras 2020)."""
    images, every, ada_kimg = 128_000, 1_600, 128_000 * 0.2
    values = [0.9, 0.7, 0.66, 0.3, 0.2, 0.9, 0.61, 0.58, 0.95, 0.99]
    p, expected = 0.0, []
    for number in range(images // every):
        beyond = values[number % 10] - 0.6
        p = min(max(0.0, p + math.copysign(every / ada_kimg, beyond) * (abs(beyond) > 0.05)), 0.8)
        expected.append(p)
    assert trajectory(ADA(signal="sign_real"), lambda n: values[(n - 1) % 10], 80) == pytest.approx(expected)


def test_the_constant_of_the_paper_is_too_slow_for_short_runs() -> None:
    short = trajectory(ADA(share=500 / 128), lambda n: 1.0, 40)
    assert short[-1] == pytest.approx(0.256), "control.md: 128 kimg at ada_kimg 500"
    assert trajectory(ADA(), lambda n: 1.0, 40)[-1] == 0.8


@pytest.mark.parametrize(("signal", "target"), [("sign_real", 0.6), ("rank_train_held_out", 0.2)])
def test_within_the_deadband_nothing_changes(signal: str, target: float) -> None:
    start = BASE.with_values({"augment_p": 0.3})
    for value in (target - 0.049, target, target + 0.049):
        assert set(trajectory(ADA(signal=signal), lambda n, value=value: value, 20, start)) == {0.3}
    assert trajectory(ADA(signal=signal), lambda n: target + 0.06, 20, start)[-1] == 0.8
    assert trajectory(ADA(signal=signal), lambda n: target - 0.06, 20, start)[-1] == 0.0
    assert trajectory(ADA(signal=signal, target=0.0), lambda n: target - 0.06, 20, start)[-1] == 0.8


def test_the_integrator_does_not_wind_up() -> None:
    path = trajectory(ADA(), lambda n: 1.0 if n <= 60 else 0.0, 80)
    assert path[59] == 0.8
    assert path[60] == pytest.approx(0.8 - 1 / 80 / 0.2), "it decreases at the first reading"


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_signal_changes_nothing(missing: float | None) -> None:
    path = trajectory(ADA(), lambda n: 1.0 if n <= 10 else missing, 40)
    assert path[9] > 0
    assert set(path[9:]) == {path[9]}


def test_the_change_of_one_reading_is_limited() -> None:
    path = trajectory(ADA(), lambda n: 1.0 if n % 2 else 0.0, 10)
    assert max(path) == 0.1
    assert trajectory(ADA(step=0.25), lambda n: 1.0 if n % 2 else 0.0, 10)[0] == 0.25


def test_the_reason_names_the_signal() -> None:
    observation = Observation(50, 0.1, Signals(rank_train_held_out=0.32), Health(), BASE)
    assert ADA().update(ADA().initial(BASE), observation).reasons == {"augment_p": "rank_train_held_out 0.32 > 0.25"}


def test_invalid_options_are_refused() -> None:
    with pytest.raises(SettingError, match=r"most = 0.9 is out of range; choose 0 to 0.8"):
        ADA(most=0.9)
    with pytest.raises(SettingError, match=r"share = 0: it must be above 0"):
        ADA(share=0)
    assert catalog.build("controllers", "ada:sign").signal == "sign_real"


def test_length_of_the_diffusion_follows_the_rule_of_its_paper() -> None:
    """T <- T + sign(r_d - 0.6) C between 10 and 1,000, C = images · 1,000 / kimg (Wang 2022, section 3.3)."""
    start = DiffusionKnobs(diffusion_steps=10)
    controller = catalog.build("controllers", "ada:diffusion")
    assert controller.required_knobs() == {"diffusion_steps"}
    values = [0.9, 0.9, 0.9, 0.3, 0.62, 0.9, 0.9, 0.1, 0.1, 0.9]
    steps, expected = 10.0, []
    for number in range(40):
        beyond = values[number % 10] - 0.6
        steps = min(max(steps + 1000 / (0.2 * 40) * math.copysign(abs(beyond) > 0.05, beyond), 10.0), 1000.0)
        expected.append(steps)
    path = trajectory(dataclasses.replace(controller, step=1.0), lambda n: values[(n - 1) % 10], 40, start)
    assert path == pytest.approx(expected)
    assert trajectory(controller, lambda n: 1.0, 40, start)[-1] == 1000
    assert trajectory(controller, lambda n: 0.0, 40, start)[-1] == 10


def test_bounds_of_the_length_of_the_diffusion() -> None:
    assert ADA(knob="diffusion_steps", most=500).upper_bound == 500
    with pytest.raises(SettingError, match=r"most = 2000 is out of range; choose 0 to 1000"):
        ADA(knob="diffusion_steps", most=2000)
    with pytest.raises(SettingError, match=r"least = 600 is out of range; choose 0 to 500"):
        ADA(knob="diffusion_steps", least=600, most=500)
