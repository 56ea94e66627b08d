"""Evaluation of samples: selection of metrics, their values, and the protocol.

samples ─▶ features ─▶ value, interval, warnings        (each network processes each set once, for all metrics)
reals   ─▶ features ─▶ real-vs-real reference: the value for other reals instead of samples
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from equipoise.core.equivariance import EquivarianceMetric
from equipoise.core.metric import (
    CONFIDENCE,
    Bootstrap,
    CaptionMetric,
    ClassMetric,
    FeatureMetric,
    LabelMetric,
    LikelihoodMetric,
    MetricResult,
    PairedMetric,
    PathMetric,
    ReferenceSet,
    check_independent,
)
from equipoise.core.sampling_cost import SamplingCost
from equipoise.errors import SettingError, UndefinedMetricError
from equipoise.evaluation.by_class import ClassValue, LabelledFeatures, values_by_class
from equipoise.evaluation.description import describe_data
from equipoise.evaluation.path_steps import sample_path_steps
from equipoise.evaluation.samples import count_non_finite
from equipoise.evaluation.scenes import iter_scenes
from equipoise.evaluation.selection import AnyMetric, live_metric, missing_packages, select_metrics
from equipoise.evaluation.subject import (
    EvaluationData,
    EvaluationRequest,
    Part,
    gather_data,
    open_request,
)
from equipoise.experiment.settings import installed_versions

RESAMPLES = 200
"""Number of bootstrap resamples per interval."""
MAX_PATHS = 1000
"""Largest number of steps for a path length; each needs two samples. Also of scenes for an equivariance."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Real-vs-real reference: the value of a metric for `count` reals instead of samples, a bound for generators."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class MetricRow:
    """Value of one metric, and everything needed to interpret it.

    `value`: finite; None if the metric has no value for these samples and reals, and `reason` says why. `interval`: of
    95 %, None if the metric has none. `features`: digest of the feature network. `seconds`: time taken, excluding
    features that an earlier metric already extracted. `classes`: values by class, for metrics that have them, if the
    reals have labels.
    """

    metric: str
    value: float | None
    better: str
    interval: tuple[float, float] | None
    floor: Floor | None
    samples: int
    reals: int
    features: str | None
    warnings: tuple[str, ...]
    seconds: float
    reason: str | None = None
    classes: tuple[ClassValue, ...] = ()


class ComputedMetric(NamedTuple):
    """A metric of samples, its real-vs-real reference, and its values by class."""

    result: MetricResult
    floor: Floor | None = None
    classes: tuple[ClassValue, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Result of an evaluation. `rows`: one per metric. `protocol`: how all of them were computed, as JSON values.

    `cost`: of generating the samples, which the protocol contains, too; None for samples from files.
    """

    rows: tuple[MetricRow, ...]
    protocol: Mapping[str, Any]
    cost: SamplingCost | None = None


def evaluate(request: EvaluationRequest) -> EvaluationResult:
    """Evaluate samples. The same seed gives the same values; only times differ.

    Raises EquipoiseError if samples or data cannot be read or do not fit, or if a metric must not be reported.
    """
    context = open_request(request)
    metrics = select_metrics(context)
    return compute_metrics(metrics, gather_data(context))


def compute_metrics(metrics: Mapping[str, AnyMetric], data: EvaluationData) -> EvaluationResult:
    """Compute metrics. `metrics`: name -> metric."""
    rows = tuple(_row(name, metric, data) for name, metric in metrics.items())
    return EvaluationResult(rows, _protocol(data), data.sample_set.cost)


def _row(name: str, metric: AnyMetric, data: EvaluationData) -> MetricRow:
    start = time.monotonic()
    if isinstance(metric, PairedMetric) and not data.is_paired:
        raise SettingError(f"{name} compares each sample with its target; it needs a run that translates paired inputs")
    if isinstance(metric, CaptionMetric) and not _has_captions(data):
        raise SettingError(f"{name} compares each sample with its caption; it needs a run that takes captions")
    samples = len(data.sample_set.samples)
    needs_generator = isinstance(metric, PathMetric | EquivarianceMetric)
    reason, computed = None, ComputedMetric(MetricResult(math.nan))
    if non_finite := count_non_finite(data.sample_set.samples):
        reason = f"{non_finite:,} of {samples:,} samples contain non-finite values"
    else:
        try:
            computed = _value(name, metric, data)
            reason = None if math.isfinite(computed.result.value) else _explain_undefined(computed.result)
        except UndefinedMetricError as error:
            reason = str(error)
    result, floor = computed.result, computed.floor
    return MetricRow(
        metric=name,
        value=result.value if reason is None else None,
        better=metric.better,
        interval=result.interval if reason is None else None,
        floor=floor if floor is not None and math.isfinite(floor.value) else None,
        samples=min(samples, MAX_PATHS) if needs_generator else samples,
        reals=0 if needs_generator else len(data.reals),
        features=metric.features_digest,
        warnings=(*result.warnings, *_live_warnings(name, metric, data)) if reason is None else (),
        seconds=time.monotonic() - start,
        reason=reason,
        classes=computed.classes if reason is None else (),
    )


def _has_captions(data: EvaluationData) -> bool:
    """Return whether each sample was generated from the caption of a real."""
    return data.context.generator is not None and data.context.generator.model.captions is not None


def _explain_undefined(result: MetricResult) -> str:
    """Return why a value is not finite."""
    if result.warnings:
        return result.warnings[0]
    return "infinite" if math.isinf(result.value) else "undefined: too few samples or reals, or values that are invalid"


def _value(name: str, metric: AnyMetric, data: EvaluationData) -> ComputedMetric:
    """Compute a metric, with its real-vs-real reference and its values by class if it has them."""
    count = min(len(data.sample_set.samples), MAX_PATHS)
    if isinstance(metric, PathMetric):
        return ComputedMetric(_compute_along_path(name, metric, data, count))
    if isinstance(metric, EquivarianceMetric):
        return ComputedMetric(_compute_from_scenes(name, metric, data, count))
    if isinstance(metric, LabelMetric):
        return _compute_from_labels(metric, data)
    if isinstance(metric, LikelihoodMetric):
        return ComputedMetric(_compute_from_likelihood(name, metric, data))
    if isinstance(metric, FeatureMetric):
        return _compute(metric, data)
    real = ReferenceSet(data.reals.real, data.reals.condition, train=data.train.real, spec=data.context.data.spec)
    return ComputedMetric(MetricResult(metric.value(metric.statistics(real), data.sample_set.samples)))


def _live_warnings(name: str, metric: AnyMetric, data: EvaluationData) -> tuple[str, ...]:
    """Warn if the run computed a metric with the same features during training, and may have been selected by it."""
    live = live_metric(data.context.experiment)
    try:
        check_independent(live, {name: metric.features_digest})
    except SettingError:
        return (f"not independent: the run computed {min(live)} during training, which uses the same features",)
    return ()


def _compute(metric: FeatureMetric, data: EvaluationData) -> ComputedMetric:
    """Compute a metric of features, its real-vs-real reference and its values by class."""

    def extract(part: Part) -> Tensor:
        return data.features(metric.features, part)

    train = extract("train") if metric.needs_train else None
    spec = data.context.data.spec
    real = ReferenceSet(extract("reals"), data.reals.condition, train=train, spec=spec, held_out=data.held_out)
    bootstrap = Bootstrap(RESAMPLES, data.context.request.seed)
    samples = extract("samples")
    result = metric.compute(real, samples, bootstrap)
    others: LabelledFeatures | None = None
    try:
        floor: Floor | None = None
        if isinstance(metric, CaptionMetric):
            floor = Floor(metric.compute(real, real.real, Bootstrap()).value, len(real))
        elif _has_other_reals(data) and not metric.needs_train:
            labels, features = data.train.condition, extract("other_reals")
            labels = None if labels is None else labels[: len(features)]
            others = LabelledFeatures(features, labels, metric.compute(real, features, Bootstrap()))
            floor = Floor(others.result.value, len(features))
        else:
            floor = _half_reference(metric, real)
    except UndefinedMetricError:  # the reference has fewer reals than the metric had
        floor = None
    classes: tuple[ClassValue, ...] = ()
    if isinstance(metric, ClassMetric):
        labelled = LabelledFeatures(samples, data.sample_set.labels, result)
        classes = values_by_class(metric, real, labelled, others, bootstrap)
    return ComputedMetric(_warn_about_limit(result, train, data), floor, classes)


def _warn_about_limit(result: MetricResult, train: Tensor | None, data: EvaluationData) -> MetricResult:
    """Add a warning to the result of a metric that searched a part of the training reals for copies."""
    if train is not None and (total := data.context.training_data.count("train") or 0) > len(train):
        warning = f"searched for copies of {len(train):,} of {total:,} training reals only"
        return replace(result, warnings=(*result.warnings, warning))
    return result


def _has_other_reals(data: EvaluationData) -> bool:
    """Return whether the training reals differ from the reals that samples are compared with."""
    return data.split == "held_out" and data.context.separate_training_data is None


def _half_reference(metric: FeatureMetric, real: ReferenceSet) -> Floor | None:
    """Compute the metric for one half of the reals relative to the other half.

    The other half is also searched for copies if the reals were trained on. None for fewer than two reals in each half.
    """
    half = len(real) // 2
    if half < 2:
        return None
    labels = None if real.condition is None else real.condition[half : 2 * half]
    rest = real.real[half : 2 * half]
    second_half = replace(real, real=rest, condition=labels, train=real.train if real.held_out is None else rest)
    return Floor(metric.compute(second_half, real.real[:half], Bootstrap()).value, half)


def _compute_along_path(name: str, metric: PathMetric, data: EvaluationData, count: int) -> MetricResult:
    """Compute a metric of latent paths. Raises SettingError without a generator."""
    generator, request = data.context.generator, data.context.request
    if generator is None:
        raise SettingError(f"{name} needs a generator; pass a run instead of a folder of samples")
    steps = sample_path_steps(generator, count, request.seed, data.reals.condition, metric, request.sampling)
    return metric.compute_along_path(steps.starts, steps.ends, Bootstrap(RESAMPLES, request.seed))


def _compute_from_scenes(name: str, metric: EquivarianceMetric, data: EvaluationData, count: int) -> MetricResult:
    """Compute a metric of transformed scenes. Raises SettingError if the generator cannot transform its scenes."""
    generator, seed = data.context.generator, data.context.request.seed
    if settings := data.context.request.sampling.settings():
        raise SettingError(f"{name} is a property of the generator without --{min(settings)}; omit this option")
    if generator is None or generator.model.generate_transformed is None:
        model = "samples in files have none" if generator is None else f"{generator.model.name} has no such input"
        raise SettingError(
            f"{name} needs a generator whose input can be moved and rotated, such as a run of stylegan3; {model}"
        )
    return metric.compute_from_scenes(
        iter_scenes(generator, count, seed, data.reals.condition), Bootstrap(RESAMPLES, seed)
    )


def _compute_from_labels(metric: LabelMetric, data: EvaluationData) -> ComputedMetric:
    """Compute a metric of labelled samples, and its value for the reals with their own labels.

    Raises UndefinedMetricError for samples without labels.
    """
    if data.sample_set.labels is None:
        raise UndefinedMetricError("the samples have no labels; the metric needs a run of a model that takes labels")
    bootstrap = Bootstrap(RESAMPLES, data.context.request.seed)
    result = metric.compute_from_labels(data.sample_set.samples, data.sample_set.labels, bootstrap)
    if data.reals.condition is None:
        return ComputedMetric(result)
    floor = metric.compute_from_labels(data.reals.real, data.reals.condition, Bootstrap())
    return ComputedMetric(result, Floor(floor.value, len(data.reals)))


def _compute_from_likelihood(name: str, metric: LikelihoodMetric, data: EvaluationData) -> MetricResult:
    """Compute a metric of likelihood. Raises SettingError if the generator has no likelihood."""
    generator, seed = data.context.generator, data.context.request.seed
    if generator is None or generator.log_likelihood is None:
        raise SettingError(f"{name} needs a generator with likelihoods, such as a run of seqgan; remove it")
    real = ReferenceSet(data.reals.real, spec=data.context.data.spec)
    return metric.compute_from_likelihood(generator.log_likelihood, real, Bootstrap(RESAMPLES, seed))


def _protocol(data: EvaluationData) -> dict[str, Any]:
    """Return the common protocol of all rows, as JSON values."""
    protocol, cost = describe_data(data), data.sample_set.cost
    return {
        **protocol,
        "sampling": None if cost is None else cost.to_json(),
        "notes": [*protocol["notes"], *missing_packages(data.context)],
        "interval": {"level": CONFIDENCE, "draws": RESAMPLES, "by": "bootstrap"},
        "floor": {"of": "training reals instead of samples" if _has_other_reals(data) else "one half of the reals"},
        "versions": installed_versions(),
    }
