"""Heads: from a position in [-1, 1] to the value of a knob."""

import dataclasses
import math

import pytest

from equipoise.core.knobs import AdversarialKnobs
from equipoise.errors import SettingError
from equipoise.policy.actions import Head, apply_heads, check_heads, move_heads, restrict_heads
from equipoise.policy.kinds import KINDS, NOISE_VAR, RATE, RATIO, STRENGTH, WEIGHT

ALL = frozenset(AdversarialKnobs.ranges())
KNOBS = AdversarialKnobs(lr_g=1e-3, lr_d=3e-3, r1_gamma=0.1, instance_noise=0.05)


@pytest.mark.parametrize("kind", ["residual", "time_only"])
def test_position_0_keeps_every_knob_bit_for_bit(kind: str) -> None:
    heads = KINDS[kind].heads
    values = apply_heads(heads, [0.0] * len(heads), KNOBS, ALL)
    assert values == {name: getattr(KNOBS, name) for name in values}
    assert values.keys() == {"lr_g", "lr_d", "r1_gamma", "r2_gamma", "instance_noise"}


def test_the_ratio_head_keeps_the_geometric_mean_of_the_rates() -> None:
    values = apply_heads([RATIO], [1.0], KNOBS, ALL)
    assert values["lr_d"] / values["lr_g"] == pytest.approx(4 * 3)
    assert values["lr_d"] * values["lr_g"] == pytest.approx(3e-6)


def test_heads_of_one_knob_add_up() -> None:
    twice = [Head("a", "octaves", {"lr_g": 1.0}, reach=2.0), Head("b", "octaves", {"lr_g": 1.0}, reach=1.0)]
    assert apply_heads(twice, [0.5, -1.0], KNOBS, ALL) == {"lr_g": 1e-3}


@pytest.mark.parametrize(
    ("head", "position", "knob", "value"),
    [
        (NOISE_VAR, 0.0, "instance_noise", 1.0),
        (NOISE_VAR, 1.0, "instance_noise", math.sqrt(2)),
        (NOISE_VAR, -1.0, "instance_noise", 0.0),
        (STRENGTH, 0.0, "augment_p", 0.4),
        (STRENGTH, 1.0, "augment_p", 0.8),
        (WEIGHT, 0.0, "gp_weight", 5.0),
        (WEIGHT, 1.0, "gp_weight", 20.0),
        (WEIGHT, -0.5, "gp_weight", 2.5),
        (RATE, -1.0, "lr_g", 1e-4),
        (RATE, 0.5, "lr_d", 2.5e-4),
    ],
)
def test_the_knobs_of_the_brief_have_its_bounds_and_initial_values(
    head: Head, position: float, knob: str, value: float
) -> None:
    assert apply_heads([head], [position], KNOBS, ALL)[knob] == pytest.approx(value)


def test_an_exclusive_head_changes_the_first_knob_that_acts() -> None:
    assert apply_heads([WEIGHT], [0.0], KNOBS, ALL) == {"gp_weight": 5.0, "r1_gamma": 0.1}
    assert apply_heads([WEIGHT], [0.0], KNOBS, ALL - {"gp_weight"}) == {"r1_gamma": 5.0}
    assert apply_heads([WEIGHT], [0.0], KNOBS, frozenset({"lr_g"})) == {}


def test_a_head_moves_one_step_per_decision_within_its_bounds() -> None:
    heads = [Head("slow", "octaves", {"lr_g": 1.0}, step=0.25), Head("free", "octaves", {"lr_d": 1.0})]
    positions = [0.0, 0.0]
    path = [positions := move_heads(heads, positions, (1.0, -1.0)) for _ in range(6)]
    assert [slow for slow, _ in path] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [free for _, free in path] == [-1.0] * 6


def test_heads_can_be_restricted_to_some_knobs() -> None:
    heads = restrict_heads(KINDS["residual"].heads, ("lr_g",), "the policy 'x'")
    assert len(heads) == 4, "the network keeps its size"
    assert apply_heads(heads, [0.0, 1.0, 1.0, 1.0], KNOBS, ALL) == {"lr_g": 1.6e-2}
    with pytest.raises(
        SettingError, match=r"the policy 'x' does not change 'augment_p'; it changes instance_noise, lr_d"
    ):
        restrict_heads(KINDS["residual"].heads, ("augment_p",), "the policy 'x'")


def test_invalid_heads_are_refused() -> None:
    with pytest.raises(SettingError, match="p changes 'lr_x', which is not a knob"):
        check_heads([Head("h", "octaves", {"lr_x": 1.0})], "p")
    with pytest.raises(SettingError, match=r"p would set lr_g to 1, outside its range: 1e-06 to 0\.01"):
        check_heads([dataclasses.replace(RATE, high=1.0)], "p")
    for kind in KINDS.values():
        check_heads(kind.heads, "p")
