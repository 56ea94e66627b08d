"""What policies see: bounded, remembered in JSON, and 0 where there is nothing to see."""

import dataclasses
import json
import math

import pytest

from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, MetricReading, Observation, Signals
from equipoise.errors import UnknownNameError
from equipoise.policy.features import DECISION, FEATURES, FEWEST, SLOW, feature_set, unseen

KNOBS = AdversarialKnobs()
HEADS = ("first", "second")


def seen(step: float, **signals: object) -> Observation[AdversarialKnobs]:
    return Observation(round(step * 1000), step, Signals(**signals), Health(), KNOBS)  # type: ignore[arg-type]


def last(name: str, observations: list[Observation[AdversarialKnobs]]) -> dict[str, float]:
    """The features after all of them, by name."""
    chosen, memory, vector = feature_set(name), unseen(), ()
    for observation in observations:
        vector, memory = chosen.see(json.loads(json.dumps(memory)), observation, (0.0, 0.0))
    return dict(zip(chosen.named(HEADS), vector, strict=True))


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_has_a_name_and_bounds_whatever_is_seen(name: str) -> None:
    chosen, memory = feature_set(name), unseen()
    wild = [0.0, -1e30, 1e30, math.inf, -math.inf, math.nan, 1e-30]
    fields = [one.name for one in dataclasses.fields(Signals) if one.name not in ("non_finite", "metrics")]
    for step, value in enumerate(wild * 3):
        metrics = {"fd": MetricReading(value, 0)}
        signals = Signals(**dict.fromkeys(fields, value), metrics=metrics)
        sick = Health((Finding("divergence", 1.0, {}, since=0),))
        vector, memory = chosen.see(memory, Observation(step, step / 21, signals, sick, KNOBS), (2.0, -2.0))
        assert len(vector) == len(chosen.named(HEADS)) == len(set(chosen.named(HEADS)))
        assert all(-1 <= number <= 1 for number in vector)
        assert json.loads(json.dumps(memory, allow_nan=False)) == memory


@pytest.mark.parametrize("name", FEATURES)
def test_what_cannot_be_seen_is_0(name: str) -> None:
    result = last(name, [seen(0.5)])
    clock = {"progress": 0.0, "epoch_progress": 0.0, "hat_2": 1.0}
    assert {feature: value for feature, value in result.items() if value != clock.get(feature, 0.0)} == {}


def test_levels_and_slopes_have_the_half_lives_that_they_say() -> None:
    """After one decision half of a jump is in the level, and 1 - 2^(-1/4) of it in what the slope is against."""
    result = last("residual", [seen(0.2, rank_train_fake=0.0), seen(0.2 + DECISION, rank_train_fake=0.4)])
    slow = 0.4 * (1 - 0.5 ** (1 / SLOW))
    assert result["rank_train_fake"] == pytest.approx(0.2)
    assert result["rank_train_fake_slope"] == pytest.approx(4 * (0.2 - slow))


def test_many_readings_come_to_what_one_does() -> None:
    few = [seen(0.2, rank_train_fake=0.0), seen(0.3, rank_train_fake=0.5)]
    many = [few[0], *(seen(0.2 + i / 1000, rank_train_fake=0.5) for i in range(1, 101))]
    assert last("residual", few)["rank_train_fake"] == pytest.approx(last("residual", many)["rank_train_fake"])


def test_a_rank_that_may_be_noise_counts_less() -> None:
    weak, strong = (last("residual", [seen(0.1, rank_train_held_out=rank)]) for rank in (0.05, 0.8))
    assert weak["rank_train_held_out"] == pytest.approx(0.05 * 0.05 / (0.05 + 0.102))
    assert strong["rank_train_held_out"] / 0.8 > 0.85


def test_gradients_are_compared_with_the_start_of_the_run_alone() -> None:
    start = [seen(i / 1000, gradient_norm_g=2.0 ** (i % 2)) for i in range(20)]
    late = [seen(0.5 + i / 100, gradient_norm_g=2.0**9) for i in range(30)]
    grown = last("residual", [*start, *late])["gradient_norm_g"]
    mean, std = 0.5, 0.5
    assert grown == pytest.approx(math.tanh((9 - mean) / std / 3), abs=1e-6)
    assert last("residual", start[: FEWEST - 1])["gradient_norm_g"] == 0, "too few to compare with"


def test_scores_of_the_brief_are_of_the_run_so_far() -> None:
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    result = last("brief", [seen(0.9, loss_g=loss) for loss in losses])
    spread = (sum((loss - 3.5) ** 2 for loss in losses) / 6) ** 0.5
    assert result["loss_g"] == pytest.approx(math.tanh((1.0 - 3.5) / spread / 3)), (
        "no time passed: the level is the first"
    )
    assert result["epoch_progress"] == pytest.approx(0.8)


def test_the_distance_is_seen_against_the_first_of_the_run() -> None:
    first = seen(0.1, metrics={"fd_pixels": MetricReading(64.0, 0), "modes": MetricReading(9.0, 0, "higher")})
    now = seen(0.9, metrics={"fd_pixels": MetricReading(16.0, 0), "modes": MetricReading(9.0, 0, "higher")})
    assert last("ppo", [first, now])["fid"] == pytest.approx(math.tanh(-2 / 2), abs=1e-6)


def test_hats_draw_a_line_between_knots() -> None:
    knots = (3.0, -1.0, 0.5, 2.0, 1.0)

    def drawn(progress: float) -> float:
        return sum(knot * hat for knot, hat in zip(knots, last("time_only", [seen(progress)]).values(), strict=True))

    assert [drawn(place) for place in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(list(knots))
    assert drawn(0.3125) == pytest.approx(-1 + 0.25 * 1.5)


def test_heads_are_seen_where_they_stand() -> None:
    vector, _ = feature_set("residual").see(unseen(), seen(0.5), (0.25, -0.75))
    assert vector[-2:] == (0.25, -0.75)


def test_a_set_that_there_is_not_is_told() -> None:
    with pytest.raises(UnknownNameError, match="there is no set of features 'residuals'; did you mean 'residual'"):
        feature_set("residuals")
