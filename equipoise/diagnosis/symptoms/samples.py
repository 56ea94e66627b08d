"""Symptoms that samples and held-out reals show: lost diversity, dropped modes, overfitting, memorisation."""

import statistics

from equipoise.diagnosis.adjustments import (
    INCREASE_AUGMENTATION,
    INCREASE_R1,
    INSTANCE_NOISE,
    QUARTER_LR_D,
    RESTORE_DIVERSITY,
)
from equipoise.diagnosis.code_changes import (
    ADD_R1,
    AUGMENT,
    AVERAGE_WEIGHTS,
    HALVE_LR_OF_G,
    MINIBATCH_DEVIATION,
    MORE_STEPS_OF_D,
    NEAREST_REALS,
)
from equipoise.diagnosis.criteria.loss_values import latest_values, level, stretch_start
from equipoise.diagnosis.criteria.metric_quality import quality_since_best
from equipoise.diagnosis.history import MIN_LEVEL_SPANS, SignalHistory
from equipoise.diagnosis.symptom import HINT, MILD, Detection, Repair, SeverityScale, Symptom

DIVERSITY = SeverityScale(0.5, 0.3, 0.1)
"""Diversity of fakes relative to reals."""
REMAINING_COVERAGE = SeverityScale(0.6, 0.45, 0.1)
"""Coverage relative to its best so far. With 128 reals its standard error is 0.04 at 0.5."""
CHANCE_COVERAGE = 0.2
"""Coverage that single readings of 128 reals may reach by chance."""
NO_COVERAGE = 0.05
"""Coverage up to which no fake counts as near a real, as at the start of every run. In a run with knobs far from their
published values it is a hint after a tenth of the run (seed 100 of benchmarks/rescue.py)."""
OVERFITTING = SeverityScale(0.3, 0.5, 0.9)
"""rank_train_held_out. Its standard error is 0.05 with 256 logits per side, 0.15 with 16 held-out reals."""
RUNAWAY_SIGN = SeverityScale(0.7, 0.85, 1.0)
"""r_t = E[sign D(real)] of logs: ADA keeps it near 0.6, by ±0.1, with more augmentation or less (Karras 2020, section
3.2). At 0.85 the discriminator is positive for 92 of 100 reals, whatever the augmentation."""
AUGMENTATION_LEFT = 0.75
"""Up to this probability ADA has augmentation left; from 0.8 on it leaks into samples (Karras 2020, section 2.2)."""
COPYING = SeverityScale(0.3, 0.5, 0.9)
"""`copying`, a rank: at 0.5, three of four fakes are nearer to a single training real than held-out reals are."""
YOUNG = 2 / 3
"""Up to this share of the run, a generator that was never diverse may still become diverse: slow models generate the
same noise for every latent during twenty epochs, and improve abruptly after a hundred
(benchmarks/first_epoch_collapse.md)."""
VERY_YOUNG = 0.1
"""Up to this share of the run, such a generator is not reported."""


def detect_mode_collapse(history: SignalHistory) -> Detection | None:
    """Detect fakes that are far less diverse than reals, after having been more diverse, or late in the run."""
    values, highest = history.last("diversity", 3), max(history.values("diversity"), default=0.0)
    if len(values) < 2:
        return None
    now = statistics.median(values)
    severity = DIVERSITY.severity(now)
    if severity is None or (highest < 2 * now and history.progress < VERY_YOUNG):
        return None
    was_never_diverse = highest < DIVERSITY.mild
    if was_never_diverse and history.progress < YOUNG:
        severity = min(severity, HINT)
    since = 0 if was_never_diverse else None
    return Detection(severity, 0.8, {"diversity": now, "diversity_at_most": highest}, since)


def detect_mode_dropping(history: SignalHistory) -> Detection | None:
    """Detect reals that have no fakes near them any more although the fakes are diverse, or that never had any."""
    values, diversity = history.last("coverage", 4), history.last("diversity", 2)
    all_values = history.values("coverage")
    if (
        len(all_values) >= 2
        and max(all_values) <= CHANCE_COVERAGE
        and statistics.median(all_values[-5:]) <= NO_COVERAGE
    ):
        return Detection(MILD, 0.6, {"coverage": max(all_values)}, since=0) if history.progress >= VERY_YOUNG else None
    if len(values) < 4 or len(all_values) < 8 or (diversity and statistics.fmean(diversity) < DIVERSITY.serious):
        return None
    best = max(statistics.fmean(all_values[i : i + 3]) for i in range(len(all_values) - 2))
    now = statistics.fmean(values)
    severity = REMAINING_COVERAGE.severity(now / best) if best >= 0.3 else None
    return None if severity is None else Detection(severity, 0.6, {"coverage": now, "coverage_at_best": best})


def detect_overfitting(history: SignalHistory) -> Detection | None:
    """Detect a discriminator that memorises: it gives training reals higher scores than held-out reals."""
    values = history.last("rank_train_held_out", 4)
    if len(values) < 2:
        return detect_runaway_signs(history)
    rank = statistics.fmean(values)
    severity = OVERFITTING.severity(rank)
    if severity is None:
        return None
    return Detection(severity, 0.9, {"rank_train_held_out": rank} | quality_since_best(history))


def detect_runaway_signs(history: SignalHistory) -> Detection | None:
    """Detect, in a log of StyleGAN or ADA, that the discriminator's sign on reals runs away from its target.

    At most a hint while the adaptation works: it has augmentation left, uses more of it, and the signs fall.
    """
    names = ("augment_p", "sign_fake")
    if not any(history.last(name, 1) for name in names) or history.last("rank_train_fake", 1):
        return None
    signs, sign = latest_values(history, "sign_real", share=1.0), level(history, "sign_real")
    severity = None if sign is None else RUNAWAY_SIGN.severity(sign)
    if sign is None or severity is None:
        return None
    p = latest_values(history, "augment_p", share=1.0)
    is_adapting = bool(p) and 0 < p[-1] <= AUGMENTATION_LEFT and p[-1] > p[-MIN_LEVEL_SPANS] and sign < max(signs)
    has_fallen = is_adapting and statistics.fmean(signs[-5:]) < statistics.fmean(signs[-MIN_LEVEL_SPANS:-5])
    evidence = {"sign_real": sign} | {name: value for name in names if (value := level(history, name)) is not None}
    points = [point for point in (*history.spans, *history.filling) if "sign_real" in point.values]
    since = stretch_start(points, lambda point: point.values["sign_real"] >= RUNAWAY_SIGN.mild)
    return Detection(min(severity, HINT) if has_fallen else severity, 0.8, evidence, since)


def detect_memorisation(history: SignalHistory) -> Detection | None:
    """Detect copies: fakes that are nearer to single training reals than held-out reals are."""
    values = history.last("copying", 4)
    if len(values) < 4:
        return None
    copying = statistics.fmean(values)
    severity = COPYING.severity(copying)
    return None if severity is None else Detection(severity, 0.6, {"copying": copying})


MODE_COLLAPSE = Symptom(
    id="mode_collapse",
    order=50,
    detect=detect_mode_collapse,
    reads=("diversity",),
    meaning="the generator's samples are nearly identical",
    test="median of `diversity` over three readings, once it was twice as high; or, if it never reached 0.5, from a "
    "tenth of the run on (severity at most 0.4 during the first two thirds of the run)",
    scales={"diversity": DIVERSITY},
    source="bursts after a hundred epochs: benchmarks/first_epoch_collapse.md; Salimans 2016, section 3.2",
    advice="return to a checkpoint from before it began; increase r1_gamma or gp_weight, reduce lr_g, set "
    "feature_matching_weight to 1",
    loop_advice=(HALVE_LR_OF_G, ADD_R1, MINIBATCH_DEVIATION),
    repair=Repair(RESTORE_DIVERSITY, acts_on_hints=True, combines_first_rung=True),
)

MODE_DROPPING = Symptom(
    id="mode_dropping",
    order=60,
    detect=detect_mode_dropping,
    reads=("coverage", "diversity"),
    meaning="some kinds of reals are no longer generated, or never were",
    test="mean of `coverage` over four readings relative to its best mean of three, which is at least 0.3, while "
    "`diversity` is at least 0.3; severity 0.2 if, after a tenth of the run, it never exceeded chance (0.2) and is "
    "at most 0.05",
    scales={"coverage / best": REMAINING_COVERAGE},
    source="coverage: Naeem 2020, equation 7, with a standard error of 0.04 at 0.5 for 128 reals",
    advice="increase r1_gamma, reduce lr_g, set discriminator_steps to 2; a longer ema_half_life averages over modes "
    "that appear and disappear",
    loop_advice=(HALVE_LR_OF_G, AVERAGE_WEIGHTS, MORE_STEPS_OF_D),
    repair=Repair(RESTORE_DIVERSITY, acts_on_hints=True),
)

DISCRIMINATOR_OVERFITTING = Symptom(
    id="discriminator_overfitting",
    order=70,
    detect=detect_overfitting,
    reads=("rank_train_held_out", "metrics", "sign_real", "sign_fake", "augment_p", "rank_train_fake"),
    meaning="the discriminator memorises: it gives training reals higher scores than held-out reals",
    test="mean of `rank_train_held_out` over four readings; the evidence says how a metric compares with its best so "
    "far, 1 for no loss beyond its noise, since overfitting can go on for long before it harms quality. In logs of "
    "StyleGAN: the median of `signs/real` over the last tenth of the run, at least ten readings, far above ADA's "
    "target of 0.6 (at most 0.4 while the augmentation still rises and the signs fall)",
    scales={"rank_train_held_out": OVERFITTING, "signs/real": RUNAWAY_SIGN},
    source="Karras 2020 (ADA), sections 2 and 3",
    advice="increase augment_p until rank_train_held_out falls (0.2 to 0.6), then lecam_weight and r1_gamma",
    loop_advice=(AUGMENT, ADD_R1),
    repair=Repair(
        (
            (INCREASE_AUGMENTATION,),
            (INCREASE_AUGMENTATION, INCREASE_R1),
            (QUARTER_LR_D,),
            (INSTANCE_NOISE,),
        ),
        rolls_back=False,
    ),
)

MEMORISATION = Symptom(
    id="memorisation",
    order=80,
    detect=detect_memorisation,
    reads=("copying",),
    meaning="samples are copies of single training reals",
    test="mean of `copying` over four readings",
    scales={"copying": COPYING},
    source="nearest-neighbour distances and their limits: Stein 2023, section 5",
    advice="stop at an earlier checkpoint; increase augment_p and r1_gamma; a smaller generator has less capacity for "
    "copies",
    loop_advice=(NEAREST_REALS, AUGMENT, ADD_R1),
    repair=Repair(
        (
            (INCREASE_AUGMENTATION,),
            (INCREASE_AUGMENTATION, INCREASE_R1),
            (QUARTER_LR_D,),
        ),
        rolls_back=False,
    ),
)
