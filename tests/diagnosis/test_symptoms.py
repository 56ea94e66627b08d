"""Symptoms: which synthetic signals show them, and which do not."""

import dataclasses
import math
import random
from collections.abc import Callable

import pytest

from equipoise.core.observations import SERIOUS, Finding, Health, MetricReading, Signals
from equipoise.diagnosis.diagnose import diagnose
from equipoise.diagnosis.history import LossLevels, SignalHistory, SignalPoint, append_reading
from equipoise.diagnosis.remedies import CONFIDENT
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.diagnosis.symptoms.weak_discriminator import EQUILIBRIUM_RANK, EQUILIBRIUM_SPAN, at_equilibrium


def rank_series(until: float, rank, readings: int = 100) -> list[tuple[float, float]]:
    """Return (progress, rank(progress)) at even progress from 0 to `until`; `readings` in a whole run."""
    steps = range(round(until * readings) + 1)
    return [(step / readings, rank(step / readings)) for step in steps]


def test_healthy_run_has_no_findings() -> None:
    for signals in (Signals(), Signals(rank_train_fake=0.3, loss_g=1.0, gradient_ratio=2.0)):
        health, _ = diagnose(SignalHistory(), 40, 0.4, signals)
        assert health.findings == ()
        assert health.verdict == "unknown", "one reading is no evidence"


@pytest.mark.parametrize("count", [1, 50])
def test_divergence_has_its_evidence(count: int) -> None:
    health, _ = diagnose(SignalHistory(), 340, 0.4, Signals(non_finite=count, loss_g=math.nan))
    assert health.findings == (Finding("divergence", 1.0, {"non_finite": count}, since=340),)
    assert health.verdict == "diverged"


def test_verdict_depends_on_divergence_and_severity() -> None:
    other = Finding("mode_collapse", 0.6, {"diversity": 0.1}, since=3)
    assert Health((other,)).verdict == "unhealthy"
    mild = dataclasses.replace(other, severity=0.4)
    assert Health((mild,)).verdict == "healthy"
    assert Health((mild,), missing="a metric").verdict == "unknown"
    assert Health((other,), missing="a metric").verdict == "unhealthy"
    assert Health((other, Finding("divergence", 1.0, {}, since=4))).verdict == "diverged"


def test_flat_ranks_near_zero_are_an_equilibrium() -> None:
    assert at_equilibrium(rank_series(0.4, lambda p: 0.02))
    assert at_equilibrium(rank_series(0.4, lambda p: -0.09))
    assert at_equilibrium(rank_series(1.0, lambda p: 0.8 if p < 0.85 else 0.03)), "earlier ranks do not count"
    noisy = rank_series(0.5, lambda p: 0.3 * math.sin(2 * math.pi * 50 * p + 0.5))
    assert max(abs(rank) for _, rank in noisy) > EQUILIBRIUM_RANK
    assert at_equilibrium(noisy), "single readings may be noisy"


@pytest.mark.parametrize("level", [0.15, -0.15, 0.9])
def test_ranks_far_from_zero_are_no_equilibrium(level: float) -> None:
    assert not at_equilibrium(rank_series(0.6, lambda p: level))


@pytest.mark.parametrize("sign", [1, -1])
def test_ranks_passing_through_zero_are_no_equilibrium(sign: int) -> None:
    """The mean over the last tenth is 0, but the line falls by twice the limit."""
    drifting = rank_series(0.5, lambda p: sign * 2 * EQUILIBRIUM_RANK * (0.45 - p) / EQUILIBRIUM_SPAN)
    span = [rank for progress, rank in drifting if progress >= 0.4]
    assert sum(span) / len(span) == pytest.approx(0, abs=1e-9)
    assert not at_equilibrium(drifting)
    slower = rank_series(0.5, lambda p: sign * 0.5 * EQUILIBRIUM_RANK * (0.45 - p) / EQUILIBRIUM_SPAN)
    assert at_equilibrium(slower)


def test_short_history_is_no_equilibrium() -> None:
    assert not at_equilibrium([])
    assert not at_equilibrium([(0.9, 0.0)])
    assert not at_equilibrium(rank_series(0.09, lambda p: 0.0)), "shorter than the span"
    assert not at_equilibrium([(0.80, 0.0), (0.95, 0.0), (1.0, 0.0)]), "two readings do not define a line"
    assert not at_equilibrium([(0.95, 0.0), (0.97, 0.0), (0.99, 0.0), (1.0, 0.0)]), "they do not fill the span"
    assert at_equilibrium([(0.88, 0.0), (0.91, 0.0), (0.95, 0.0), (1.0, 0.0)])


def test_nan_rank_is_no_equilibrium() -> None:
    assert not at_equilibrium(rank_series(0.5, lambda p: math.nan if p > 0.45 else 0.0))


def findings(symptom: str, length: int, signals, step: int = 1) -> list[Finding]:
    """Return the findings of a symptom over a run of readings `signals(reading)`, `step` steps apart."""
    history, result = SignalHistory(), []
    for reading in range(1, length + 1):
        health, history = diagnose(history, step * reading, reading / length, signals(reading))
        result += [finding for finding in health.findings if finding.symptom == symptom]
    return result


def test_win_in_the_first_epoch_is_detected_within_two_readings() -> None:
    """A fifth of 218 spectrograms is 14 steps: Loss_D 0.0001, Loss_G 45.9, D(x) 0.9999, D(G(z)) 0.0000."""
    lost = Signals(loss_d=1e-4, loss_g=45.9, probability_real=0.9999, probability_fake=1e-9, rank_train_fake=1.0)
    (first, *more) = findings("discriminator_overpowering", 3, lambda _: lost)
    assert first.since == 2
    assert first.severity == 1.0
    assert len(more) == 1


def test_discriminator_that_is_always_right_is_no_symptom_by_itself() -> None:
    """DCGAN on CIFAR-10: a loss near 0.01, the generator's between 5 and 7, from step 100, and FID improves."""
    right = Signals(loss_d=0.01, loss_g=6.0, probability_real=0.999, probability_fake=0.001, rank_train_fake=1.0)
    assert findings("discriminator_overpowering", 300, lambda _: right) == []
    assert findings("discriminator_overpowering", 300, lambda _: Signals(loss_d=0.01, loss_g=6.0)) == []
    assert findings("discriminator_overpowering", 300, lambda _: Signals(loss_g=50.0)) == [], (
        "nothing shows who is right"
    )


def test_discriminator_that_is_wrong_does_not_overpower() -> None:
    wrong = Signals(loss_g=50.0, probability_real=0.999, probability_fake=1e-6, rank_train_fake=0.5)
    assert findings("discriminator_overpowering", 100, lambda _: wrong) == []


def test_generator_without_gradient_while_the_discriminator_wins() -> None:
    def signals(reading: int) -> Signals:
        return Signals(rank_train_fake=1.0, gradient_norm_g=2.0 if reading < 50 else 0.02)

    (first, *_, last) = findings("vanishing_generator_gradient", 200, signals)
    assert first.since >= 50
    assert last.severity == 1.0
    assert last.evidence["of_its_beginning"] == pytest.approx(0.01)
    assert findings("discriminator_overpowering", 200, signals)
    even = lambda reading: dataclasses.replace(signals(reading), rank_train_fake=0.1)  # noqa: E731
    assert findings("vanishing_generator_gradient", 200, even) == [], "gradients are small at the equilibrium, too"


def test_small_gradient_is_no_symptom_while_the_discriminator_is_uncertain_or_samples_are_near_reals() -> None:
    def has_vanished(**other: float) -> bool:
        def signals(reading: int) -> Signals:
            return Signals(rank_train_fake=0.9, gradient_norm_g=2.0 if reading < 50 else 0.02, **other)

        return bool(findings("vanishing_generator_gradient", 200, signals))

    assert has_vanished(probability_real=0.95, probability_fake=0.1)
    assert not has_vanished(probability_real=0.55, probability_fake=0.45)
    assert has_vanished(coverage=0.1)
    assert not has_vanished(coverage=0.7)


@pytest.mark.parametrize(("later", "has_vanished"), [(60.0, True), (20.0, False), (90.0, True)])
def test_gradient_that_fell_with_the_loss_has_not_vanished(later: float, has_vanished: bool) -> None:
    """pix2pix: an L1 distance with weight 100 dominates loss and gradient at first."""

    def signals(reading: int) -> Signals:
        start = reading < 50
        loss, gradient = (80.0, 2.0) if start else (later, 0.02)
        return Signals(rank_train_fake=1.0, gradient_norm_g=gradient, loss_g=loss)

    assert bool(findings("vanishing_generator_gradient", 200, signals)) == has_vanished


def test_discriminator_that_forgets_between_two_readings() -> None:
    def forgetting(*ranks: float, interval: int = 50) -> list[Finding]:
        history, result = SignalHistory(), []
        for reading, rank in enumerate(ranks, 1):
            signals = Signals(rank_train_fake=rank)
            health, history = diagnose(history, reading * interval, reading / 20, signals)
            result += [finding for finding in health.findings if finding.symptom == "discriminator_forgetting"]
        return result

    (finding,) = forgetting(0.48, 0.43, 0.41, 0.38, 0.04, 0.14, 0.18, 0.25)
    assert finding.since == 200, "the last reading before it"
    assert finding.severity == 1.0
    assert forgetting(0.48, 0.43, 0.41, 0.38, 0.3, 0.22, 0.14, 0.06) == [], "a gradual fall"
    assert forgetting(0.9, 0.2, 0.8, 0.3, 0.05) == [], "ranks that oscillate"
    assert forgetting(0.48, 0.43, 0.41, 0.38, 0.04, interval=1) == [], "ranks of single steps are noisy"


def test_win_without_a_fake_near_a_real() -> None:
    far = Signals(rank_train_fake=1.0, coverage=0.0)
    (first, *_) = findings("discriminator_overpowering", 200, lambda _: far)
    assert first.since >= 50, "as at the start of every run"
    near = Signals(rank_train_fake=1.0, coverage=0.3)
    assert findings("discriminator_overpowering", 200, lambda _: near) == []


def test_discriminator_far_ahead_of_the_generator() -> None:
    def signals(margin: float, coverage: float = 0.0) -> Signals:
        probabilities = {"probability_real": 0.5 + margin / 2, "probability_fake": 0.5 - margin / 2}
        return Signals(rank_train_fake=0.99, coverage=coverage, **probabilities)

    assert findings("discriminator_overpowering", 30, lambda _: signals(0.5)) == [], "a DCGAN that learns"
    hint, serious = (
        findings("discriminator_overpowering", 30, lambda _, margin=margin: signals(margin))[0]
        for margin in (0.6, 0.75)
    )
    assert (hint.severity, serious.severity) == (pytest.approx(0.2), pytest.approx(0.5))
    assert (serious.since, serious.evidence["margin"]) == (0, pytest.approx(0.75))
    assert findings("discriminator_overpowering", 30, lambda _: signals(0.8, coverage=0.1)) == [], (
        "fakes are near reals"
    )


def test_critic_whose_gradient_grows_without_bound() -> None:
    def growing(factor: float) -> list[Finding]:
        signals = lambda r: Signals(rank_train_fake=1.0, coverage=0.0, gradient_norm_d=10.0 * factor ** (r / 100))  # noqa: E731
        return findings("discriminator_overpowering", 100, signals)

    assert [growing(factor)[-1].severity > 0.5 for factor in (1.5, 5.0)] == [False, True]
    assert growing(5.0)[-1].since == 0


def test_gradient_that_is_only_smaller_than_at_the_start_is_no_reason_for_repair() -> None:
    def smaller(share: float) -> Finding:
        signals = lambda r: Signals(rank_train_fake=1.0, gradient_norm_g=10.0 * (share if r > 30 else 1.0))  # noqa: E731
        return findings("discriminator_overpowering", 100, signals)[-1]

    assert smaller(0.19).confidence < CONFIDENT <= smaller(0.05).confidence
    assert smaller(0.19).severity < SERIOUS <= smaller(0.05).severity


def test_discriminator_whose_slope_is_penalised_away() -> None:
    def flat(margin: float, rank: float, coverage: float | None = 0.05) -> list[Finding]:
        probabilities = {"probability_real": 0.5 + margin, "probability_fake": 0.5}
        return findings(
            "dead_discriminator", 40, lambda _: Signals(rank_train_fake=rank, coverage=coverage, **probabilities)
        )

    assert flat(0.005, 0.4)[0].severity >= 0.5
    assert flat(0.005, 0.1)[0].severity == pytest.approx(0.2), "a hint: it may not distinguish them"
    assert flat(0.05, 0.4) == [], "its outputs differ"
    assert flat(0.005, 0.4, coverage=0.5)[0].severity == pytest.approx(0.2), "half the reals are covered"
    assert flat(0.005, 0.4, coverage=0.8) == [], "an equilibrium"
    assert flat(0.005, 0.4, coverage=None) == [], "coverage is unknown"


def test_mode_collapse() -> None:
    (first, *_, last) = findings("mode_collapse", 100, lambda r: Signals(diversity=0.9 if r < 40 else 0.05))
    assert 40 <= first.since <= 42
    assert last.severity == 1.0
    early = lambda reading: Signals(diversity=0.1 * reading)  # noqa: E731
    assert findings("mode_collapse", 100, early) == [], "every run starts with identical samples"
    never = findings("mode_collapse", 100, lambda _: Signals(diversity=0.2))
    assert {finding.since for finding in never} == {0}, "since the start of the run"
    assert [finding.severity >= 0.5 for finding in (never[0], never[-1])] == [False, True], "a hint early in the run"


def test_mode_dropping() -> None:
    (first, *_) = findings("mode_dropping", 100, lambda r: Signals(coverage=0.9 if r < 50 else 0.3, diversity=0.8))
    assert 50 < first.since <= 54
    assert findings("mode_dropping", 100, lambda _: Signals(coverage=0.1)) == [], "never covered, never dropped"
    nowhere = findings(
        "mode_dropping", 100, lambda reading: Signals(coverage=0.0 if reading < 50 else 0.3, diversity=0.8)
    )
    assert {(finding.severity, finding.since) for finding in nowhere} == {(0.2, 0)}, "a hint"
    assert len(nowhere) == 40, "from a tenth of the run until a fake comes near a real"
    by_chance = lambda reading: Signals(coverage=0.12 if reading == 5 else 0.0, diversity=0.8)  # noqa: E731
    assert findings("mode_dropping", 100, by_chance), "a single fake near a real is chance"
    identical = lambda reading: Signals(coverage=0.9 if reading < 50 else 0.1, diversity=0.05)  # noqa: E731
    assert findings("mode_dropping", 100, identical) == [], "mode_collapse instead"


@pytest.mark.parametrize(
    ("symptom", "signal"), [("discriminator_overfitting", "rank_train_held_out"), ("memorisation", "copying")]
)
def test_severity_of_overfitting_and_memorisation_is_graded(symptom: str, signal: str) -> None:
    severities = []
    for level in (0.1, 0.35, 0.5, 0.7, 0.95):
        result = findings(symptom, 20, lambda _, level=level: Signals(**{signal: level}))
        severities.append(result[-1].severity if result else 0.0)
    assert severities[0] == 0
    assert severities[2] == pytest.approx(0.5)
    assert severities[-1] == 1.0
    assert severities == sorted(severities)


@pytest.mark.parametrize(("end", "harm"), [(0.05, 1.0), (0.16, 2.0)])
def test_overfitting_says_whether_it_harms_quality(end: float, harm: float) -> None:
    """A distance that falls to 0.08 on the way and rises again, or goes on falling."""

    def signals(reading: int) -> Signals:
        share = reading / 40
        value = 0.3 - 0.44 * share if share < 0.5 else 0.08 + (end - 0.08) * min(1.0, 4 * (share - 0.5))
        return Signals(rank_train_held_out=0.6, metrics={"kd": MetricReading(value, 0)})

    evidence = findings("discriminator_overfitting", 40, signals)[-1].evidence
    assert evidence["kd_relative_to_best"] == pytest.approx(harm, rel=0.15)
    alone = findings("discriminator_overfitting", 40, lambda _: Signals(rank_train_held_out=0.6))
    assert set(alone[-1].evidence) == {"rank_train_held_out"}


def test_oscillation() -> None:
    (first, *_) = findings("oscillation", 200, lambda r: Signals(rank_train_fake=0.6 * math.sin(r / 3)), step=50)
    assert first.severity >= 0.5
    assert first.evidence["period"] == pytest.approx(2 * math.pi * 3 * 50, rel=0.1)
    source = random.Random(0)
    assert findings("oscillation", 300, lambda _: Signals(rank_train_fake=source.gauss(0, 0.4))) == [], "noise"
    assert findings("oscillation", 200, lambda r: Signals(rank_train_fake=0.05 * math.sin(r / 3))) == [], "too small"
    assert findings("oscillation", 200, lambda r: Signals(loss_g=10 / r)) == [], "a slope"


@pytest.mark.parametrize("probabilities", [{}, {"probability_real": 0.505, "probability_fake": 0.5}])
def test_discriminator_without_a_slope_is_a_hint_in_the_first_tenth_of_a_run(probabilities: dict[str, float]) -> None:
    """The default run on 60 windows has one at step 50 of 3,000, when no fake is near a real yet, and learns."""
    rank = 0.4 if probabilities else 0.0
    found = findings("dead_discriminator", 400, lambda _: Signals(rank_train_fake=rank, coverage=0.02, **probabilities))
    assert {finding.severity for finding in found[:20]} == {0.2}
    assert all(finding.severity >= SERIOUS for finding in found[21:])

    early = lambda r: Signals(rank_train_fake=rank, coverage=0.02 if r == 30 else None, **probabilities)  # noqa: E731
    assert {finding.severity for finding in findings("dead_discriminator", 400, early)} == {0.2}, "samples of step 30"


def test_dead_discriminator() -> None:
    dead = Signals(rank_train_fake=0.01, coverage=0.0)
    assert findings("dead_discriminator", 40, lambda _: dead)[0].since == 20
    assert len(findings("equilibrium", 40, lambda _: dead)) < 20, "not once it is dead"
    assert findings("dead_discriminator", 40, lambda _: Signals(rank_train_fake=0.01, coverage=0.9)) == []
    at_rest = lambda r: Signals(loss_d=-1.0 if r < 60 else -1e-4 * (1 + r % 2))  # noqa: E731
    assert findings("dead_discriminator", 100, at_rest)[0].since >= 70
    assert findings("dead_discriminator", 100, lambda r: Signals(loss_d=1.0 if r < 60 else 1e-6)) == [], (
        "the discriminator won"
    )


def test_equilibrium_has_severity_0() -> None:
    result = findings("equilibrium", 100, lambda _: Signals(rank_train_fake=0.02))
    assert {finding.severity for finding in result} == {0.0}
    assert Health(tuple(result[:1])).verdict == "healthy"


def test_metric_that_no_longer_improves_is_a_plateau() -> None:
    def signals(reading: int) -> Signals:
        age = reading % 10
        return Signals(metrics={"fid": MetricReading(50.0 if reading >= 100 else 60.0 - (reading - age) / 10, age)})

    result = findings("plateau", 300, signals)
    assert result
    assert max(finding.severity for finding in result) < 0.5
    assert findings("plateau", 300, lambda r: Signals(metrics={"fid": MetricReading(500.0 - r, 0)})) == []


def test_no_signals_no_findings() -> None:
    history = SignalHistory()
    for step in range(1, 301):
        health, history = diagnose(history, step, step / 300, Signals())
        assert health.findings == ()
    assert health.verdict == "unknown"


def test_health_needs_evidence() -> None:
    """Diverse samples near the reals, or a metric that improves; the missing evidence is named."""

    def health(signals: Callable[[int], Signals]) -> Health:
        history = SignalHistory()
        for step in range(1, 61):
            result, history = diagnose(history, step, step / 60, signals(step))
        return result

    losses = health(lambda step: Signals(loss_d=1.0 + 0.1 * math.sin(step), loss_g=1.0 + 0.1 * math.cos(step)))
    assert losses.verdict == "unknown"
    assert "no measure of quality" in losses.missing
    samples = health(lambda step: Signals(diversity=0.9, coverage=0.6))
    assert (samples.verdict, samples.missing) == ("healthy", "")
    metric = health(lambda step: Signals(metrics={"fid": MetricReading(300 / step**0.5, step % 5)}))
    assert metric.verdict == "healthy"
    assert health(lambda step: Signals(diversity=0.1, coverage=0.6)).missing == "", "a serious finding needs no more"


def test_since_is_the_first_of_consecutive_findings() -> None:
    result = findings(
        "discriminator_overfitting", 60, lambda r: Signals(rank_train_held_out=0.6 if r % 30 > 10 else 0.0)
    )
    assert len({finding.since for finding in result}) == 2


def test_records_are_complete_and_ordered() -> None:
    assert list(SYMPTOMS)[:2] == ["data_out_of_range", "divergence"]
    orders = [symptom.order for symptom in SYMPTOMS.values()]
    assert orders == sorted(set(orders))
    signals = {field.name for field in dataclasses.fields(Signals)}
    for symptom in SYMPTOMS.values():
        assert set(symptom.reads) <= signals
        for text in (symptom.meaning, symptom.test, symptom.source, symptom.advice):
            assert text
            assert not text.endswith("."), "pages and commands add it"
        assert all(scale.severity(scale.serious) == SERIOUS for scale in symptom.scales.values())


def test_detectors_use_only_the_signals_that_their_record_names() -> None:
    source, history, checked = random.Random(1), SignalHistory(), set()
    names = [field.name for field in dataclasses.fields(Signals) if field.name not in ("metrics", "non_finite")]
    for reading in range(1, 400):
        values = {name: 0.99 if name.startswith("rank") else source.random() * 0.1 for name in names}
        metrics = {"fid": MetricReading(50.0 if reading < 200 else 90.0, reading % 20)}
        signals = Signals(**values, metrics=metrics, non_finite=int(reading % 50 == 0))
        history = append_reading(history, 50 * reading, reading / 400, signals)
        for symptom in SYMPTOMS.values() if reading % 7 == 0 or reading % 50 == 0 else ():
            detection = symptom.detect(history)
            assert detection == symptom.detect(restrict(history, set(symptom.reads)))
            checked |= {symptom.id} if detection else set()
    assert len(checked) >= 5, "the signals show several symptoms"


def restrict(history: SignalHistory, names: set[str]) -> SignalHistory:
    """Return a history without the signals that are not in `names`."""

    def points(before: tuple[SignalPoint, ...]) -> tuple[SignalPoint, ...]:
        remaining = ({name: value for name, value in point.values.items() if name in names} for point in before)
        return tuple(dataclasses.replace(point, values=values) for point, values in zip(before, remaining, strict=True))

    parts = {name: points(getattr(history, name)) for name in ("recent", "spans", "filling")}
    levels = history.levels if {"loss_d", "loss_g"} <= names else LossLevels()
    return dataclasses.replace(history, **parts, levels=levels, metrics=history.metrics if "metrics" in names else {})
