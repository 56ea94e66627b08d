"""Symptoms of a discriminator that does not distinguish reals from fakes: dead, or at the equilibrium."""

import dataclasses
import statistics
from collections.abc import Sequence

from equipoise.diagnosis.adjustments import Adjustment
from equipoise.diagnosis.code_changes import (
    CHECK_GRADIENTS,
    DOUBLE_LR_OF_D,
    GRADIENT_PENALTY,
    LOOK_AT_SAMPLES,
    MORE_STEPS_OF_D,
)
from equipoise.diagnosis.criteria.loss_values import latest_values
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import MILD, Detection, Repair, SeverityScale, Symptom
from equipoise.diagnosis.symptoms.strong_discriminator import LOW_COVERAGE, STARTED

NO_DISCRIMINATION = 0.05
"""|rank_train_fake| of a discriminator that is no better than chance, averaged over 20 readings or more: twice the
standard error of 0.1 / sqrt(20)."""
DISCRIMINATES = 0.15
"""Minimum rank_train_fake of a discriminator that distinguishes reals from fakes: three times NO_DISCRIMINATION."""
FLAT = 0.01
"""Maximum |D(x) − D(G(z))| of a flat discriminator: nearly the same output for all samples."""
HIGH_COVERAGE = 2 / 3
"""Coverage above which a flat discriminator is an equilibrium."""
CRITIC_LOSS = SeverityScale(0.02, 0.01, 0.0)
"""|loss_d| of a Wasserstein critic as a share of its largest: its estimate of the distance has become 0."""
SETTLED = 0.7
"""Least change of |loss_d| from one eighth of a log to the next of a critic at rest. A loss that decays by less takes
more than half of the log for each halving."""
EQUILIBRIUM_RANK = 0.1
"""|rank_train_fake| that counts as "no better than chance": about one standard error of a rank of n = 64 against m = 64
logits, sqrt((n + m + 1) / (3 n m)) = 0.10 (Mann and Whitney 1947)."""
EQUILIBRIUM_SPAN = 0.1
"""Share of the run for which the rank must be this low."""


def detect_dead(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that is no better than chance although fakes differ from reals.

    Also detects a critic whose loss has settled near 0. This applies to losses without a lower bound, such as the loss
    of a Wasserstein critic whose estimate has fallen to a hundredth of its largest value. In the first tenth of a run
    few fakes are near a real in any case, so samples from that time are no more than a hint.
    """
    detection = _at_chance(history) or _flat(history)
    probes = [point.progress for point in history.recent if point.values.keys() & {"coverage", "diversity"}]
    if detection and max(probes, default=0.0) < STARTED:
        detection = dataclasses.replace(detection, severity=min(detection.severity, MILD))
    return detection or _critic_at_rest(history)


def detect_equilibrium(history: SignalHistory) -> Detection | None:
    """Detect that the discriminator has not distinguished reals from fakes for a tenth of the run; severity 0."""
    points = (*history.spans, *history.filling) if history.last("rank_train_fake", 1) else ()
    ranks = [(p.progress, p.values["rank_train_fake"]) for p in points if "rank_train_fake" in p.values]
    if not at_equilibrium(ranks) or detect_dead(history):
        return None
    return Detection(0.0, 0.8, {"rank_train_fake": ranks[-1][1]})


def at_equilibrium(ranks: Sequence[tuple[float, float]]) -> bool:
    """Return whether the ranks over the last tenth of a run show that reals and fakes are indistinguishable.

    `ranks`: pairs (progress in [0, 1], rank_train_fake in [-1, 1]), in order. Over the span, the mean of the ranks and
    the change of their least-squares line must both be within ±EQUILIBRIUM_RANK, and earlier readings must exist.
    """
    if not ranks:
        return False
    end = ranks[-1][0]
    span = [(progress, rank) for progress, rank in ranks if progress >= end - EQUILIBRIUM_SPAN]
    if len(span) < 3 or len(span) == len(ranks) or end < EQUILIBRIUM_SPAN:
        return False
    centre = sum(progress for progress, _ in span) / len(span)
    level = sum(rank for _, rank in span) / len(span)
    spread = sum((progress - centre) ** 2 for progress, _ in span)
    if spread == 0:
        return False
    slope = sum((progress - centre) * (rank - level) for progress, rank in span) / spread
    return abs(level) <= EQUILIBRIUM_RANK and abs(slope) * EQUILIBRIUM_SPAN <= EQUILIBRIUM_RANK


def _at_chance(history: SignalHistory) -> Detection | None:
    """Detect ranks at the level of chance although few fakes are near a real, or fakes are nearly equal."""
    ranks = history.last("rank_train_fake", 20)
    if len(ranks) < 20 or abs(statistics.fmean(ranks)) >= NO_DISCRIMINATION:
        return None
    for name, limit in (("coverage", 0.1), ("diversity", 0.3)):
        values = history.last(name, 3)
        if values and statistics.fmean(values) < limit:
            return Detection(0.8, 0.8, {"rank_train_fake": statistics.fmean(ranks), name: statistics.fmean(values)})
    return None


def _flat(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that separates fakes from reals by a negligible margin, because penalties flatten it.

    Only while few reals have a fake near them, because the discriminator is also flat at the equilibrium. With more
    coverage, or with ranks that do not show that it distinguishes the two, the finding is a hint.
    """
    coverage = history.last("coverage", 3)
    if not coverage or statistics.fmean(coverage) > HIGH_COVERAGE:
        return None
    real, fake, ranks = (history.last(name, 20) for name in ("probability_real", "probability_fake", "rank_train_fake"))
    if min(len(real), len(fake), len(ranks)) < 20:
        return None
    margin, rank = max(abs(x - y) for x, y in zip(real, fake, strict=True)), statistics.fmean(ranks)
    if margin > FLAT:
        return None
    is_certain = rank >= DISCRIMINATES and statistics.fmean(coverage) <= LOW_COVERAGE
    return Detection(0.6 if is_certain else MILD, 0.7, {"margin": margin, "rank_train_fake": rank})


def _critic_at_rest(history: SignalHistory) -> Detection | None:
    """Detect a critic loss that was negative at the beginning and has settled near 0."""
    if not history.last("rank_train_fake", 1):
        return _settled_critic(history)
    start, now = history.early("loss_d", 20), history.last("loss_d", 20)
    if start is None or len(now) < 20 or start >= 0 or max(now) - min(now) <= 0:
        return None
    strongest = -min(history.values("loss_d"))
    remaining = max(abs(value) for value in now) / strongest
    severity = CRITIC_LOSS.severity(remaining)
    if severity is None:
        return None
    return Detection(severity, 0.7, {"loss_d": statistics.fmean(now), "of_strongest": remaining})


def _settled_critic(history: SignalHistory) -> Detection | None:
    """Detect in a log that a critic's loss is near 0 and no longer decays, as it does while a WGAN learns.

    Without ranks, single losses are noise: the strongest is up to the fourth, and a tenth of the log counts.
    """
    losses = history.values("loss_d")
    if len(losses) < 20 or min(losses) >= 0:
        return None
    losses.sort()
    if (strongest := -losses[min(3, len(losses) // 20)]) <= 0:
        return None
    now = latest_values(history, "loss_d")
    remaining = statistics.median(map(abs, now)) / strongest
    severity = CRITIC_LOSS.severity(max(remaining, max(map(abs, now)) / strongest / 3))
    quarter = latest_values(history, "loss_d", share=0.25, least=20)
    half = len(quarter) // 2
    before, after = (statistics.median(map(abs, values)) for values in (quarter[:half], quarter[half:]))
    if severity is None or after < SETTLED * before:
        return None
    return Detection(severity, 0.7, {"loss_d": statistics.median(now), "of_strongest": remaining})


DEAD = Symptom(
    id="dead_discriminator",
    order=100,
    detect=detect_dead,
    reads=("rank_train_fake", "coverage", "diversity", "probability_real", "probability_fake", "loss_d"),
    excludes=("discriminator_overpowering",),
    meaning="the discriminator distinguishes reals from fakes no better than chance although they differ, so the "
    "generator gets no useful gradient",
    test="|mean of `rank_train_fake` over twenty readings| < 0.05 although coverage < 0.1 or diversity < 0.3 "
    "(severity 0.8); or |D(x) − D(G(z))| ≤ 0.01 in each of twenty readings although coverage ≤ 2/3 (severity 0.6 if "
    "coverage ≤ 0.3 and `rank_train_fake` ≥ 0.15, else 0.2), both at most 0.2 in the first tenth of a run; or a "
    "Wasserstein critic's |loss_d| near 0 for twenty readings (in logs without ranks: over the last tenth, and no "
    "longer decaying, because it falls while a WGAN learns)",
    scales={"|loss_d| / max(−loss_d)": CRITIC_LOSS},
    source="0.05 = twice the standard error 0.1 / √20 of the mean of twenty ranks (Mann and Whitney 1947)",
    advice="increase lr_d, reduce augment_p, instance_noise and r1_gamma; replace weight clipping by gp_weight",
    loop_advice=(CHECK_GRADIENTS, DOUBLE_LR_OF_D, GRADIENT_PENALTY, MORE_STEPS_OF_D),
    repair=Repair(
        (
            (
                Adjustment("r1_gamma", "multiply", 0.1),
                Adjustment("instance_noise", "multiply", 0.5),
                Adjustment("augment_p", "multiply", 0.5),
            ),
            (Adjustment("lr_d", "multiply", 2.0),),
            (Adjustment("discriminator_steps", "at_least", 2),),
        ),
        acts_on_hints=True,
    ),
)

EQUILIBRIUM = Symptom(
    id="equilibrium",
    order=130,
    detect=detect_equilibrium,
    reads=("rank_train_fake", "coverage", "diversity", "probability_real", "probability_fake", "loss_d"),
    excludes=("dead_discriminator", "discriminator_overpowering", "vanishing_generator_gradient"),
    meaning="the discriminator no longer distinguishes reals from fakes; this is not a problem",
    test="over the last tenth of the run, the mean of `rank_train_fake` and the change of its least-squares line are "
    "both within ±0.1, and the discriminator is not dead (severity 0)",
    source="0.1 = standard error √((n + m + 1) / (3 n m)) of a rank of 64 against 64 logits (Mann and Whitney 1947)",
    advice="no change is needed; --stop-at-equilibrium ends a run here",
    loop_advice=(LOOK_AT_SAMPLES,),
)
