"""Symptoms: what is found in made-up signals, and what is not."""

import math

import pytest

from equipoise.diagnosis.symptoms import EQUILIBRIUM_RANK, EQUILIBRIUM_SPAN, at_equilibrium, diagnose
from equipoise.observations import Finding, Health, Signals


def trace(until: float, rank, readings: int = 100) -> list[tuple[float, float]]:
    """`rank(progress)` at even progress from 0 to `until`; `readings` in a whole run."""
    steps = range(round(until * readings) + 1)
    return [(step / readings, rank(step / readings)) for step in steps]


def test_nothing_is_found_in_a_healthy_run() -> None:
    for signals in (Signals(), Signals(rank_train_fake=0.3, loss_g=1.0, gradient_ratio=2.0)):
        health = diagnose(signals, 40)
        assert health == Health()
        assert health.verdict == "healthy"


@pytest.mark.parametrize("count", [1, 50])
def test_divergence_is_found_and_says_by_what(count: int) -> None:
    health = diagnose(Signals(non_finite=count, loss_g=math.nan), 340)
    assert health.findings == (Finding("divergence", 1.0, {"non_finite": count}, since=340),)
    assert health.verdict == "diverged"


def test_another_finding_is_no_divergence() -> None:
    other = Finding("mode_collapse", 0.4, {"diversity": 0.1}, since=3)
    assert Health((other,)).verdict == "ailing"
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
