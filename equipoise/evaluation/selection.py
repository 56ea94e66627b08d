"""Selection of metrics: the requested ones, or defaults for the data that are independent of what a run observed."""

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.equivariance import EquivarianceMetric
from equipoise.core.independence import check_not_trained_with
from equipoise.core.metric import (
    LabelMetric,
    LikelihoodMetric,
    Metric,
    PathMetric,
    check_independent,
    explain_unsuitable,
)
from equipoise.errors import EquipoiseError, MissingPackageError, SettingError
from equipoise.evaluation.subject import EvaluationContext
from equipoise.experiment.settings import Experiment
from equipoise.runs.run import Run

FEATURE_NETWORKS = ("efficientnet_lite0", "mobilenet_v2")
"""Networks whose features compare images; both by default, because each fails to notice other differences."""
MANIFOLD = ("precision", "recall", "density", "coverage")
PIXELS = tuple(f"{name}:pixels" for name in MANIFOLD)
"""Metrics of images if no network is independent of the run."""
PAIRS = ("paired_l1", "paired_efficientnet_lite0")
CAPTIONS = ("retrieval_r1", "retrieval_r10")
POINTS = ("modes", "high_quality", "reverse_kl")
SENTENCES = ("validity", "nll_oracle", "bleu", "self_bleu", "copy_rate", "novelty")
LIKELIHOODS = ("nll_gen", "sentence_mass", "sentence_forward_kl", "sentence_reverse_kl", "sentence_entropy")
COPIES = ("auth_pct", "c_t")
"""Tests for copies: of images on pixels by default, because feature networks notice the traces of compression more than
the picture, see benchmarks/metrics/copies.md."""

AnyMetric = Metric | PathMetric | EquivarianceMetric | LikelihoodMetric | LabelMetric


def select_metrics(context: EvaluationContext) -> dict[str, AnyMetric]:
    """Return name -> metric. Raises SettingError for a metric that does not suit the data or that controlled the run.

    The same holds for a metric with the features of a frozen network of the model. Without a request, the result holds
    the defaults for the data, except those that need a package that is not installed.
    """
    request, spec = context.request, context.data.spec
    result: dict[str, AnyMetric] = {}
    for name, metric in _requested(context) if request.metrics else _defaults(context):
        if isinstance(metric, MissingPackageError):
            continue
        if not metric.suits(spec):
            raise SettingError(explain_unsuitable(name, metric, spec))
        result[name] = metric
    if unknown := request.options.keys() - {"data", *(name.partition(":")[0] for name in result)}:
        raise SettingError(f"--option {min(unknown)}.… belongs to a metric that is not selected; add it to --metrics")
    if request.metrics:
        reported = {name: metric.features_digest for name, metric in result.items()}
        check_independent(metrics_used_for_control(context.run, context.experiment), reported)
        if context.generator is not None:
            check_not_trained_with(context.generator.model.frozen, reported, context.generator.model.name)
    return result


def missing_packages(context: EvaluationContext) -> tuple[str, ...]:
    """Return why default metrics are skipped, one line per package that is not installed."""
    if context.request.metrics:
        return ()
    errors = (str(error) for _, error in _defaults(context) if isinstance(error, MissingPackageError))
    reasons = {error.partition(" needs ")[2] or error: error for error in errors}
    return tuple(f"skipped: {error}" for error in reasons.values())


def _requested(context: EvaluationContext) -> Iterator[tuple[str, AnyMetric]]:
    return ((name, _build(name, context)) for name in context.request.metrics)


def _defaults(context: EvaluationContext) -> Iterator[tuple[str, AnyMetric | MissingPackageError]]:
    """Yield the default metrics; for one that needs a package that is not installed, yield the error instead.

    Metrics with the features of the live metric of the run are excluded if others are available, and always those that
    controlled the run or that have the features of a frozen network of its model.
    """
    used = metrics_used_for_control(context.run, context.experiment)
    if context.generator is not None:
        used |= context.generator.model.frozen
    live = {name: digest for name, digest in live_metric(context.experiment).items() if digest is not None}
    candidates = [(name, _try_to_build(name, context)) for name in _default_names(context)]
    independent = [item for item in candidates if _is_independent({**live, **used}, *item)]
    if not any(not isinstance(metric, MissingPackageError) for _, metric in independent):
        independent += [item for item in candidates if item not in independent and _is_independent(used, *item)]
    if not any(not isinstance(metric, MissingPackageError) for _, metric in independent) and context.data.spec.is_image:
        others = (
            (name, _try_to_build(name, context)) for network in FEATURE_NETWORKS for name in _network_metrics(network)
        )
        independent += [item for item in others if _is_independent(used, *item)]
    if not any(not isinstance(metric, MissingPackageError) for _, metric in independent) and context.data.spec.is_image:
        independent += [(name, _try_to_build(name, context)) for name in PIXELS]
    yield from independent


def _try_to_build(name: str, context: EvaluationContext) -> AnyMetric | MissingPackageError:
    try:
        return _build(name, context)
    except MissingPackageError as error:
        return error


def _build(name: str, context: EvaluationContext) -> AnyMetric:
    """Build a metric with the requested options, and the default features unless name or options select others."""
    owner = name.partition(":")[0]
    options: dict[str, str] = {}
    if ":" not in name and "features_from" in inspect.signature(catalog.load("metrics", name)).parameters:
        options = {"features_from": default_features(context.plug.name, context.data.spec, owner)}
    options |= context.request.options.get(owner, {})
    metric: AnyMetric = catalog.build("metrics", name, options)
    return metric


def _default_names(context: EvaluationContext) -> Iterator[str]:
    """Yield the names of the default metrics, whatever the run observed."""
    spec, data, generator = context.data.spec, context.plug.name, context.generator
    if generator is not None and generator.model.source is not None and context.request.split in spec.paired:
        yield from PAIRS
    if generator is not None and generator.model.captions is not None:
        yield from _suitable(CAPTIONS, spec)
    if spec.vocabulary is not None:
        yield from _suitable(SENTENCES, spec)
    elif spec.is_sequence:
        yield from ("kd_sequences", *MANIFOLD)
    elif not spec.is_image:
        yield from _suitable(POINTS, spec) or MANIFOLD
    elif data == "digits":
        yield from _network_metrics("digits", plain=True)
    elif spec.shape[0] not in (1, 3, 4):
        yield from MANIFOLD
    else:
        yield from (f"{kind}_{network}" for network in FEATURE_NETWORKS for kind in ("fd", "kd"))
        yield from MANIFOLD
        yield from (f"{name}:{FEATURE_NETWORKS[1]}" for name in MANIFOLD)
    if generator is not None and generator.log_likelihood is not None:
        yield from _suitable(LIKELIHOODS, spec)


def _network_metrics(network: str, *, plain: bool = False) -> tuple[str, ...]:
    """Return the metrics of one feature network. `plain`: without its name where it is the default of the data."""
    names = MANIFOLD if plain else tuple(f"{name}:{network}" for name in MANIFOLD)
    return (f"fd_{network}", f"kd_{network}", *names)


def _suitable(names: tuple[str, ...], spec: DataSpec) -> tuple[str, ...]:
    return tuple(name for name in names if catalog.build("metrics", name).suits(spec))


def default_features(data: str, spec: DataSpec, metric: str = "") -> str:
    """Return the default kind of features of a data set, for a metric."""
    if not spec.is_image:
        return "samples"
    if metric in COPIES:
        return "pixels"
    if spec.shape[0] not in (1, 3, 4):
        return "samples"
    return "digits" if data == "digits" else "efficientnet_lite0"


def _is_independent(used: Mapping[str, str | None], name: str, metric: AnyMetric | MissingPackageError) -> bool:
    if isinstance(metric, MissingPackageError):
        return True
    try:
        check_independent(used, {name: metric.features_digest})
    except SettingError:
        return False
    return True


def live_metric(experiment: Experiment | None) -> dict[str, str | None]:
    """Return the metric that a run computed during training, if any, with the digest of its features."""
    plug = experiment.training_metric if experiment else None
    if plug is None:
        return {}
    return {plug.name: _features_digest(plug.name, tuple(plug.options.items()))}


@lru_cache(maxsize=64)
def _features_digest(name: str, options: tuple[tuple[str, object], ...]) -> str | None:
    """Return the digest of the features of a metric; None without a network, or if it cannot be built."""
    try:
        metric: AnyMetric = catalog.build("metrics", name, dict(options))
    except EquipoiseError:
        return None
    return metric.features_digest


def metrics_used_for_control(run: Run | None, experiment: Experiment | None) -> dict[str, str | None]:
    """Return the metrics that a controller or a remedy of a run used, with the digests of their features.

    The log contains the reason of each change: a metric that no reason mentions was only recorded.
    """
    live = live_metric(experiment)
    if run is None or not live:
        return {}
    reasons = [json.dumps(line) for line in run.lines() if line["event"] in ("turned", "remedied")]
    return {name: digest for name, digest in live.items() if any(name in reason for reason in reasons)}
