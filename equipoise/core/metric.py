"""The nouns of judging samples: what is looked at, how often it is drawn anew, and the figure that comes of it.

features ──▶ statistics ──▶ figure
networks     Reals           value and interval
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.errors import SettingError

LogLikelihood = Callable[[Tensor], Tensor]

CONFIDENCE = 0.95
"""Share of draws that an interval holds."""


@dataclass(frozen=True, slots=True)
class ReferenceSet(Batch):
    """What samples are judged by: held-out reals and their labels, and `train`, (T, ...), reals that were trained on.

    `train` is None where nobody asked for them. `spec`: what the data are, for metrics of text.
    """

    train: Tensor | None = field(default=None, kw_only=True)
    spec: DataSpec | None = field(default=None, kw_only=True)


@runtime_checkable
class Metric(Protocol):
    """Quality by comparison with held-out reals: a frozen dataclass. More of it, with intervals: see Comparison."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is up."""

    @property
    def features_digest(self) -> str | None:
        """SHA-256 of the network that it looks through, or its first digits; None if it looks through none."""

    def suits(self, spec: DataSpec) -> bool:
        """Whether it can be measured on data of this kind."""

    def statistics(self, real: ReferenceSet) -> Any:
        """What is to be known of the reals, computed once."""

    def value(self, statistics: Any, fake: Tensor) -> float:
        """The metric of `fake`: (N, ...) float32 in the range of the data."""


class Features(Protocol):
    """What a metric looks at: a network that reads samples, or the samples themselves. A frozen, hashable value."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weights, or its first digits; None for no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, D) float32 on the CPU, of samples (N, ...) in the range of the data. Metrics of pairs keep (N, ...)."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How samples are drawn anew, with replacement, for an interval (Efron 1979): `count` times, 0 for none."""

    count: int = 0
    seed: int = 0

    def weights(self, samples: int, side: int) -> Tensor:
        """(count, samples) float32: how often each sample is in each draw. `side` tells reals (0) from fakes (1)."""
        generator = torch.Generator().manual_seed(2 * self.seed + side)
        chosen = torch.randint(samples, (self.count, samples), generator=generator)
        return torch.zeros(self.count, samples).scatter_add_(1, chosen, torch.ones(1).expand_as(chosen))


@dataclass(frozen=True, slots=True, eq=False)
class MetricResult:
    """What a metric says. `drawn`: (R,) float64, what it says of each draw; None if nothing was drawn.

    `doubts`: why it means little, and what to trust instead, a sentence each.
    """

    value: float
    drawn: Tensor | None = None
    doubts: tuple[str, ...] = ()

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the value of other samples of the same kind would lie, 95 of 100 times.

        The quantiles of the draws, moved so that their mean is the value: a draw holds samples twice, which some
        metrics take for a lack of variety, alike in every draw.
        """
        if self.drawn is None or not self.drawn.isfinite().all():
            return None
        tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
        low, high = (self.drawn.double().quantile(tails) - self.drawn.double().mean() + self.value).tolist()
        return low, high


@runtime_checkable
class FeatureMetric(Metric, Protocol):
    """A metric that compares features of samples with those of reals, and tells how sure it is."""

    needs_train: ClassVar[bool]
    """Whether it looks at reals that were trained on, too."""

    @property
    def features(self) -> Features:
        """What it looks at. Cheap to ask for: weights are read at the first call."""

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """The figure of `fake`, features (N, D), beside those of reals."""


@runtime_checkable
class PairedMetric(FeatureMetric, Protocol):
    """A comparison of each sample with the one real that it should be: both come in the same order."""

    of_pairs: ClassVar[Literal[True]]


@runtime_checkable
class PathMetric(Protocol):
    """A metric of how a generator changes along short steps between latents."""

    epsilon: float
    """Length of a step, as a share of the way between two latents."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is up."""

    @property
    def features_digest(self) -> str | None:
        """As of Metric."""

    def suits(self, spec: DataSpec) -> bool:
        """As of Metric."""

    def along(self, starts: Tensor, ends: Tensor, draws: Bootstrap) -> MetricResult:
        """The figure of samples (N, ...) at the starts of steps and at their ends."""


@runtime_checkable
class LikelihoodMetric(Protocol):
    """A metric of the likelihood that a generator gives to sentences, for those that give one."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is up."""

    @property
    def features_digest(self) -> str | None:
        """As of Metric."""

    def suits(self, spec: DataSpec) -> bool:
        """As of Metric."""

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """The figure of a generator, by what it gives to sentences (N, T) int64: (N,) float64, nats."""


def extract_features(features: Features, real: Batch) -> ReferenceSet:
    """Reals as their features; labels and what the data are stay."""
    train, spec = (real.train, real.spec) if isinstance(real, ReferenceSet) else (None, None)
    return ReferenceSet(
        features(real.real), real.condition, train=None if train is None else features(train), spec=spec
    )


def check_independent(watched: Mapping[str, str | None], reported: Mapping[str, str | None]) -> None:
    """Raise SettingError if a result would be reported through features that the run itself looked through.

    Both map names of metrics to the digests of their features. What a controller steers by stops to be a measure
    (Goodhart's law). Metrics without a network are told apart by their names.
    """
    for name, digest in reported.items():
        for other, seen_digest in watched.items():
            if name == other or (digest is not None and digest == seen_digest):
                raise SettingError(
                    f"the run was steered by {other}, which looks through the same features as {name}; "
                    "report it by other features"
                )
