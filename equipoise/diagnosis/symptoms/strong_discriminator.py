"""Symptoms of a discriminator that is too strong for the generator to learn from."""

import dataclasses
import math
import statistics

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.adjustments import (
    INCREASE_AUGMENTATION,
    INCREASE_R1,
    INSTANCE_NOISE,
    QUARTER_LR_D,
    SOFT_LABELS,
    STABLE_SETTINGS,
    Adjustment,
    Rung,
)
from equipoise.diagnosis.code_changes import (
    ADD_INSTANCE_NOISE,
    ADD_R1,
    AUGMENT,
    BCE_WITH_LOGITS,
    NON_SATURATING_LOSS,
    QUARTER_LR_OF_D,
    SMOOTH_LABELS,
)
from equipoise.diagnosis.criteria.discriminator_win import (
    READINGS_AFTER_JUMP,
    loss_jump,
    was_measured_since,
    win_evidence,
    won_share,
)
from equipoise.diagnosis.criteria.loss_values import ideal_loss_d
from equipoise.diagnosis.criteria.perfect_discriminator import detect_perfect_discriminator
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import HINT, Detection, Repair, SeverityScale, Symptom

SATURATED_RANK = 0.98
"""Minimum rank_train_fake of a saturated discriminator, which orders 99 of 100 pairs correctly."""
SATURATED_PROBABILITY = 0.02
"""Maximum 1 − D(x) and D(G(z)) of a saturated discriminator, if the loss gives probabilities: the same 99 of 100,
averaged over both sides."""
GENERATOR_LOSS = SeverityScale(8.0, 16.6, 40.0)
"""Loss of the generator in nats, where it is −log D(G(z)). 16.6 = 24 ln 2: D(G(z)) is below the last bit of a float32
next to 1, so the discriminator's own gradient is exactly 0 and the generator cannot recover. At 8, the level
at which DCGAN on CIFAR-10 still improves (StudioGAN's log), the finding is a hint."""
GRADIENT_DECADES = SeverityScale(-0.7, -1.0, -2.0)
"""log10 of the generator's gradient norm relative to the beginning of the run; a tenth is serious. The gradient
vanishes as the discriminator approaches its optimum (Arjovsky and Bottou 2017, theorem 2.4)."""
MARGIN = SeverityScale(0.6, 0.75, 0.95)
"""D(x) − D(G(z)) while no fake is near a real. The textbook's DCGAN on digits, which learns, has 0.45 to 0.58 in its
first fifth; with a learning rate ten times too high, a momentum of 0.9, or only 218 windows, it exceeds 0.75 within a
tenth of the run (seed 100 of benchmarks/rescue.py)."""
GRADIENT_GROWTH = SeverityScale(2.0, 3.0, 10.0)
"""Growth of a critic's gradient norm since the beginning, while no fake is near a real: it is no longer bounded."""
STARTED = 0.1
"""Share of the run after which at least some fakes should be near a real."""
WON_FOR = 0.25
"""Share of the run for which a saturated discriminator with no fake near a real counts as having won."""
NEAR_NONE = 0.05
"""Coverage up to which no fake counts as near a real."""
LOW_COVERAGE = 0.3
"""Coverage up to which few reals have a fake near them."""
WON_BY_LOSSES = 0.5
"""Share of the run so far for which the discriminator must have won by its losses to be serious: DCGAN on CIFAR-10
improves for a fifth of its run after that (benchmarks/field_logs.md)."""
SMALL_GRADIENT_CONFIDENCE = 0.4
"""Confidence of a hint that rests only on a gradient smaller than in the first steps, which are not typical: a critic
that learns well has a fifth of it at step 59. Below CONFIDENT of remedies.py, so that repair does not act on it."""
LEARNT = 0.5
"""A generator whose loss is below this share of its initial value may have a small gradient, because the gradient
decreased with the loss, for instance if an L1 distance is part of it (pix2pix). Without a useful gradient, the loss
stays constant or increases."""

WEAKEN_DISCRIMINATOR: tuple[Rung, ...] = (
    STABLE_SETTINGS,
    (INCREASE_AUGMENTATION, INCREASE_R1),
    (QUARTER_LR_D, INSTANCE_NOISE),
    SOFT_LABELS,
    (Adjustment("generator_steps", "at_least", 2),),
)


def detect_overpowering(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that is almost never wrong while the generator gets no useful gradient.

    High accuracy alone is not a problem: the discriminator of DCGAN on CIFAR-10 is nearly always right while the FID
    improves for 42,000 steps. One more condition is required: a loss from which the generator cannot recover, a
    vanished gradient, or no fake near any real for a quarter of the run.
    """
    saturation = _saturation(history)
    if not saturation:
        return _far_ahead(history) or (None if saturation is None else _by_log(history))
    vanished = _generator_gradient_vanished(history)
    conditions = (
        _generator_loss_too_large(history),
        vanished,
        _never_near(history),
        _far_ahead(history),
        _by_log(history),
    )
    detections = [detection for detection in conditions if detection]
    if not detections:
        return None
    severity = max(detection.severity for detection in detections)
    evidence = {name: value for detection in detections for name, value in detection.evidence.items()}
    confidence = min(1.0, 0.7 + 0.1 * len(detections) + 0.1 * (len(saturation) - 1))
    if detections == [vanished] and severity < SERIOUS:
        confidence = SMALL_GRADIENT_CONFIDENCE
    since = min((detection.since for detection in detections if detection.since is not None), default=None)
    return Detection(severity, confidence, {**saturation, **evidence}, since)


def _by_log(history: SignalHistory) -> Detection | None:
    """Detect by what logs of other programs have in place of ranks: losses, accuracy, probabilities and logits."""
    if history.last("rank_train_fake", 1):
        return None
    detections = [detection for test in (_by_losses, detect_perfect_discriminator) if (detection := test(history))]
    if not detections:
        return None
    strongest = max(detections, key=lambda detection: detection.severity)
    evidence = {name: value for detection in detections for name, value in detection.evidence.items()}
    since = min((detection.since for detection in detections if detection.since is not None), default=None)
    return dataclasses.replace(strongest, evidence=evidence, since=since)


def detect_vanishing_gradient(history: SignalHistory) -> Detection | None:
    """Detect a generator whose gradient has become a small fraction of its initial value before it has learned.

    The cause is a nearly perfect discriminator (Arjovsky and Bottou 2017, theorem 2.4). If the loss gives
    probabilities, they must be far apart. Not detected while fakes are near reals, which proves a useful gradient.
    """
    detection, rank = _generator_gradient_vanished(history), history.last("rank_train_fake", 10)
    if detection is None or not rank or statistics.fmean(rank) < 0.8:
        return None
    margin, coverage = _margin(history), history.last("coverage", 3)
    if (margin is not None and margin < MARGIN.mild) or (coverage and statistics.fmean(coverage) > LOW_COVERAGE):
        return None
    return Detection(detection.severity, 0.8, {**detection.evidence, "rank_train_fake": statistics.fmean(rank)})


def _by_losses(history: SignalHistory) -> Detection | None:
    """Detect by losses alone, if neither ranks nor probabilities exist: the quality is unknown.

    Serious once the discriminator has won for WON_BY_LOSSES of the run so far, or both losses have jumped. A metric
    that was measured since then, or fakes near the reals, show more than losses: then it is a hint at most.
    """
    won, jump, since = won_share(history), loss_jump(history), history.levels.discriminator_won_since
    if (not won and not jump) or history.levels.loss_g == history.levels.lowest_g:
        return None
    ideal = ideal_loss_d(history)
    if ideal is not None and history.levels.loss_d is not None and history.levels.loss_d > ideal:
        return None  # a loss that is low only compared with one far above that at chance is no win
    since = history.recent[-READINGS_AFTER_JUMP].step if since is None else since
    has_quality = _has_good_coverage(history) or was_measured_since(history, since)
    is_serious = bool(won >= WON_BY_LOSSES or jump) and not has_quality and not history.loss_caveat
    evidence = win_evidence(history, won, jump)
    if is_serious:
        return Detection(0.6, 0.6 if won >= WON_BY_LOSSES else 0.5, evidence)
    return Detection(HINT, 0.5, evidence) if won else None


def _has_good_coverage(history: SignalHistory) -> bool:
    """Return whether coverage is close to its best value."""
    values, best = history.last("coverage", 2), max(history.values("coverage"), default=0.0)
    return bool(values) and statistics.fmean(values) >= 0.6 * best > 0


def _saturation(history: SignalHistory) -> dict[str, float] | None:
    """Return the evidence of a saturated discriminator; None if a number contradicts it, empty without numbers.

    Ranks, which are noisy, are averaged over up to ten readings, probabilities over two.
    """
    ranks, real, fake = (
        history.last(name, count)
        for name, count in (("rank_train_fake", 10), ("probability_real", 2), ("probability_fake", 2))
    )
    result = {}
    if len(ranks) >= 2:
        result["rank_train_fake"] = statistics.fmean(ranks)
    if len(real) == 2:
        result["probability_real"] = statistics.fmean(real)
    if len(fake) == 2:
        result["probability_fake"] = statistics.fmean(fake)
    least = {"rank_train_fake": SATURATED_RANK, "probability_real": 1 - SATURATED_PROBABILITY}
    right = all(result[name] >= level for name, level in least.items() if name in result)
    return result if right and result.get("probability_fake", 0.0) <= SATURATED_PROBABILITY else None


def _generator_loss_too_large(history: SignalHistory) -> Detection | None:
    """Detect −log D(G(z)) beyond GENERATOR_LOSS; only if the loss gives probabilities."""
    fake, loss = history.last("probability_fake", 2), history.last("loss_g", 2)
    if len(fake) < 2 or len(loss) < 2:
        return None
    level = statistics.fmean(loss)
    severity = GENERATOR_LOSS.severity(level)
    return None if severity is None else Detection(severity, 0.9, {"loss_g": level})


def _generator_gradient_vanished(history: SignalHistory) -> Detection | None:
    """Detect a generator gradient far below its value at the beginning of the run, unless the loss has decreased,
    too."""
    initial, loss = history.early("loss_g", 10), history.last("loss_g", 10)
    if initial is not None and initial > 0 and loss and statistics.median(loss) < LEARNT * initial:
        return None
    start, now = history.early("gradient_norm_g", 10), history.last("gradient_norm_g", 10)
    if not start or len(now) < 10 or history.step < 30:
        return None
    share = statistics.median(now) / start
    severity = GRADIENT_DECADES.severity(math.log10(max(share, 1e-12)))
    if severity is None:
        return None
    return Detection(severity, 0.8, {"gradient_norm_g": statistics.median(now), "of_its_beginning": share})


def _never_near(history: SignalHistory) -> Detection | None:
    """Detect that for a quarter of the run the discriminator was saturated and no fake was near a real."""
    start, all_points = history.progress - WON_FOR, (*history.spans, *history.filling)
    if not all_points or all_points[0].progress > start:
        return None
    points = [point for point in all_points if point.progress >= start]
    ranks = [point.values["rank_train_fake"] for point in points if "rank_train_fake" in point.values]
    coverage = [point.values["coverage"] for point in points if "coverage" in point.values]
    if len(coverage) < 3 or not ranks or min(ranks) < SATURATED_RANK or max(coverage) > NEAR_NONE:
        return None
    return Detection(SERIOUS, 0.7, {"coverage": max(coverage)})


def _far_ahead(history: SignalHistory) -> Detection | None:
    """Detect that after a tenth of the run no fake is near a real and the discriminator is right by a wide margin.

    The margin is D(x) − D(G(z)). For a critic, which has no margin, the growth of its gradient norm is used.
    """
    coverage, ranks = history.values("coverage"), history.last("rank_train_fake", 10)
    duration = history.progress - next(iter((*history.spans, *history.filling))).progress
    is_early = history.progress < STARTED or duration < 0.9 * STARTED
    if is_early or not coverage or max(coverage) > NEAR_NONE or len(ranks) < 10:
        return None
    if statistics.fmean(ranks) < SATURATED_RANK:
        return None
    evidence = {"rank_train_fake": statistics.fmean(ranks), "coverage": max(coverage)}
    margin = _margin(history)
    if margin is not None:
        severity = MARGIN.severity(margin)
        return None if severity is None else Detection(severity, 0.7, {**evidence, "margin": margin}, since=0)
    start, now = history.early("gradient_norm_d", 10), history.last("gradient_norm_d", 2)
    severity = GRADIENT_GROWTH.severity(statistics.fmean(now) / start) if start and now else None
    if severity is None:
        return None
    return Detection(severity, 0.6, {**evidence, "gradient_norm_d": statistics.fmean(now)}, since=0)


def _margin(history: SignalHistory) -> float | None:
    """Return D(x) − D(G(z)) over the last ten readings; None if the loss gives no probabilities."""
    real, fake = history.last("probability_real", 10), history.last("probability_fake", 10)
    return statistics.fmean(real) - statistics.fmean(fake) if real and fake else None


OVERPOWERING = Symptom(
    id="discriminator_overpowering",
    order=20,
    detect=detect_overpowering,
    reads=(
        *("rank_train_fake", "probability_real", "probability_fake", "loss_d", "loss_g"),
        *("gradient_norm_g", "gradient_norm_d", "coverage", "adversarial_g"),
        *("accuracy_d", "logit_real", "logit_fake"),
    ),
    meaning="the discriminator has won: it is almost never wrong, and the generator gets no useful gradient; this "
    "alone says nothing about the quality of the samples",
    test="`rank_train_fake` ≥ 0.98 (mean of ten readings), D(x) ≥ 0.98 and D(G(z)) ≤ 0.02 (means of two), as far as "
    "they are available, **and** one of: −log D(G(z)) too large; the generator's gradient norm far below that of the "
    "first 5 % of the run; coverage ≤ 0.05 over a quarter of the run (severity 0.5); coverage ≤ 0.05 since the start "
    "after a tenth of the run, with a large margin D(x) − D(G(z)) or, for a critic, a growing gradient norm. With "
    "losses alone: loss_d ≤ max(loss_d) / 5 and loss_g at least 30 % above its minimum (severity 0.4; 0.6 for half of "
    "the run so far without a metric since, if both losses have jumped by four standard deviations, or if loss_d < "
    "0.001 and loss_g ≥ 24 ln 2 in three readings)",
    scales={
        "−log D(G(z)), nats": GENERATOR_LOSS,
        "log10(gradient_norm_g / beginning)": GRADIENT_DECADES,
        "D(x) − D(G(z))": MARGIN,
        "gradient_norm_d / beginning": GRADIENT_GROWTH,
    },
    source="Arjovsky and Bottou 2017, theorem 2.4; 16.6 nats = 24 ln 2, where D(G(z)) is below the last bit of a "
    "float32 next to 1; benchmarks/rescue.py",
    advice="increase augment_p to 0.3 or more (the first choice if data are few), then r1_gamma, then reduce lr_d to a "
    "quarter; real_label_low 0.8 and instance_noise 0.05 help at the start",
    loop_advice=(QUARTER_LR_OF_D, BCE_WITH_LOGITS, SMOOTH_LABELS, ADD_R1, AUGMENT),
    repair=Repair(WEAKEN_DISCRIMINATOR, acts_on_hints=True, combines_first_rung=True),
)

VANISHING_GRADIENT = Symptom(
    id="vanishing_generator_gradient",
    order=30,
    detect=detect_vanishing_gradient,
    reads=(*("rank_train_fake", "probability_real", "probability_fake", "loss_g", "gradient_norm_g", "coverage"),),
    meaning="the generator's gradient has become a small fraction of its initial value while the discriminator wins",
    test="median of `gradient_norm_g` over ten readings relative to that of the first 5 % of the run, while "
    "`rank_train_fake` ≥ 0.8 and, as far as they are available, D(x) − D(G(z)) ≥ 0.6, coverage ≤ 0.3 and loss_g at "
    "least half of its initial value",
    scales={"log10(gradient_norm_g / beginning)": GRADIENT_DECADES},
    source="Arjovsky and Bottou 2017, theorem 2.4",
    advice="use a loss whose gradient does not vanish (non_saturating, hinge, or wasserstein with gp_weight); "
    "increase r1_gamma, reduce lr_d",
    loop_advice=(QUARTER_LR_OF_D, NON_SATURATING_LOSS, ADD_INSTANCE_NOISE, ADD_R1),
    repair=Repair(WEAKEN_DISCRIMINATOR[1:]),
)
