"""Judging samples: metrics by name, their figures, and the protocol that each figure was got by.

samples ─▶ features ─▶ figure, interval, doubts         (a network looks once, whatever looks through it)
reals   ─▶ features ─▶ the same of other reals: what perfect samples would get
"""

import inspect
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.metric import (
    CONFIDENCE,
    Bootstrap,
    FeatureMetric,
    LikelihoodMetric,
    Metric,
    MetricResult,
    PairedMetric,
    PathMetric,
    ReferenceSet,
    check_independent,
)
from equipoise.errors import DataError, SettingError
from equipoise.evaluation.samples import sample_path_steps
from equipoise.evaluation.subject import (
    EvaluationContext,
    EvaluationData,
    EvaluationRequest,
    describe_data,
    gather_data,
    open_request,
)
from equipoise.experiment.settings import Experiment, installed_versions
from equipoise.runs.run import Run

DRAWS = 200
"""Draws of an interval."""
PATHS = 1000
"""Steps of a path length at the most: each takes two samples."""
DIGITS = ("fd_digits", "kd_digits", "precision", "recall", "density", "coverage")
IMAGES = ("fd_efficientnet_lite0", "kd_efficientnet_lite0", "precision", "recall", "density", "coverage")
PAIRS = ("paired_l1", "paired_efficientnet_lite0")
POINTS = ("modes", "high_quality", "reverse_kl")
SENTENCES = ("validity", "nll_oracle", "bleu", "self_bleu", "copy_rate", "novelty")
LIKELIHOODS = ("nll_gen", "sentence_mass", "sentence_forward_kl", "sentence_reverse_kl", "sentence_entropy")

AnyMetric = Metric | PathMetric | LikelihoodMetric


@dataclass(frozen=True, slots=True)
class Floor:
    """What `count` reals get in the place of samples: for a distance its floor, for a share its ceiling."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its value, and what the value hangs on.

    `interval`: of 95 %, None where there is none. `features`: digest of the network looked through. `seconds`: what it
    took, beside features that an earlier metric had asked for already.
    """

    metric: str
    value: float
    better: str
    interval: tuple[float, float] | None
    floor: Floor | None
    samples: int
    reals: int
    features: str | None
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """All rows, and what they share: `protocol`, as JSON has it."""

    rows: tuple[MetricRow, ...]
    protocol: Mapping[str, Any]


def evaluate(asked: EvaluationRequest) -> EvaluationResult:
    """Judge samples. The same seed gives the same figures.

    Raises EquipoiseError for what cannot be read, does not suit, or must not be reported.
    """
    subject = open_request(asked)
    judges = select_metrics(subject)
    return compute_metrics(judges, gather_data(subject))


def compute_metrics(judges: Mapping[str, AnyMetric], judged: EvaluationData) -> EvaluationResult:
    """A row for each metric, by name."""
    return EvaluationResult(tuple(_row(name, metric, judged) for name, metric in judges.items()), _protocol(judged))


def check_finite(samples: Tensor) -> None:
    """Raise DataError for samples (N, ...) of which some hold what is no number: no metric says anything of them."""
    if spoilt := _spoilt(samples):
        raise DataError(
            f"{spoilt:,} of {len(samples):,} samples are not finite numbers, which no metric can judge; mend the file, "
            "or train with smaller lr_g and lr_d"
        )


def _spoilt(samples: Tensor) -> int:
    """How many of samples (N, ...) hold what is no number."""
    return int((~samples.isfinite().flatten(1).all(dim=1)).sum())


def select_metrics(subject: EvaluationContext) -> dict[str, AnyMetric]:
    """Name -> metric. Raises SettingError for one that does not suit, or that steered the run.

    Those that suit the data, if none was asked for: without what steered the run.
    """
    asked, spec = subject.asked, subject.data.spec
    result: dict[str, AnyMetric] = {}
    for word in asked.metrics or (*_of_pairs(subject), *default_metrics(subject.choice.name, spec), *_of_likelihood(subject)):
        base = word.partition(":")[0]
        options = {**_features_option(word, subject.choice.name, spec), **asked.options.get(base, {})}
        metric: AnyMetric = catalog.build("metrics", word, options)
        if not metric.suits(spec):
            raise SettingError(f"the metric '{word}' does not suit this data; leave it out")
        result[word] = metric
    if unknown := asked.options.keys() - {"data", *(word.partition(":")[0] for word in result)}:
        raise SettingError(f"--option {min(unknown)}.… is of a metric that is not measured; add it to --metrics")
    steered = metrics_used_for_control(asked.samples, subject.experiment)
    if asked.metrics:
        check_independent(steered, {name: metric.features_digest for name, metric in result.items()})
        return result
    return {name: metric for name, metric in result.items() if _independent(steered, name, metric)}


def default_metrics(data: str, spec: DataSpec) -> tuple[str, ...]:
    """Names of metrics that suit data."""
    if spec.vocabulary is not None:
        return tuple(name for name in SENTENCES if catalog.build("metrics", name).suits(spec))
    return DIGITS if data == "digits" else IMAGES if spec.is_image else POINTS


def _of_pairs(subject: EvaluationContext) -> tuple[str, ...]:
    """Names of metrics that suit a run that maps inputs, where samples can be held beside their truths."""
    maps = subject.generator is not None and subject.generator.model.source is not None
    return PAIRS if maps and subject.asked.split in subject.data.spec.paired else ()


def _of_likelihood(subject: EvaluationContext) -> tuple[str, ...]:
    """Names of metrics that suit a run whose generator gives likelihoods."""
    if subject.generator is None or subject.generator.log_likelihood is None:
        return ()
    return tuple(name for name in LIKELIHOODS if catalog.build("metrics", name).suits(subject.data.spec))


def default_features(data: str, spec: DataSpec) -> str:
    """The kind of features that suits data."""
    return "digits" if data == "digits" else "efficientnet_lite0" if spec.is_image else "samples"


def _independent(steered: Mapping[str, str | None], name: str, metric: AnyMetric) -> bool:
    try:
        check_independent(steered, {name: metric.features_digest})
    except SettingError:
        return False
    return True


def _features_option(word: str, data: str, spec: DataSpec) -> dict[str, str]:
    """The features that suit the data, for a metric that leaves the choice and a word that does not choose."""
    if ":" in word or "features_from" not in inspect.signature(catalog.load("metrics", word)).parameters:
        return {}
    return {"features_from": default_features(data, spec)}


def metrics_used_for_control(folder: Path, experiment: Experiment | None) -> dict[str, str | None]:
    """Metrics that a controller or a remedy of a run gave as a reason, and the digests of their features.

    Reasons stand in the log: a metric that is in none of them has only been looked at.
    """
    choice = experiment.training_metric if experiment else None
    if choice is None:
        return {}
    reasons = [json.dumps(line) for line in Run(folder).lines() if line["event"] in ("turned", "remedied")]
    if not any(choice.name in reason for reason in reasons):
        return {}
    metric: AnyMetric = catalog.build("metrics", choice.name, choice.options)
    return {choice.name: metric.features_digest}


def _row(name: str, metric: AnyMetric, judged: EvaluationData) -> MetricRow:
    begun = time.monotonic()
    if isinstance(metric, PairedMetric) and not judged.aligned:
        raise SettingError(
            f"{name} compares each sample with its own truth; give a run that maps inputs of known pairs"
        )
    floor, samples = None, len(judged.specimens.samples)
    spoilt = _spoilt(judged.specimens.samples)
    if spoilt:
        result = MetricResult(
            math.nan, warnings=(f"{spoilt:,} of {samples:,} samples are not finite: nothing was measured",)
        )
    elif isinstance(metric, PathMetric):
        samples = min(samples, PATHS)
        result = _along(name, metric, judged, samples)
    elif isinstance(metric, LikelihoodMetric):
        result = _given(name, metric, judged)
    elif isinstance(metric, FeatureMetric):
        result, floor = _compared(metric, judged)
    else:
        real = ReferenceSet(
            judged.reals.real, judged.reals.condition, train=judged.train.real, spec=judged.subject.data.spec
        )
        result = MetricResult(metric.value(metric.statistics(real), judged.specimens.samples))
    lost = () if spoilt or math.isfinite(result.value) else ("not a number: samples are not finite, or too few",)
    return MetricRow(
        metric=name,
        value=result.value,
        better=metric.better,
        interval=result.interval,
        floor=floor,
        samples=samples,
        reals=0 if isinstance(metric, PathMetric) else len(judged.reals),
        features=metric.features_digest,
        warnings=(*result.warnings, *lost),
        seconds=time.monotonic() - begun,
    )


def _compared(metric: FeatureMetric, judged: EvaluationData) -> tuple[MetricResult, Floor | None]:
    """The figure of the samples, and that of reals."""

    def see(what: str) -> Tensor:
        return judged.seen(metric.features, what)

    train = see("train") if metric.needs_train else None
    real = ReferenceSet(see("reals"), judged.reals.condition, train=train, spec=judged.subject.data.spec)
    result = metric.compute(real, see("samples"), Bootstrap(DRAWS, judged.subject.asked.seed))
    if train is not None and (there := judged.subject.trained_on.count("train") or 0) > len(train):
        missed = f"copies are looked for among {len(train):,} of {there:,} training reals"
        result = replace(result, warnings=(*result.warnings, missed))
    return result, _floor(metric, real, see if _others(judged) and not metric.needs_train else None)


def _others(judged: EvaluationData) -> bool:
    """Whether training reals are others than the reals that are judged by."""
    return judged.split == "held_out" and judged.subject.other is None


def _floor(metric: FeatureMetric, real: ReferenceSet, see: Callable[[str], Tensor] | None) -> Floor | None:
    """Training reals in the place of samples, as many if there are; if they are no others, or the metric looks at them
    anyway, half of the reals beside the other half. None for fewer than two in each.
    """
    if see is not None:
        fake = see("others")
        return Floor(metric.compute(real, fake, Bootstrap()).value, len(fake))
    half = len(real) // 2
    if half < 2:
        return None
    labels = None if real.condition is None else real.condition[half : 2 * half]
    other = ReferenceSet(real.real[half : 2 * half], labels, train=real.train, spec=real.spec)
    return Floor(metric.compute(other, real.real[:half], Bootstrap()).value, half)


def _along(name: str, metric: PathMetric, judged: EvaluationData, count: int) -> MetricResult:
    """The figure of a metric of paths. Raises SettingError without a generator."""
    generator, seed = judged.subject.generator, judged.subject.asked.seed
    if generator is None:
        raise SettingError(f"{name} needs a generator: give a run, not a folder of samples")
    starts, ends = sample_path_steps(generator, count, seed, judged.reals.condition, metric.epsilon)
    return metric.compute_along_path(starts, ends, Bootstrap(DRAWS, seed))


def _given(name: str, metric: LikelihoodMetric, judged: EvaluationData) -> MetricResult:
    """The figure of a metric of likelihood. Raises SettingError if the samples have none."""
    generator, seed = judged.subject.generator, judged.subject.asked.seed
    if generator is None or generator.log_likelihood is None:
        raise SettingError(f"{name} needs a generator that gives likelihoods, such as a run of seqgan; leave it out")
    real = ReferenceSet(judged.reals.real, spec=judged.subject.data.spec)
    return metric.compute_from_likelihood(generator.log_likelihood, real, Bootstrap(DRAWS, seed))


def _protocol(judged: EvaluationData) -> dict[str, Any]:
    """What every row shares."""
    return {
        **describe_data(judged),
        "interval": {"level": CONFIDENCE, "draws": DRAWS, "by": "bootstrap"},
        "floor": {"of": "training reals in the place of samples" if _others(judged) else "one half of the reals"},
        "versions": installed_versions(),
    }
