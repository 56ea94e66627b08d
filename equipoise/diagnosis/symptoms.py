"""Signals in, findings out: one pure function a symptom, each threshold with its source."""

from collections.abc import Sequence

from equipoise.observations import Finding, Health, Signals

EQUILIBRIUM_RANK = 0.1
"""|rank_train_fake| that counts as "cannot tell apart": about one standard error of a rank of 64 against 64 logits,
sqrt((n + m + 1) / (3 n m)) = 0.10 (Mann and Whitney 1947)."""
EQUILIBRIUM_SPAN = 0.1
"""The share of the run for which it must hold."""


def diagnose(signals: Signals, step: int) -> Health:
    """All that can be found in the signals of one reading."""
    return Health(findings=tuple(divergence(signals, step)))


def divergence(signals: Signals, step: int) -> Sequence[Finding]:
    """A loss or a gradient that is not finite: nothing that follows can be trusted."""
    if signals.non_finite == 0:
        return ()
    return (Finding("divergence", severity=1.0, evidence={"non_finite": signals.non_finite}, since=step),)


def at_equilibrium(history: Sequence[tuple[float, float]]) -> bool:
    """Whether the ranks of the last tenth of a run say that the discriminator cannot tell reals from fakes.

    `history`: (progress, rank_train_fake) in order. The mean and the change of the fitted line over the span must
    both lie within EQUILIBRIUM_RANK, and the readings must fill the span.
    """
    if not history:
        return False
    end = history[-1][0]
    span = [(progress, rank) for progress, rank in history if progress >= end - EQUILIBRIUM_SPAN]
    if len(span) < 3 or len(span) == len(history) or end < EQUILIBRIUM_SPAN:
        return False
    centre = sum(progress for progress, _ in span) / len(span)
    level = sum(rank for _, rank in span) / len(span)
    spread = sum((progress - centre) ** 2 for progress, _ in span)
    slope = sum((progress - centre) * (rank - level) for progress, rank in span) / spread
    return abs(level) <= EQUILIBRIUM_RANK and abs(slope) * EQUILIBRIUM_SPAN <= EQUILIBRIUM_RANK
