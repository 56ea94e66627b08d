"""The symptoms broken_metric, never_learned and plateau, on series like those of field logs."""

import math
import random

import pytest

from equipoise.core.observations import MetricReading, SignalReading, Signals
from equipoise.diagnosis.diagnose import RunDiagnosis, diagnose_run


def run_of(values: list[float], name: str = "fid", better: str = "lower", start: int = 0) -> RunDiagnosis:
    """Diagnose a run with one measurement every 500 steps, from step `start` on, and quiet losses."""
    generator, length = random.Random(1), start + 500 * len(values)
    readings = []
    for number, value in enumerate(values, start=1):
        losses = {"loss_d": 1.2 + generator.gauss(0, 0.05), "loss_g": 0.9 + generator.gauss(0, 0.05)}
        step = start + 500 * number
        signals = Signals(metrics={name: MetricReading(value, 0, better)}, **losses)
        readings.append(SignalReading(step, step / length, signals))
    return diagnose_run(readings)


def symptoms_of(result: RunDiagnosis) -> dict[str, float]:
    """Return the symptoms that are present at the end, with their severities."""
    return {each.finding.symptom: each.finding.severity for each in result.episodes if each.until is None}


def noisy(level: float, count: int, noise: float = 0.02, seed: int = 2) -> list[float]:
    generator = random.Random(seed)
    return [level * math.exp(generator.gauss(0, noise)) for _ in range(count)]


def test_fid_that_never_improves_has_never_learned() -> None:
    """The course of field-cases/logs/fid_never_improves.csv: 299 to 318 for 58 measurements."""
    result = run_of(noisy(310, 58))
    assert symptoms_of(result) == {"never_learned": 0.7}
    (episode,) = result.episodes
    assert episode.finding.since == 0
    assert result.verdict == "unhealthy"


def test_fid_that_falls_only_at_first_to_a_worthless_level_has_never_learned() -> None:
    """WGAN-WC on CIFAR-10: 234, 176, then 159 to 165 for 98 % of the run."""
    result = run_of([233.7, 176.0, 167.0, 179.1, 190.7, *noisy(162, 45, 0.01)])
    assert "never_learned" in symptoms_of(result)
    assert "plateau" not in symptoms_of(result)


@pytest.mark.parametrize(
    "values",
    [
        [300 * math.exp(-number / 15) + 12 for number in range(40)],
        [170 - number for number in range(40)],
        noisy(9, 40),
        noisy(310, 7),
    ],
)
def test_improving_good_or_short_series_have_learned_something(values: list[float]) -> None:
    assert "never_learned" not in symptoms_of(run_of(values))


def test_metric_that_improves_steadily_near_its_best_value_has_learned_something() -> None:
    """Validity of the default run on sentences, pre-trained by likelihood, and modes of a short one on the grid."""
    validity = [0.970, 0.981, 0.986, 0.989, 0.989, 0.991, 0.991, 0.991, 0.992, 0.992]
    modes = [0.0091, 0.0134, 0.0146, 0.0179, 0.0204, 0.0125, 0.027, 0.0297, 0.0454, 0.054]
    for values in (validity, modes):
        assert "never_learned" not in symptoms_of(run_of(values, "share", "higher"))


def test_samples_near_the_reals_have_learned_something_whatever_the_metric_says() -> None:
    """The default run on 60 windows, whose metric is that of six held-out windows."""
    values = [0.340, 0.332, 0.339, 0.358, 0.367, 0.380, 0.385, 0.389, 0.387, 0.387]
    for coverage, expected in ((1.0, False), (0.02, True)):
        readings = [
            SignalReading(step, step / 10, Signals(coverage=coverage, metrics={"fd_pixels": MetricReading(value, 0)}))
            for step, value in enumerate(values, start=1)
        ]
        assert ("never_learned" in symptoms_of(diagnose_run(readings))) == expected


def test_a_log_that_begins_late_cannot_tell_whether_something_was_learned() -> None:
    assert "never_learned" not in symptoms_of(run_of(noisy(310, 40), start=200_000))


def test_metric_where_higher_is_better_may_never_improve_either() -> None:
    assert symptoms_of(run_of(noisy(1.2, 40), "inception_score", "higher")) == {"never_learned": 0.4}


@pytest.mark.parametrize(
    "values",
    [
        [1.31e57, 7.9e51, 4.5e53, -2.9e68, -2.6e57, 3e53, -1.7e50],
        [math.nan] * 58,
        [-12.0 - number for number in range(20)],
        [40.0] * 30,
        [0.0001 + 1e-6 * number for number in range(20)],
    ],
    ids=["absurd", "nan from the start", "negative", "constant", "below the sampling error"],
)
def test_impossible_values_are_a_broken_metric_and_nothing_else(values: list[float]) -> None:
    result = run_of(values)
    assert symptoms_of(result) == {"broken_metric": 0.4}
    assert {episode.finding.symptom for episode in result.episodes} == {"broken_metric"}
    assert result.verdict == "unknown", "nothing is known about the training"
    assert "fid" in result.missing
    assert result.best == {}


def test_single_impossible_value_does_not_break_a_metric() -> None:
    values = [100 / number + 10 for number in range(1, 40)]
    values[20] = math.nan
    values[30] = -4.0
    result = run_of(values)
    assert symptoms_of(result) == {}
    assert result.best["fid"].value == pytest.approx(100 / 39 + 10)


def test_metric_that_breaks_late_is_no_collapse() -> None:
    values = [100 / number + 10 for number in range(1, 40)] + [3e7, 5e8, 1e9]
    result = run_of(values)
    assert symptoms_of(result) == {"broken_metric": 0.4}
    (episode,) = result.episodes
    assert episode.finding.since >= 500 * 40


def test_plateau_needs_an_improvement_before() -> None:
    values = [300 * math.exp(-number / 4) for number in range(12)] + noisy(21, 40)
    assert symptoms_of(run_of(values)) == {"plateau": 0.2}
    assert symptoms_of(run_of(noisy(20, 50))) == {}


def test_slow_improvement_far_outside_the_noise_is_learning() -> None:
    """The course of field-cases/logs/seqgan_probs.tsv: a log-likelihood that falls by 4 % without a turn."""
    generator = random.Random(4)
    result = run_of([8.92 - 0.007 * number + generator.gauss(0, 0.01) for number in range(50)], name="nll")
    assert (result.verdict, symptoms_of(result)) == ("healthy", {})
    result = run_of([8.92 + generator.gauss(0, 0.01) for number in range(50)], name="nll")
    assert symptoms_of(result) == {"never_learned": 0.4}


def test_small_shares_that_rise_are_learning() -> None:
    result = run_of([0.0005 * number for number in range(40)], name="validity", better="higher")
    assert "never_learned" not in symptoms_of(result)


def test_one_metric_that_improved_shows_that_the_generator_learned() -> None:
    readings = [
        SignalReading(
            step,
            step / 60,
            Signals(metrics={"nll_oracle": MetricReading(9 - 0.01 * step, 0), "nll_gen": MetricReading(7.0, 0)}),
        )
        for step in range(1, 61)
    ]
    assert "never_learned" not in {each.finding.symptom for each in diagnose_run(readings).episodes}


def test_several_metrics_of_the_same_samples_are_one_measurement() -> None:
    """Findings that alternate between metrics were as many periods as readings."""
    readings = []
    for step in range(1, 101):
        value = 50.0 if step <= 50 else 90.0
        names = ("fid", "kid", "is_distance", "swd")
        metrics = {name: MetricReading(value + 400 * 0.8**step + step % 3, 0) for name in names}
        readings.append(SignalReading(step, step / 100, Signals(metrics=metrics)))
    episodes = diagnose_run(readings).episodes
    assert [(each.finding.symptom, each.finding.since, each.count) for each in episodes] == [("collapse", 51, 1)]
