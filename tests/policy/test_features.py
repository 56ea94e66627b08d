"""Features of policies: bounded, with a memory that JSON can store, and 0 for missing signals."""

import dataclasses
import json
import math

import pytest

from equipoise.core.controller import state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, MetricReading, Observation, Signals
from equipoise.errors import UnknownNameError
from equipoise.policy.features import FEATURES, feature_set
from equipoise.policy.running_statistics import DECISION, MIN_READINGS, SLOW, FeatureMemory

KNOBS = AdversarialKnobs()
HEADS = ("first", "second")


def observation(step: float, **signals: object) -> Observation:
    return Observation(round(step * 1000), step, Signals(**signals), Health(), KNOBS)  # type: ignore[arg-type]


def last(name: str, observations: list[Observation]) -> dict[str, float]:
    """Return the features by name after all observations."""
    features, memory, vector = feature_set(name), FeatureMemory(), ()
    for each in observations:
        memory = state_from_json(memory, json.loads(json.dumps(state_to_json(memory))))
        vector, memory = features.compute(memory, each, (0.0, 0.0))
    return dict(zip(features.all_names(HEADS), vector, strict=True))


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_has_a_name_and_bounds_for_any_observation(name: str) -> None:
    features, memory = feature_set(name), FeatureMemory()
    extreme = [0.0, -1e30, 1e30, math.inf, -math.inf, math.nan, 1e-30]
    fields = [one.name for one in dataclasses.fields(Signals) if one.name not in ("non_finite", "metrics")]
    for step, value in enumerate(extreme * 3):
        metrics = {"fd": MetricReading(value, 0)}
        signals = Signals(**dict.fromkeys(fields, value), metrics=metrics)
        diverged = Health((Finding("divergence", 1.0, {}, since=0),))
        vector, memory = features.compute(memory, Observation(step, step / 21, signals, diverged, KNOBS), (2.0, -2.0))
        assert len(vector) == len(features.all_names(HEADS)) == len(set(features.all_names(HEADS)))
        assert all(-1 <= number <= 1 for number in vector)
        text = json.dumps(state_to_json(memory), allow_nan=False)
        assert state_from_json(FeatureMemory(), json.loads(text)) == memory


@pytest.mark.parametrize("name", FEATURES)
def test_missing_signals_count_as_0(name: str) -> None:
    result = last(name, [observation(0.5)])
    clock = {"progress": 0.0, "epoch_progress": 0.0, "hat_2": 1.0}
    assert {feature: value for feature, value in result.items() if value != clock.get(feature, 0.0)} == {}


def test_levels_and_slopes_have_the_documented_half_lives() -> None:
    """After one decision half of a jump is in the level, and 1 - 2^(-1/4) of it in the slow average."""
    result = last("residual", [observation(0.2, rank_train_fake=0.0), observation(0.2 + DECISION, rank_train_fake=0.4)])
    slow = 0.4 * (1 - 0.5 ** (1 / SLOW))
    assert result["rank_train_fake"] == pytest.approx(0.2)
    assert result["rank_train_fake_slope"] == pytest.approx(4 * (0.2 - slow))


def test_levels_do_not_depend_on_the_number_of_readings() -> None:
    few = [observation(0.2, rank_train_fake=0.0), observation(0.3, rank_train_fake=0.5)]
    many = [few[0], *(observation(0.2 + i / 1000, rank_train_fake=0.5) for i in range(1, 101))]
    assert last("residual", few)["rank_train_fake"] == pytest.approx(last("residual", many)["rank_train_fake"])


def test_a_rank_within_its_standard_error_counts_less() -> None:
    weak, strong = (last("residual", [observation(0.1, rank_train_held_out=rank)]) for rank in (0.05, 0.8))
    assert weak["rank_train_held_out"] == pytest.approx(0.05 * 0.05 / (0.05 + 0.102))
    assert strong["rank_train_held_out"] / 0.8 > 0.85


def test_gradients_are_compared_with_the_warm_up() -> None:
    start = [observation(i / 1000, gradient_norm_g=2.0 ** (i % 2)) for i in range(20)]
    late = [observation(0.5 + i / 100, gradient_norm_g=2.0**9) for i in range(30)]
    grown = last("residual", [*start, *late])["gradient_norm_g"]
    mean, std = 0.5, 0.5
    assert grown == pytest.approx(math.tanh((9 - mean) / std / 3), abs=1e-6)
    assert last("residual", start[: MIN_READINGS - 1])["gradient_norm_g"] == 0, "too few readings for a score"


def test_scores_of_the_brief_use_the_run_so_far() -> None:
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    result = last("brief", [observation(0.9, loss_g=loss) for loss in losses])
    spread = (sum((loss - 3.5) ** 2 for loss in losses) / 6) ** 0.5
    assert result["loss_g"] == pytest.approx(math.tanh((1.0 - 3.5) / spread / 3)), (
        "no time has passed, so the level is the first value"
    )
    assert result["epoch_progress"] == pytest.approx(0.8)


def test_the_distance_is_relative_to_the_first_of_the_run() -> None:
    first = observation(0.1, metrics={"fd_pixels": MetricReading(64.0, 0), "modes": MetricReading(9.0, 0, "higher")})
    now = observation(0.9, metrics={"fd_pixels": MetricReading(16.0, 0), "modes": MetricReading(9.0, 0, "higher")})
    assert last("ppo", [first, now])["fid"] == pytest.approx(math.tanh(-2 / 2), abs=1e-6)


def test_hat_functions_interpolate_linearly() -> None:
    knots = (3.0, -1.0, 0.5, 2.0, 1.0)

    def interpolate(progress: float) -> float:
        return sum(
            knot * hat for knot, hat in zip(knots, last("time_only", [observation(progress)]).values(), strict=True)
        )

    assert [interpolate(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx(list(knots))
    assert interpolate(0.3125) == pytest.approx(-1 + 0.25 * 1.5)


def distances(*values: float) -> list[Observation]:
    """Return observations of a falling or rising distance, with a rank."""
    return [
        observation(0.1 + 0.05 * number, rank_train_fake=0.5, metrics={"kd": MetricReading(value, 0)})
        for number, value in enumerate(values)
    ]


def test_the_increase_of_the_distance_is_above_its_lowest_value() -> None:
    assert last("suite", distances(90.0, 3.0, 0.5, 0.2))["distance_increase"] == 0, "it fell without pause"
    assert last("suite", distances(90.0, 0.2, 0.4))["distance_increase"] == pytest.approx(math.tanh(1))
    assert last("suite", distances(90.0, -0.1, 0.4))["distance_increase"] == 0, "no ratio to a perfect distance"


def test_the_guard_needs_a_rank_and_a_distance_near_its_lowest() -> None:
    def allows(observations: list[Observation]) -> bool:
        memory = FeatureMemory()
        for each in observations:
            memory = feature_set("suite").compute(memory, each, ()).memory
        return feature_set("suite").allows_action(memory)

    assert allows(distances(9.0, 0.2, 0.5))
    assert not allows(distances(9.0, 0.2, 0.7))
    assert allows(distances(9.0, 0.2, 0.7, 0.3)), "the policy acts again where the distance has fallen"
    assert not allows([observation(0.5)])
    assert feature_set("residual").allows_action(FeatureMemory()), "other feature sets have no guard"


def test_facts_of_the_run_are_features() -> None:
    features, reading = feature_set("suite"), observation(0.5, rank_train_held_out=0.3)

    def compute(**facts: float) -> dict[str, float]:
        vector, _ = features.compute(FeatureMemory(), reading, (), facts)
        return dict(zip(features.names, vector, strict=True))

    assert compute(epochs=10**1.5)["epochs"] == pytest.approx(0)
    assert compute(epochs=300.0)["epochs"] == pytest.approx((math.log10(300) - 1.5) / 1.5)
    assert compute()["epochs"] == 0
    few, many = (compute(held_out_samples=count)["rank_train_held_out"] for count in (16, 200))
    error = math.sqrt((16 + 256 + 1) / (3 * 16 * 256))
    assert few == pytest.approx(0.3**2 / (0.3 + 2 * error))
    assert few < many < 0.3


def test_positions_of_the_heads_are_features() -> None:
    vector, _ = feature_set("residual").compute(FeatureMemory(), observation(0.5), (0.25, -0.75))
    assert vector[-2:] == (0.25, -0.75)


def test_an_unknown_feature_set_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="there is no set of features 'residuals'; did you mean 'residual'"):
        feature_set("residuals")
