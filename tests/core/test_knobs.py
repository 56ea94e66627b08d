"""Knobs: ranges, clamping, largest changes per decision, and error messages."""

import dataclasses
import math
from dataclasses import dataclass

import pytest

from equipoise.core.knobs import AdversarialKnobs, KnobRange, Knobs, check_turnable, knob
from equipoise.errors import SettingError, UnknownNameError

# "Knobs of an image GAN" in the design: default, low, high, whether the knob can be off, and its largest change.
DESIGN = {
    "lr_g": (2e-4, 1e-6, 1e-2, False, None),
    "lr_d": (2e-4, 1e-6, 1e-2, False, None),
    "beta1": (0.5, 0, 0.95, False, 0.1),
    "beta2": (0.999, 0.5, 0.9999, False, None),
    "discriminator_steps": (1, 1, 10, False, None),
    "generator_steps": (1, 1, 10, False, None),
    "ema_half_life": (10_000, 1, 1e7, True, None),
    "real_label_low": (1, 0, 1.2, False, None),
    "real_label_high": (1, 0, 1.2, False, None),
    "fake_label_low": (0, 0, 0.5, False, None),
    "fake_label_high": (0, 0, 0.5, False, None),
    "instance_noise": (0, 0, 2, False, None),
    "augment_p": (0, 0, 0.8, False, None),
    "r1_gamma": (0, 1e-4, 1e3, True, None),
    "r2_gamma": (0, 1e-4, 1e3, True, None),
    "gp_weight": (0, 1e-4, 1e2, True, None),
    "lecam_weight": (0, 1e-6, 1e1, True, None),
    "feature_matching_weight": (0, 1e-6, 1e1, True, None),
}

LINEAR = KnobRange(0, 2, "std", "linear", "")
LOG = KnobRange(1e-4, 1e2, "", "log", "")
OFF = KnobRange(1e-4, 1e2, "", "log", "", can_be_off=True)
WHOLE = KnobRange(1, 10, "updates", "integer", "")


def test_defaults_and_ranges() -> None:
    values, ranges = AdversarialKnobs().values(), AdversarialKnobs.ranges()
    result = {name: (values[name], r.low, r.high, r.can_be_off, r.max_change) for name, r in ranges.items()}
    assert result == DESIGN
    assert {name for name, r in ranges.items() if r.scale == "integer"} == {"discriminator_steps", "generator_steps"}
    assert all(ranges[name].scale == "log" for name in ("lr_g", "lr_d", "r1_gamma", "lecam_weight", "ema_half_life"))
    assert ranges["beta2"].scale == "log_complement"


@pytest.mark.parametrize("knobs", [Knobs(), AdversarialKnobs()], ids=["two players", "GAN"])
def test_every_default_is_inside_its_range_and_has_help(knobs: Knobs) -> None:
    for name, value in knobs.values().items():
        range = knobs.ranges()[name]
        assert range.contains(value), name
        assert range.clamp(value) == value, name
        assert range.help, name
        assert range.can_be_off == (range.low > 0 and range.contains(0)), name
    assert knobs.step_towards(knobs) == knobs
    assert knobs.with_values(knobs.values()) == knobs


def test_a_default_outside_its_range_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="default 3 is outside its range: 0 to 2"):
        knob(3, 0, 2, "", "linear", "")
    with pytest.raises(ValueError, match=r"default 1\.5 is outside its range: 1 to 10"):
        knob(1.5, 1, 10, "", "integer", "")
    with pytest.raises(ValueError, match="default 0 is outside"):
        knob(0, 1e-4, 1, "", "log", "")


@pytest.mark.parametrize(
    ("range", "value", "expected"),
    [
        (LINEAR, -0.1, 0.0),
        (LINEAR, 0.7, 0.7),
        (LINEAR, 2.1, 2.0),
        (LINEAR, math.inf, 2.0),
        (LINEAR, -math.inf, 0.0),
        (LOG, 0.0, 1e-4),
        (LOG, 9e-5, 1e-4),
        (OFF, 9.9e-5, 0.0),
        (OFF, 1e-4, 1e-4),
        (OFF, 0.0, 0.0),
        (OFF, -5.0, 0.0),
        (OFF, 1e3, 1e2),
        (WHOLE, 0.2, 1),
        (WHOLE, 3.4, 3),
        (WHOLE, 3.6, 4),
        (WHOLE, 99.0, 10),
    ],
)
def test_clamp_returns_nearest_valid_value(range: KnobRange, value: float, expected: float) -> None:
    result = range.clamp(value)
    assert result == expected
    assert type(result) is type(expected)
    assert range.contains(result)


@pytest.mark.parametrize("range", [LINEAR, LOG, OFF, WHOLE], ids=lambda range: range.scale)
def test_nan_is_refused(range: KnobRange) -> None:
    with pytest.raises(SettingError, match="not a number"):
        range.clamp(math.nan)


def test_values_below_range_become_off() -> None:
    assert OFF.contains(0)
    assert not LOG.contains(0)
    assert not OFF.contains(5e-5)
    assert str(OFF) == "0 (off) or 0.0001 to 100"
    assert str(LOG) == "0.0001 to 100"


def test_integers_stay_integers() -> None:
    assert not WHOLE.contains(1.5)
    knobs = Knobs().with_values({"discriminator_steps": 3.0, "lr_g": 1e-3})
    assert type(knobs.discriminator_steps) is int
    assert knobs.discriminator_steps == 3
    assert type(Knobs().with_values({"beta1": 0}).beta1) is float
    with pytest.raises(SettingError, match=r"generator_steps = 2\.5 is outside its range: 1 to 10"):
        knobs.with_values({"generator_steps": 2.5})


def test_step_towards_respects_max_change() -> None:
    knobs = Knobs().with_values({"beta1": 0.5})
    assert knobs.step_towards(knobs.with_values({"beta1": 0.9})).beta1 == pytest.approx(0.6)
    assert knobs.step_towards(knobs.with_values({"beta1": 0.0})).beta1 == pytest.approx(0.4)
    assert knobs.step_towards(knobs.with_values({"beta1": 0.55})).beta1 == 0.55
    near = Knobs().with_values({"beta1": 0.9})
    assert near.step_towards(dataclasses.replace(near, beta1=7.0)).beta1 == 0.95, "the range binds before the move does"
    assert knobs.step_towards(knobs.with_values({"lr_g": 1e-2})).lr_g == 1e-2, "a knob without a limit goes all the way"


def test_several_steps_reach_a_distant_target() -> None:
    knobs, target = Knobs().with_values({"beta1": 0.0}), Knobs().with_values({"beta1": 0.9})
    path = [knobs.beta1]
    for _ in range(10):
        knobs = knobs.step_towards(target)
        path.append(knobs.beta1)
    assert path == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9])
    assert knobs.beta1 == 0.9


def test_nan_target_is_refused_with_max_change() -> None:
    for name in ("beta1", "lr_g", "discriminator_steps"):
        with pytest.raises(SettingError, match="not a number"):
            Knobs().step_towards(dataclasses.replace(Knobs(), **{name: math.nan}))


def test_targets_are_clamped_and_settings_refused() -> None:
    target = dataclasses.replace(AdversarialKnobs(), lr_g=1.0, r1_gamma=1e-9, generator_steps=0)
    knobs = AdversarialKnobs().step_towards(target)
    assert (knobs.lr_g, knobs.r1_gamma, knobs.generator_steps) == (1e-2, 0.0, 1)
    with pytest.raises(SettingError, match=r"r1_gamma = 1e-09 is outside its range: 0 \(off\) or 0\.0001 to 100"):
        AdversarialKnobs().with_values({"r1_gamma": 1e-9})
    with pytest.raises(SettingError, match=r"lr_g = 1 is outside its range: 1e-06 to 0\.01"):
        Knobs().with_values({"lr_g": 1.0})
    with pytest.raises(SettingError, match="lr_d = nan is outside"):
        Knobs().with_values({"lr_d": math.nan})


def test_unknown_knob_suggests_a_similar_name() -> None:
    with pytest.raises(UnknownNameError, match="there is no knob 'r1_gama'; did you mean 'r1_gamma'"):
        AdversarialKnobs().with_values({"r1_gama": 1.0})
    with pytest.raises(UnknownNameError, match="no knob 'zzz'; available: beta1, beta2, discriminator_steps"):
        Knobs().with_values({"zzz": 1.0})


def test_with_values_returns_a_new_object() -> None:
    before = Knobs()
    after = before.with_values({"lr_g": 1e-3, "beta1": 0.0})
    assert before == Knobs()
    assert before.differences(after) == {"lr_g": (2e-4, 1e-3), "beta1": (0.5, 0.0)}
    assert after.differences(after) == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.lr_g = 1.0  # type: ignore[misc]


def test_model_can_add_knobs_and_change_ranges() -> None:
    @dataclass(frozen=True, slots=True)
    class Own(Knobs):
        lr_g: float = knob(0.2, 1e-4, 1, "", "log", "")
        pool_size: int = knob(50, 0, 100, "images", "integer", "")

    assert list(Own.ranges()) == [*Knobs.ranges(), "pool_size"]
    assert Own.ranges()["lr_g"].high == 1
    assert Own().with_values({"lr_g": 0.9, "pool_size": 7.0}).values()["pool_size"] == 7
    assert Knobs.ranges()["lr_g"].high == 1e-2


def test_knob_without_effect_is_reported() -> None:
    check_turnable(["lr_g"], ["lr_d", "lr_g"], "dirac")
    check_turnable([], [], "dirac")
    with pytest.raises(SettingError, match="augment_p has no effect in dirac; knobs that have an effect: lr_d, lr_g"):
        check_turnable(["lr_g", "augment_p"], ["lr_g", "lr_d"], "dirac")
