"""Evaluation of samples: selection of metrics, their values, and the protocol.

samples ─▶ features ─▶ value, interval, warnings        (each network processes each set once, for all metrics)
reals   ─▶ features ─▶ real-vs-real reference: the value for other reals instead of samples
"""

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
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
from equipoise.errors import MissingPackageError, SettingError
from equipoise.evaluation.samples import count_non_finite, sample_path_steps
from equipoise.evaluation.subject import (
    EvaluationContext,
    EvaluationData,
    EvaluationRequest,
    Part,
    describe_data,
    gather_data,
    open_request,
)
from equipoise.experiment.settings import Experiment, installed_versions
from equipoise.runs.run import Run

RESAMPLES = 200
"""Number of bootstrap resamples per interval."""
MAX_PATHS = 1000
"""Largest number of steps for a path length; each needs two samples."""
DIGITS = ("fd_digits", "kd_digits", "precision", "recall", "density", "coverage")
IMAGES = ("fd_efficientnet_lite0", "kd_efficientnet_lite0", "precision", "recall", "density", "coverage")
PAIRS = ("paired_l1", "paired_efficientnet_lite0")
POINTS = ("modes", "high_quality", "reverse_kl")
SENTENCES = ("validity", "nll_oracle", "bleu", "self_bleu", "copy_rate", "novelty")
LIKELIHOODS = ("nll_gen", "sentence_mass", "sentence_forward_kl", "sentence_reverse_kl", "sentence_entropy")

AnyMetric = Metric | PathMetric | LikelihoodMetric


@dataclass(frozen=True, slots=True)
class Floor:
    """Real-vs-real reference: the value of a metric for `count` reals instead of samples, a bound for generators."""

    value: float
    count: int


@dataclass(frozen=True, slots=True)
class MetricRow:
    """Value of one metric, and everything needed to interpret it.

    `interval`: 95 % interval, None if the metric has none. `features`: digest of the feature network. `seconds`: time
    taken, excluding features that an earlier metric already extracted.
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
    """Result of an evaluation. `rows`: one per metric. `protocol`: how all of them were computed, as JSON values."""

    rows: tuple[MetricRow, ...]
    protocol: Mapping[str, Any]


def evaluate(request: EvaluationRequest) -> EvaluationResult:
    """Evaluate samples. The same seed gives the same values.

    Raises EquipoiseError if samples or data cannot be read or do not fit, or if a metric must not be reported.
    """
    context = open_request(request)
    metrics = select_metrics(context)
    return compute_metrics(metrics, gather_data(context))


def compute_metrics(metrics: Mapping[str, AnyMetric], data: EvaluationData) -> EvaluationResult:
    """Compute metrics. `metrics`: name -> metric."""
    return EvaluationResult(tuple(_row(name, metric, data) for name, metric in metrics.items()), _protocol(data))


def select_metrics(context: EvaluationContext) -> dict[str, AnyMetric]:
    """Return name -> metric. Raises SettingError for a metric that does not suit the data or that controlled the run.

    Without a request, these are the defaults for the data, except those that controlled the run and those that need a
    package that is not installed.
    """
    request, spec = context.request, context.data.spec
    result: dict[str, AnyMetric] = {}
    for name, metric in _requested(context) if request.metrics else _defaults(context):
        if isinstance(metric, MissingPackageError):
            continue
        if not metric.suits(spec):
            raise SettingError(f"the metric '{name}' does not suit this data; remove it from --metrics")
        result[name] = metric
    if unknown := request.options.keys() - {"data", *(name.partition(":")[0] for name in result)}:
        raise SettingError(f"--option {min(unknown)}.… belongs to a metric that is not selected; add it to --metrics")
    used = metrics_used_for_control(request.samples, context.experiment)
    if request.metrics:
        check_independent(used, {name: metric.features_digest for name, metric in result.items()})
        return result
    return {name: metric for name, metric in result.items() if _is_independent(used, name, metric)}


def _requested(context: EvaluationContext) -> Iterator[tuple[str, AnyMetric]]:
    return ((name, _build(name, context)) for name in context.request.metrics)


def _defaults(context: EvaluationContext) -> Iterator[tuple[str, AnyMetric | MissingPackageError]]:
    """Yield the default metrics; for one that needs a package that is not installed, yield the error instead."""
    spec = context.data.spec
    for name in (*_paired_metrics(context), *default_metrics(context.plug.name, spec), *_likelihoods(context)):
        try:
            yield name, _build(name, context)
        except MissingPackageError as error:
            yield name, error


def _build(name: str, context: EvaluationContext) -> AnyMetric:
    """Build a metric with the requested options, and the default features unless name or options select others."""
    options: dict[str, str] = {}
    if ":" not in name and "features_from" in inspect.signature(catalog.load("metrics", name)).parameters:
        options = {"features_from": default_features(context.plug.name, context.data.spec)}
    options |= context.request.options.get(name.partition(":")[0], {})
    metric: AnyMetric = catalog.build("metrics", name, options)
    return metric


def default_metrics(data: str, spec: DataSpec) -> tuple[str, ...]:
    """Return the names of the default metrics of a data set."""
    if spec.vocabulary is not None:
        return tuple(name for name in SENTENCES if catalog.build("metrics", name).suits(spec))
    return DIGITS if data == "digits" else IMAGES if spec.is_image else POINTS


def _paired_metrics(context: EvaluationContext) -> tuple[str, ...]:
    """Return the default metrics of a translation run whose inputs have known targets."""
    translates = context.generator is not None and context.generator.model.source is not None
    return PAIRS if translates and context.request.split in context.data.spec.paired else ()


def _likelihoods(context: EvaluationContext) -> tuple[str, ...]:
    """Return the default metrics of a run whose generator has likelihoods."""
    if context.generator is None or context.generator.log_likelihood is None:
        return ()
    return tuple(name for name in LIKELIHOODS if catalog.build("metrics", name).suits(context.data.spec))


def default_features(data: str, spec: DataSpec) -> str:
    """Return the default kind of features of a data set."""
    return "digits" if data == "digits" else "efficientnet_lite0" if spec.is_image else "samples"


def _is_independent(used: Mapping[str, str | None], name: str, metric: AnyMetric) -> bool:
    try:
        check_independent(used, {name: metric.features_digest})
    except SettingError:
        return False
    return True


def metrics_used_for_control(folder: Path, experiment: Experiment | None) -> dict[str, str | None]:
    """Return the metrics that a controller or a remedy of a run used, with the digests of their features.

    The log contains the reason of each change: a metric that no reason mentions was only recorded.
    """
    plug = experiment.training_metric if experiment else None
    if plug is None:
        return {}
    reasons = [json.dumps(line) for line in Run(folder).lines() if line["event"] in ("turned", "remedied")]
    if not any(plug.name in reason for reason in reasons):
        return {}
    metric: AnyMetric = catalog.build("metrics", plug.name, plug.options)
    return {plug.name: metric.features_digest}


def _row(name: str, metric: AnyMetric, data: EvaluationData) -> MetricRow:
    start = time.monotonic()
    floor, samples = None, len(data.sample_set.samples)
    non_finite = count_non_finite(data.sample_set.samples)
    if isinstance(metric, PairedMetric) and not data.is_paired:
        raise SettingError(f"{name} compares each sample with its target; it needs a run that translates paired inputs")
    if non_finite:
        warning = f"{non_finite:,} of {samples:,} samples contain non-finite values: not computed"
        result = MetricResult(math.nan, warnings=(warning,))
    elif isinstance(metric, PathMetric):
        samples = min(samples, MAX_PATHS)
        result = _compute_along_path(name, metric, data, samples)
    elif isinstance(metric, LikelihoodMetric):
        result = _compute_from_likelihood(name, metric, data)
    elif isinstance(metric, FeatureMetric):
        result, floor = _compute(metric, data)
    else:
        real = ReferenceSet(data.reals.real, data.reals.condition, train=data.train.real, spec=data.context.data.spec)
        result = MetricResult(metric.value(metric.statistics(real), data.sample_set.samples))
    undefined = ("undefined (NaN): too few samples",) if not (non_finite or math.isfinite(result.value)) else ()
    return MetricRow(
        metric=name,
        value=result.value,
        better=metric.better,
        interval=result.interval,
        floor=floor,
        samples=samples,
        reals=0 if isinstance(metric, PathMetric) else len(data.reals),
        features=metric.features_digest,
        warnings=(*result.warnings, *undefined),
        seconds=time.monotonic() - start,
    )


def _compute(metric: FeatureMetric, data: EvaluationData) -> tuple[MetricResult, Floor | None]:
    """Compute a metric of features, and its real-vs-real reference."""

    def extract(part: Part) -> Tensor:
        return data.features(metric.features, part)

    train = extract("train") if metric.needs_train else None
    real = ReferenceSet(extract("reals"), data.reals.condition, train=train, spec=data.context.data.spec)
    result = metric.compute(real, extract("samples"), Bootstrap(RESAMPLES, data.context.request.seed))
    if train is not None and (total := data.context.training_data.count("train") or 0) > len(train):
        warning = f"searched for copies of {len(train):,} of {total:,} training reals only"
        result = replace(result, warnings=(*result.warnings, warning))
    use_train = _has_other_reals(data) and not metric.needs_train
    return result, _real_reference(metric, real, extract if use_train else None)


def _has_other_reals(data: EvaluationData) -> bool:
    """Return whether the training reals differ from the reals that samples are compared with."""
    return data.split == "held_out" and data.context.separate_training_data is None


def _real_reference(
    metric: FeatureMetric, real: ReferenceSet, extract: Callable[[Part], Tensor] | None
) -> Floor | None:
    """Compute the metric of training reals instead of samples, as many as there are samples.

    Without `extract`, because the metric already uses the training reals, compute it for one half of the reals
    relative to the other half; None for fewer than two reals in each half.
    """
    if extract is not None:
        fake = extract("other_reals")
        return Floor(metric.compute(real, fake, Bootstrap()).value, len(fake))
    half = len(real) // 2
    if half < 2:
        return None
    labels = None if real.condition is None else real.condition[half : 2 * half]
    second_half = ReferenceSet(real.real[half : 2 * half], labels, train=real.train, spec=real.spec)
    return Floor(metric.compute(second_half, real.real[:half], Bootstrap()).value, half)


def _compute_along_path(name: str, metric: PathMetric, data: EvaluationData, count: int) -> MetricResult:
    """Compute a metric of latent paths. Raises SettingError without a generator."""
    generator, seed = data.context.generator, data.context.request.seed
    if generator is None:
        raise SettingError(f"{name} needs a generator; pass a run instead of a folder of samples")
    starts, ends = sample_path_steps(generator, count, seed, data.reals.condition, metric.epsilon)
    return metric.compute_along_path(starts, ends, Bootstrap(RESAMPLES, seed))


def _compute_from_likelihood(name: str, metric: LikelihoodMetric, data: EvaluationData) -> MetricResult:
    """Compute a metric of likelihood. Raises SettingError if the generator has no likelihood."""
    generator, seed = data.context.generator, data.context.request.seed
    if generator is None or generator.log_likelihood is None:
        raise SettingError(f"{name} needs a generator with likelihoods, such as a run of seqgan; remove it")
    real = ReferenceSet(data.reals.real, spec=data.context.data.spec)
    return metric.compute_from_likelihood(generator.log_likelihood, real, Bootstrap(RESAMPLES, seed))


def _protocol(data: EvaluationData) -> dict[str, Any]:
    """Return the common protocol of all rows, as JSON values."""
    protocol = describe_data(data)
    if not data.context.request.metrics:
        missing = (error for _, error in _defaults(data.context) if isinstance(error, MissingPackageError))
        protocol["notes"] = [*protocol["notes"], *(f"skipped: {error}" for error in missing)]
    return {
        **protocol,
        "interval": {"level": CONFIDENCE, "draws": RESAMPLES, "by": "bootstrap"},
        "floor": {"of": "training reals instead of samples" if _has_other_reals(data) else "one half of the reals"},
        "versions": installed_versions(),
    }
