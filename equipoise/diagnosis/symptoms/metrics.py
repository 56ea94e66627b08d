"""Symptoms of the metrics themselves: a broken metric, and a quality that never improved."""

from equipoise.diagnosis.code_changes import CHECK_UPDATES, SCALE_REALS, USUAL_RATES
from equipoise.diagnosis.criteria.metric_quality import (
    baseline_of,
    has_improved,
    impossible_values,
    is_broken,
    is_improving,
    measurements_of,
    why_broken,
)
from equipoise.diagnosis.criteria.metric_range import metric_words
from equipoise.diagnosis.history import MetricRecord, SignalHistory
from equipoise.diagnosis.symptom import HINT, CodeChange, Detection, Symptom
from equipoise.diagnosis.symptoms.frozen_losses import detect_losses_at_chance
from equipoise.diagnosis.symptoms.strong_discriminator import LOW_COVERAGE

NEVER_MEASUREMENTS = 8
"""Smallest number of measurements without an improvement: eight of a healthy run improve by far more than noise."""
NEVER_SHARE = 0.25
"""Share of the planned run after which a metric should have improved. A later improvement ends the finding."""
START = 0.2
"""The first measurement must be within this share of the steps so far: a log that begins later is a resumed run."""
STILL = 2.0
"""Standard errors up to which the level is no better than the first value."""
WORTHLESS_FID = 100.0
"""Smallest FID that shows a worthless generator if it does not fall: a convention. All runs of benchmarks/field_logs.md
that learned have less than 70 at their best, the one that did not 159. A pretrained generator may stay at a low one."""
NOT_RECOGNISABLE_FID = 150.0
"""Smallest FID that shows one even if it was higher at first, while it does not fall after NEVER_SHARE of the run: a
convention with a larger distance from runs that learned, because the metric has moved."""
SERIOUS_NEVER = 0.7
"""Severity of a FID that shows a worthless generator: serious, and not 1, because training may still begin."""


def detect_broken_metric(history: SignalHistory) -> Detection | None:
    """Detect a metric whose values cannot be values of that metric."""
    for name, record in history.metrics.items():
        if evidence := why_broken(name, record):
            wrong = impossible_values(name, record)
            # nothing about the training: the verdict is unknown, not unhealthy
            return Detection(HINT, 0.9, evidence, (wrong or record.values)[0].step)
    return None


def detect_never_learned(history: SignalHistory) -> Detection | None:
    """Detect samples that are no better than the first ones, or losses that have been at chance since the start.

    One metric that has improved shows that the generator learned, whatever others of the same samples show; only a FID
    may fall at first, by the form of the noise, and still belong to worthless samples.
    """
    improved = [name for name, record in history.metrics.items() if has_improved(name, record)]
    for name, record in history.metrics.items():
        if improved not in ([], [name]):
            break
        if detection := _has_never_improved(history, name, record):
            return detection
    return None if history.metrics else detect_losses_at_chance(history)


def _has_never_improved(history: SignalHistory, name: str, record: MetricRecord) -> Detection | None:
    measurements = measurements_of(name, record)
    started = record.first.step <= START * history.step
    if len(measurements) < NEVER_MEASUREMENTS or not started or is_broken(name, record):
        return None
    if history.progress < NEVER_SHARE or record.count > len(record.values):
        return None
    is_fid = "fid" in metric_words(name)
    evidence = {f"{name}_at_first": record.first.value, f"{name}_at_best": record.best.value}
    if not has_improved(name, record):
        if is_fid and record.best.value >= WORTHLESS_FID:
            return Detection(SERIOUS_NEVER, 0.8, evidence, since=0)
        coverage = history.last("coverage", 1)
        if (
            not is_fid
            and not is_improving(record.values, record.better, STILL)
            and not (coverage and coverage[0] > LOW_COVERAGE)
        ):
            return Detection(HINT, 0.8, evidence, since=0)
    early = [m for m in measurements if m.step <= NEVER_SHARE * history.step]
    late = [m for m in measurements if m.step > NEVER_SHARE * history.step]
    if not is_fid or record.best.value < NOT_RECOGNISABLE_FID or not early or len(late) < NEVER_MEASUREMENTS:
        return None
    before, after = baseline_of(early), baseline_of(late)
    is_still = before.level - after.level < STILL * max(before.noise, after.noise)
    return Detection(SERIOUS_NEVER, 0.7, evidence, since=0) if is_still else None


BROKEN_METRIC = Symptom(
    id="broken_metric",
    order=115,
    detect=detect_broken_metric,
    reads=("metrics",),
    meaning="the values of a metric are impossible, so it says nothing about the samples",
    test="the last two measurements, or most of all, are not finite or out of the range of the metric: a FID below "
    "0.01 or above 10,000, a negative Fréchet distance, a precision or recall below 0 or above 100, an Inception score "
    "below 1 or above 1,000; or the first value is repeated ten times to the last digit (severity 0.4)",
    source="definitions; 2,048 features of Inception below about 1; sampling error of the means of 50,000 reals",
    advice="first compute the metric of held-out reals against training reals, which should be a few units for 10,000 "
    "images; then use equipoise evaluate with at least 10,000 samples",
    loop_advice=(
        CodeChange(
            "Compute the metric of held-out reals first, which must be finite and small, and check the range of the "
            "images that it gets",
            "print(fake.min().item(), fake.max().item(), fake.dtype)  # the same range and type as the reals\n"
            "assert torch.isfinite(fake).all()\n"
            "images = ((fake.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)  # what most FID programs expect",
        ),
    ),
)

NEVER_LEARNED = Symptom(
    id="never_learned",
    order=45,
    detect=detect_never_learned,
    reads=("metrics", "loss_d", "adversarial_d", "loss_g", "adversarial_g", "accuracy_d", "rank_train_fake"),
    excludes=("collapse", "plateau", "equilibrium"),
    meaning="the samples are no better than at the start: the generator has learned nothing",
    test="from a quarter of the run on, with at least eight measurements since its start: the level of a metric is "
    "better than the first value by less than two standard deviations of its noise, for a FID of at least 100 "
    "(severity 0.7; other metrics 0.4, unless they improve steadily or coverage exceeds 0.3); or a FID of at least "
    "150 that has not improved since the first quarter (0.7); without a metric, losses at their value at chance since "
    "the start (0.6)",
    source="levels of FID: convention (the runs of benchmarks/field_logs.md that learned reach less than 70); trends: "
    "Mann 1945; losses at chance: Goodfellow 2014",
    advice="check that samples change at all and reals are in [−1, 1]; restore the published learning rates and loss "
    "of the model; a critic with clipped weights learns better with gp_weight = 10 instead",
    loop_advice=(CHECK_UPDATES, USUAL_RATES, SCALE_REALS),
)
