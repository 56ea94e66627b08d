"""Symptoms: what is found in made-up signals, and what is not."""

import dataclasses
import math
import random

import pytest

from equipoise.core.observations import Finding, Health, MetricReading, Signals
from equipoise.diagnosis.advice import ADVICE
from equipoise.diagnosis.balance import EQUILIBRIUM_RANK, EQUILIBRIUM_SPAN, at_equilibrium
from equipoise.diagnosis.history import History
from equipoise.diagnosis.symptoms import NAMES, diagnose


def trace(until: float, rank, readings: int = 100) -> list[tuple[float, float]]:
    """`rank(progress)` at even progress from 0 to `until`; `readings` in a whole run."""
    steps = range(round(until * readings) + 1)
    return [(step / readings, rank(step / readings)) for step in steps]


def test_nothing_is_found_in_a_healthy_run() -> None:
    for signals in (Signals(), Signals(rank_train_fake=0.3, loss_g=1.0, gradient_ratio=2.0)):
        health, _ = diagnose(History(), 40, 0.4, signals)
        assert health == Health()
        assert health.verdict == "healthy"


@pytest.mark.parametrize("count", [1, 50])
def test_divergence_is_found_and_says_by_what(count: int) -> None:
    health, _ = diagnose(History(), 340, 0.4, Signals(non_finite=count, loss_g=math.nan))
    assert health.findings == (Finding("divergence", 1.0, {"non_finite": count}, since=340),)
    assert health.verdict == "diverged"


def test_another_finding_is_no_divergence() -> None:
    other = Finding("mode_collapse", 0.6, {"diversity": 0.1}, since=3)
    assert Health((other,)).verdict == "unhealthy"
    assert Health((dataclasses.replace(other, severity=0.4),)).verdict == "healthy", "something to know"
    assert Health((other, Finding("divergence", 1.0, {}, since=4))).verdict == "diverged"


def test_flat_near_zero_is_an_equilibrium() -> None:
    assert at_equilibrium(trace(0.4, lambda p: 0.02))
    assert at_equilibrium(trace(0.4, lambda p: -0.09))
    assert at_equilibrium(trace(1.0, lambda p: 0.8 if p < 0.85 else 0.03)), "what was before the span is forgotten"
    noisy = trace(0.5, lambda p: 0.3 * math.sin(2 * math.pi * 50 * p + 0.5))
    assert max(abs(rank) for _, rank in noisy) > EQUILIBRIUM_RANK
    assert at_equilibrium(noisy), "single readings may scatter"


@pytest.mark.parametrize("level", [0.15, -0.15, 0.9])
def test_far_from_zero_is_none(level: float) -> None:
    assert not at_equilibrium(trace(0.6, lambda p: level))


@pytest.mark.parametrize("sign", [1, -1])
def test_passing_through_zero_is_none(sign: int) -> None:
    """The mean over the last tenth is 0, but the line falls by twice what is allowed."""
    drifting = trace(0.5, lambda p: sign * 2 * EQUILIBRIUM_RANK * (0.45 - p) / EQUILIBRIUM_SPAN)
    span = [rank for progress, rank in drifting if progress >= 0.4]
    assert sum(span) / len(span) == pytest.approx(0, abs=1e-9)
    assert not at_equilibrium(drifting)
    slower = trace(0.5, lambda p: sign * 0.5 * EQUILIBRIUM_RANK * (0.45 - p) / EQUILIBRIUM_SPAN)
    assert at_equilibrium(slower)


def test_too_short_a_history_is_none() -> None:
    assert not at_equilibrium([])
    assert not at_equilibrium([(0.9, 0.0)])
    assert not at_equilibrium(trace(0.09, lambda p: 0.0)), "less than the span has gone by"
    assert not at_equilibrium([(0.80, 0.0), (0.95, 0.0), (1.0, 0.0)]), "two readings are no line"
    assert not at_equilibrium([(0.95, 0.0), (0.97, 0.0), (0.99, 0.0), (1.0, 0.0)]), "they do not fill the span"
    assert at_equilibrium([(0.88, 0.0), (0.91, 0.0), (0.95, 0.0), (1.0, 0.0)])


def test_a_rank_that_is_no_number_is_no_equilibrium() -> None:
    assert not at_equilibrium(trace(0.5, lambda p: math.nan if p > 0.45 else 0.0))


def result(symptom: str, length: int, signals, step: int = 1) -> list[Finding]:
    """The findings of a symptom over a run; `signals(reading)`, readings `step` steps apart."""
    history, seen = History(), []
    for reading in range(1, length + 1):
        health, history = diagnose(history, step * reading, reading / length, signals(reading))
        seen += [finding for finding in health.findings if finding.symptom == symptom]
    return seen


def test_the_first_epoch_win_is_raised_within_two_readings() -> None:
    """A fifth of 218 spectrograms is 14 steps: Loss_D 0.0001, Loss_G 45.9, D(x) 0.9999, D(G(z)) 0.0000."""
    lost = Signals(loss_d=1e-4, loss_g=45.9, probability_real=0.9999, probability_fake=1e-9, rank_train_fake=1.0)
    (first, *more) = result("discriminator_overpowering", 3, lambda _: lost)
    assert first.since == 2
    assert first.severity == 1.0
    assert len(more) == 1


def test_a_discriminator_that_is_always_right_is_none_by_itself() -> None:
    """DCGAN on CIFAR-10: a loss near 0.01, the generator's between 5 and 7, from step 100, and FID improves."""
    right = Signals(loss_d=0.01, loss_g=6.0, probability_real=0.999, probability_fake=0.001, rank_train_fake=1.0)
    assert result("discriminator_overpowering", 300, lambda _: right) == []
    assert result("discriminator_overpowering", 300, lambda _: Signals(loss_d=0.01, loss_g=6.0)) == []
    assert result("discriminator_overpowering", 300, lambda _: Signals(loss_g=50.0)) == [], "no word of who is right"


def test_it_must_be_right_to_overpower() -> None:
    wrong = Signals(loss_g=50.0, probability_real=0.999, probability_fake=1e-6, rank_train_fake=0.5)
    assert result("discriminator_overpowering", 100, lambda _: wrong) == []


def test_a_generator_that_starves_while_the_discriminator_wins() -> None:
    def signals(reading: int) -> Signals:
        return Signals(rank_train_fake=1.0, gradient_norm_g=2.0 if reading < 50 else 0.02)

    (first, *_, last) = result("vanishing_generator_gradient", 200, signals)
    assert first.since >= 50
    assert last.severity == 1.0
    assert last.evidence["of_its_beginning"] == pytest.approx(0.01)
    assert result("discriminator_overpowering", 200, signals)
    even = lambda reading: dataclasses.replace(signals(reading), rank_train_fake=0.1)  # noqa: E731
    assert result("vanishing_generator_gradient", 200, even) == [], "a game at rest has small gradients, too"


def test_a_small_gradient_is_no_starving_beside_a_discriminator_in_doubt_or_samples_near_reals() -> None:
    def starves(**known: float) -> bool:
        def signals(reading: int) -> Signals:
            return Signals(rank_train_fake=0.9, gradient_norm_g=2.0 if reading < 50 else 0.02, **known)

        return bool(result("vanishing_generator_gradient", 200, signals))

    assert starves(probability_real=0.95, probability_fake=0.1)
    assert not starves(probability_real=0.55, probability_fake=0.45)
    assert starves(coverage=0.1)
    assert not starves(coverage=0.7)


@pytest.mark.parametrize(("later", "starves"), [(60.0, True), (20.0, False), (90.0, True)])
def test_a_gradient_that_fell_with_the_loss_is_no_starving(later: float, starves: bool) -> None:
    """pix2pix: a difference of pixels, weighted by 100, makes up most of the loss and of the gradient at first."""

    def signals(reading: int) -> Signals:
        start = reading < 50
        loss, gradient = (80.0, 2.0) if start else (later, 0.02)
        return Signals(rank_train_fake=1.0, gradient_norm_g=gradient, loss_g=loss)

    assert bool(result("vanishing_generator_gradient", 200, signals)) == starves


def test_a_discriminator_that_forgets_from_one_reading_to_the_next() -> None:
    def ranks(*values: float, apart: int = 50) -> list[Finding]:
        history, findings = History(), []
        for reading, rank in enumerate(values, 1):
            signals = Signals(rank_train_fake=rank)
            health, history = diagnose(history, reading * apart, reading / 20, signals)
            findings += [one for one in health.findings if one.symptom == "discriminator_forgetting"]
        return findings

    (forgot,) = ranks(0.48, 0.43, 0.41, 0.38, 0.04, 0.14, 0.18, 0.25)
    assert forgot.since == 200, "the last reading at which it knew"
    assert forgot.severity == 1.0
    assert ranks(0.48, 0.43, 0.41, 0.38, 0.3, 0.22, 0.14, 0.06) == [], "what fades is not forgotten"
    assert ranks(0.9, 0.2, 0.8, 0.3, 0.05) == [], "where ranks swing, a low one is no news"
    assert ranks(0.48, 0.43, 0.41, 0.38, 0.04, apart=1) == [], "the ranks of single steps scatter"


def test_a_win_without_a_fake_near_a_real() -> None:
    far = Signals(rank_train_fake=1.0, coverage=0.0)
    (first, *_) = result("discriminator_overpowering", 200, lambda _: far)
    assert first.since >= 50, "so it is in every run's first steps"
    near = Signals(rank_train_fake=1.0, coverage=0.3)
    assert result("discriminator_overpowering", 200, lambda _: near) == []


def test_a_discriminator_far_ahead_of_a_generator_that_has_not_begun() -> None:
    def signals(margin: float, coverage: float = 0.0) -> Signals:
        sure = {"probability_real": 0.5 + margin / 2, "probability_fake": 0.5 - margin / 2}
        return Signals(rank_train_fake=0.99, coverage=coverage, **sure)

    assert result("discriminator_overpowering", 30, lambda _: signals(0.5)) == [], "the textbook's game on digits"
    hint, serious = (result("discriminator_overpowering", 30, lambda _, by=by: signals(by))[0] for by in (0.6, 0.75))
    assert (hint.severity, serious.severity) == (pytest.approx(0.2), pytest.approx(0.5))
    assert (serious.since, serious.evidence["margin"]) == (0, pytest.approx(0.75))
    assert result("discriminator_overpowering", 30, lambda _: signals(0.8, coverage=0.1)) == [], "fakes are near reals"


def test_a_critic_whose_gradient_grows_without_bound() -> None:
    def growing(by: float) -> list[Finding]:
        signals = lambda r: Signals(rank_train_fake=1.0, coverage=0.0, gradient_norm_d=10.0 * by ** (r / 100))  # noqa: E731
        return result("discriminator_overpowering", 100, signals)

    assert [growing(by)[-1].severity > 0.5 for by in (1.5, 5.0)] == [False, True]
    assert growing(5.0)[-1].since == 0


def test_a_discriminator_whose_slope_is_penalised_away() -> None:
    def flat(margin: float, rank: float, coverage: float | None = 0.05) -> list[Finding]:
        sure = {"probability_real": 0.5 + margin, "probability_fake": 0.5}
        return result("dead_discriminator", 40, lambda _: Signals(rank_train_fake=rank, coverage=coverage, **sure))

    assert flat(0.005, 0.4)[0].severity >= 0.5
    assert flat(0.005, 0.1)[0].severity == pytest.approx(0.2), "a hint: it may not tell them apart"
    assert flat(0.05, 0.4) == [], "it says something"
    assert flat(0.005, 0.4, coverage=0.5)[0].severity == pytest.approx(0.2), "and so are half the reals"
    assert flat(0.005, 0.4, coverage=0.8) == [], "that is an equilibrium"
    assert flat(0.005, 0.4, coverage=None) == [], "nobody looked"


def test_samples_that_become_alike() -> None:
    (first, *_, last) = result("mode_collapse", 100, lambda r: Signals(diversity=0.9 if r < 40 else 0.05))
    assert 40 <= first.since <= 42
    assert last.severity == 1.0
    early = lambda reading: Signals(diversity=0.1 * reading)  # noqa: E731
    assert result("mode_collapse", 100, early) == [], "at the start of a run all samples are alike"
    never = result("mode_collapse", 100, lambda _: Signals(diversity=0.2))
    assert {finding.since for finding in never} == {0}, "it has been so since the run began"
    assert [finding.severity >= 0.5 for finding in (never[0], never[-1])] == [False, True], "a young one has time"


def test_reals_that_are_forgotten() -> None:
    (first, *_) = result("mode_dropping", 100, lambda r: Signals(coverage=0.9 if r < 50 else 0.3, diversity=0.8))
    assert 50 < first.since <= 54
    assert result("mode_dropping", 100, lambda _: Signals(coverage=0.1)) == [], "never there, never lost"
    nowhere = result(
        "mode_dropping", 100, lambda reading: Signals(coverage=0.0 if reading < 50 else 0.3, diversity=0.8)
    )
    assert {(finding.severity, finding.since) for finding in nowhere} == {(0.2, 0)}, "worth knowing, no more"
    assert len(nowhere) == 40, "from a tenth of the run until a fake comes near a real"
    by_chance = lambda reading: Signals(coverage=0.12 if reading == 5 else 0.0, diversity=0.8)  # noqa: E731
    assert result("mode_dropping", 100, by_chance), "one fake near a real is chance"
    alike = lambda reading: Signals(coverage=0.9 if reading < 50 else 0.1, diversity=0.05)  # noqa: E731
    assert result("mode_dropping", 100, alike) == [], "that is mode_collapse"


@pytest.mark.parametrize(
    ("symptom", "signal"), [("discriminator_overfitting", "rank_train_held_out"), ("memorisation", "copying")]
)
def test_learning_by_heart_is_graded(symptom: str, signal: str) -> None:
    severities = []
    for level in (0.1, 0.35, 0.5, 0.7, 0.95):
        seen = result(symptom, 20, lambda _, level=level: Signals(**{signal: level}))
        severities.append(seen[-1].severity if seen else 0.0)
    assert severities[0] == 0
    assert severities[2] == pytest.approx(0.5)
    assert severities[-1] == 1.0
    assert severities == sorted(severities)


def test_going_round_in_circles() -> None:
    (first, *_) = result("oscillation", 200, lambda r: Signals(rank_train_fake=0.6 * math.sin(r / 3)), step=50)
    assert first.severity >= 0.5
    assert first.evidence["period"] == pytest.approx(2 * math.pi * 3 * 50, rel=0.1)
    source = random.Random(0)
    assert result("oscillation", 300, lambda _: Signals(rank_train_fake=source.gauss(0, 0.4))) == [], "noise"
    assert result("oscillation", 200, lambda r: Signals(rank_train_fake=0.05 * math.sin(r / 3))) == [], "too small"
    assert result("oscillation", 200, lambda r: Signals(loss_g=10 / r)) == [], "a slope"


def test_a_discriminator_that_teaches_nothing() -> None:
    blind = Signals(rank_train_fake=0.01, coverage=0.0)
    assert result("dead_discriminator", 40, lambda _: blind)[0].since == 20
    assert len(result("equilibrium", 40, lambda _: blind)) < 20, "not once it is known to be blind"
    assert result("dead_discriminator", 40, lambda _: Signals(rank_train_fake=0.01, coverage=0.9)) == []
    faded = lambda r: Signals(loss_d=-1.0 if r < 60 else -1e-4 * (1 + r % 2))  # noqa: E731
    assert result("dead_discriminator", 100, faded)[0].since >= 79
    assert result("dead_discriminator", 100, lambda r: Signals(loss_d=1.0 if r < 60 else 1e-6)) == [], "it won"


def test_rest_is_no_ailment() -> None:
    seen = result("equilibrium", 100, lambda _: Signals(rank_train_fake=0.02))
    assert {finding.severity for finding in seen} == {0.0}
    assert Health(tuple(seen[:1])).verdict == "healthy"


def test_a_metric_that_stands_still_is_worth_knowing() -> None:
    def signals(reading: int) -> Signals:
        age = reading % 10
        return Signals(metrics={"fid": MetricReading(50.0 if reading >= 100 else 60.0 - (reading - age) / 10, age)})

    seen = result("plateau", 300, signals)
    assert seen
    assert max(finding.severity for finding in seen) < 0.5
    assert result("plateau", 300, lambda r: Signals(metrics={"fid": MetricReading(500.0 - r, 0)})) == []


def test_without_evidence_nothing_is_said() -> None:
    history = History()
    for step in range(1, 301):
        health, history = diagnose(history, step, step / 300, Signals())
        assert health == Health()


def test_since_is_when_it_was_first_found_without_a_break() -> None:
    seen = result("discriminator_overfitting", 60, lambda r: Signals(rank_train_held_out=0.6 if r % 30 > 10 else 0.0))
    assert len({finding.since for finding in seen}) == 2
    assert all(finding.symptom in ADVICE for finding in seen)
    assert set(ADVICE) == set(NAMES)
