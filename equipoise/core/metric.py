"""Types of sample quality metrics: reference set, features, resampling and result.

features ──▶ statistics ──▶ result
network      reference set   value and interval
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSpec
from equipoise.errors import EquipoiseError, SettingError

LogLikelihood = Callable[[Tensor], Tensor]
"""A function from sentences (N, T) int64 to their log-likelihoods (N,) float64, in nats."""

CONFIDENCE = 0.95
"""Confidence level of intervals."""


@dataclass(frozen=True, slots=True)
class ReferenceSet(Batch):
    """The reals that samples are compared with: held-out reals with their labels, and optionally training reals.

    `train`: (T, ...) training reals, or None if no metric needs them. `spec`: description of the data; metrics of text
    need it. `held_out`: how many of the reals were not trained on, which tests for copies require; None for all.
    """

    train: Tensor | None = field(default=None, kw_only=True)
    spec: DataSpec | None = field(default=None, kw_only=True)
    held_out: int | None = field(default=None, kw_only=True)


@runtime_checkable
class Metric(Protocol):
    """A measure of sample quality relative to held-out reals: a frozen dataclass.

    Metrics that also report intervals implement :class:`FeatureMetric`. A class attribute `suited_to` may name the data
    that a metric is defined for ("points in the plane"); messages quote it.
    """

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of improvement."""

    @property
    def features_digest(self) -> str | None:
        """SHA-256 of the feature network's weights, or its first digits; None without a network."""

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the metric is defined for data with this description."""

    def statistics(self, real: ReferenceSet) -> Any:
        """Compute the statistics of the reals, which :meth:`value` uses for any number of sample sets."""

    def value(self, statistics: Any, fake: Tensor) -> float:
        """Compute the metric of `fake`: (N, ...) float32 in the range of the data."""


class Features(Protocol):
    """Map from samples to the features that a metric compares; a frozen, hashable value."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weights, or its first digits; None without a network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, D) float32 features on the CPU, of samples (N, ...) in the range of the data.

        Metrics of image pairs keep the shape (N, ...).
        """


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resampling with replacement for intervals (Efron 1979): `count` resamples, 0 for no interval."""

    count: int = 0
    seed: int = 0

    def weights(self, samples: int, side: int) -> Tensor:
        """Return (count, samples) float32: how often each sample occurs in each resample. `side`: 0 real, 1 fake."""
        generator = torch.Generator().manual_seed(2 * self.seed + side)
        indices = torch.randint(samples, (self.count, samples), generator=generator)
        return torch.zeros(self.count, samples).scatter_add_(1, indices, torch.ones(1).expand_as(indices))


@dataclass(frozen=True, slots=True, eq=False)
class MetricResult:
    """The value of a metric. `resampled`: (R,) float64, its value for each bootstrap resample, or None without any.

    `warnings`: reasons why the value is unreliable, one sentence each, with the metric to use instead. `scores`: (N,)
    float64, of each sample or of each real, if the value is their mean.
    """

    value: float
    resampled: Tensor | None = None
    warnings: tuple[str, ...] = ()
    scores: Tensor | None = None

    @classmethod
    def from_mean(
        cls, values: Tensor, bootstrap: Bootstrap, warnings: tuple[str, ...] = (), side: int = 1
    ) -> "MetricResult":
        """Return the mean of scores (N,), one per sample. `side`: as of :meth:`Bootstrap.weights`."""
        values = values.double()
        if not bootstrap.count:
            return cls(values.mean().item(), warnings=warnings, scores=values)
        resampled = bootstrap.weights(len(values), side).double() @ values / len(values)
        return cls(values.mean().item(), resampled, warnings, values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the value for other samples of the same distribution; None without resamples.

        Quantiles of the resamples, shifted so that their mean is the value: a resample contains duplicates, which some
        metrics count as lack of diversity, by the same amount in every resample.
        """
        if self.resampled is None or not self.resampled.isfinite().all():
            return None
        tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
        low, high = (self.resampled.double().quantile(tails) - self.resampled.double().mean() + self.value).tolist()
        return low, high


@runtime_checkable
class FeatureMetric(Metric, Protocol):
    """A metric that compares features of samples with features of reals, and reports an interval."""

    needs_train: ClassVar[bool]
    """Whether it also compares with training reals."""

    @property
    def features(self) -> Features:
        """The features that are compared. Cheap: weights are loaded at the first call."""

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric. `fake`: (N, D) features of samples. `real`: features of the reals."""


@runtime_checkable
class PairedMetric(FeatureMetric, Protocol):
    """A metric that compares each sample with its own target: samples and reals come in the same order."""

    is_paired: ClassVar[Literal[True]]


@runtime_checkable
class CaptionMetric(FeatureMetric, Protocol):
    """A metric of whether samples show what their captions say.

    Sample k was generated from the caption of real k modulo M, the number of reals.
    """

    reads_captions: ClassVar[Literal[True]]


@runtime_checkable
class ClassMetric(FeatureMetric, Protocol):
    """A metric that is also reported for each class of labelled reals.

    Samples with labels are compared with the reals of their class.
    """

    scored: ClassVar[Literal["samples", "reals"]]
    """Whose scores the value is the mean of. Those of reals have classes even if the samples have no labels."""


@runtime_checkable
class PathMetric(Protocol):
    """A metric of how the output of a generator changes along short steps between latents."""

    epsilon: float
    """Length of a step, as a share of the path between two latents."""
    space: Literal["z", "w"]
    """Paths connect latents, z, along great circles, or styles, w, along lines."""
    sampling: Literal["full", "end"]
    """Steps start anywhere on a path, or at its end."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of improvement."""

    @property
    def features_digest(self) -> str | None:
        """See :class:`Metric`."""

    def suits(self, spec: DataSpec) -> bool:
        """See :class:`Metric`."""

    def compute_along_path(self, starts: Tensor, ends: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric of samples (N, ...) at the start and at the end of N steps."""


@runtime_checkable
class LikelihoodMetric(Protocol):
    """A metric of the likelihood that a generator assigns to sentences; needs a generator that has likelihoods."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of improvement."""

    @property
    def features_digest(self) -> str | None:
        """See :class:`Metric`."""

    def suits(self, spec: DataSpec) -> bool:
        """See :class:`Metric`."""

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the metric. `log_likelihood`: of the generator. `real`: held-out sentences."""


@runtime_checkable
class LabelMetric(Protocol):
    """A metric of whether samples show the class that they were generated from."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of improvement."""

    @property
    def features_digest(self) -> str | None:
        """See :class:`Metric`."""

    def suits(self, spec: DataSpec) -> bool:
        """See :class:`Metric`."""

    def compute_from_labels(self, samples: Tensor, labels: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric of samples (N, ...) in the range of the data, and their labels (N,) int64."""


def extract_features(features: Features, real: Batch) -> ReferenceSet:
    """Return the features of reals, with their labels and the description of the data."""
    reals = real if isinstance(real, ReferenceSet) else ReferenceSet(real.real, real.condition)
    train = None if reals.train is None else features(reals.train)
    return dataclasses.replace(reals, real=features(reals.real), train=train)


def describe_spec(spec: DataSpec) -> str:
    """Describe data in a few words: "colour images of 64 x 64 pixels", "points with 2 coordinates"."""
    if spec.vocabulary is not None:
        return "sentences"
    if spec.is_image:
        colour = {1: "grey images", 3: "colour images", 4: "colour images with transparency"}.get(
            spec.shape[0], f"images of {spec.shape[0]} channels"
        )
        return f"{colour} of {spec.shape[2]} x {spec.shape[1]} pixels"
    if len(spec.shape) == 1:
        return f"points with {spec.shape[0]} coordinates"
    return f"sequences of {spec.shape[-1]} steps and {spec.shape[0]} channels"


def suitable_metrics(spec: DataSpec) -> tuple[str, ...]:
    """Return the names of the metrics that suit the data, without those that need packages that are not installed."""
    result = []
    for name in catalog.names("metrics"):
        with suppress(EquipoiseError):
            if catalog.build("metrics", name).suits(spec):
                result.append(name)
    return tuple(result)


def explain_unsuitable(name: str, metric: object, spec: DataSpec) -> str:
    """Explain why a metric does not suit the data, and which metrics do."""
    suited_to = getattr(metric, "suited_to", None)
    reason = f"it needs {suited_to}, these are {describe_spec(spec)}" if suited_to else describe_spec(spec)
    suitable = ", ".join(suitable_metrics(spec)) or "none"
    return f"the metric '{name}' does not suit this data: {reason}; suitable: {suitable}"


def check_independent(used: Mapping[str, str | None], reported: Mapping[str, str | None]) -> None:
    """Raise SettingError if a reported metric uses the same features as one that controlled the run.

    Both arguments map names of metrics to the digests of their features. A metric that a controller optimises ceases to
    be a measure of quality (Goodhart's law). Metrics without a network are compared by name.
    """
    for name, digest in reported.items():
        for used_name, used_digest in used.items():
            if name == used_name or (digest is not None and digest == used_digest):
                raise SettingError(
                    f"{name} cannot be reported: the run was controlled by {used_name}, which uses the same features; "
                    "report a metric with other features"
                )
