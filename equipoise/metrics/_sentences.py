"""Sentences as metrics look at them: as tokens, and by a number each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.core.tokens import SentenceDistribution
from equipoise.errors import DataError

NONE = -1
"""What is the number of no word: it makes a sentence differ from every real one."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sentences as they are."""

    @property
    def digest(self) -> None:
        """No network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, T) int64 of (N, T), in which numbers of samples may be float32."""
        samples = samples.detach().cpu()
        if not samples.is_floating_point():
            return samples
        whole = samples.isfinite() & (samples == samples.round()) & (samples >= 0)
        return torch.where(whole, samples, NONE).long()


class OfSentences:
    """To mix into a metric that looks at tokens."""

    __slots__ = ()

    needs_train: ClassVar[bool] = False

    @property
    def features(self) -> Tokens:
        """Tokens."""
        return Tokens()

    def suits(self, spec: DataSpec) -> bool:
        """Sentences."""
        return spec.vocabulary is not None


class ByLikelihood:
    """To mix into a metric of likelihood: it looks through no network of its own."""

    __slots__ = ()

    features_digest: ClassVar[None] = None

    def suits(self, spec: DataSpec) -> bool:
        """Sentences."""
        return spec.vocabulary is not None


def mean_figure(values: Tensor, draws: Bootstrap, doubts: tuple[str, ...] = ()) -> MetricResult:
    """The mean of a number for each sample, (N,), and that of draws."""
    values = values.double()
    if not draws.count:
        return MetricResult(values.mean().item(), doubts=doubts)
    drawn = draws.weights(len(values), 1).double() @ values / len(values)
    return MetricResult(values.mean().item(), drawn, doubts)


def law_of(real: ReferenceSet, metric: str) -> SentenceDistribution:
    """What the reals were drawn from. Raises DataError if nobody knows."""
    if real.spec is None or real.spec.distribution is None:
        raise DataError(f"{metric} needs data whose law is known, such as 'sentences' or 'oracle'; leave it out")
    return real.spec.distribution


def support_of(real: ReferenceSet, metric: str) -> Tensor:
    """Every sentence that can occur, (S, T). Raises DataError if nobody can write them down."""
    support = law_of(real, metric).support()
    if support is None:
        raise DataError(f"{metric} needs data all of which can be written down, such as 'sentences'; leave it out")
    return support


def ends_of(real: ReferenceSet, metric: str) -> bool:
    """Whether sentences end by themselves. Raises DataError for what are no sentences."""
    if real.spec is None or real.spec.vocabulary is None:
        raise DataError(f"{metric} compares sentences, and these reals are none; leave it out")
    return real.spec.vocabulary.ends


def train_of(real: ReferenceSet, metric: str) -> Tensor:
    """The sentences that were trained on. Raises DataError without them."""
    if real.train is None:
        raise DataError(f"{metric} needs the reals that were trained on, too; name the data with --against")
    return real.train


def keys(sentences: Tensor) -> list[bytes]:
    """A key for each sentence (N, T) int64, the same for the same ones."""
    array = sentences.contiguous().numpy()
    return [row.tobytes() for row in array]


def cut(sentences: Tensor, ends: bool) -> list[Sequence[int]]:
    """Sentences (N, T) as lists of their tokens, without the end and what follows."""
    rows: list[list[int]] = sentences.tolist()
    return [row[: row.index(0)] if ends and 0 in row else row for row in rows]
