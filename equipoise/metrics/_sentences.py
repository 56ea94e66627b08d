"""Parts of text metrics: tokens as features, access to the reference set, and enumeration of all sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import LogLikelihood, ReferenceSet
from equipoise.core.tokens import END, SentenceDistribution
from equipoise.errors import DataError

INVALID = -1
"""Replaces values that are not token ids, so that such a sentence differs from every real one."""


@dataclass(frozen=True, slots=True)
class TokenFeatures:
    """Features that are the tokens themselves."""

    @property
    def digest(self) -> None:
        """None, because there is no network."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, T) int64 of samples (N, T), int64 or float32; values that are not token ids become INVALID."""
        samples = samples.detach().cpu()
        if not samples.is_floating_point():
            return samples
        is_token = samples.isfinite() & (samples == samples.round()) & (samples >= 0)
        return torch.where(is_token, samples, INVALID).long()


class SentenceMetricMixin:
    """Mixin for a metric whose features are tokens."""

    __slots__ = ()

    needs_train: ClassVar[bool] = False
    suited_to: ClassVar[str] = "sentences"

    @property
    def features(self) -> TokenFeatures:
        """The tokens of the sentences."""
        return TokenFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences."""
        return spec.vocabulary is not None


class LikelihoodMetricMixin:
    """Mixin for a metric of likelihood, which uses no feature network."""

    __slots__ = ()

    features_digest: ClassVar[None] = None
    suited_to: ClassVar[str] = "sentences"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences."""
        return spec.vocabulary is not None


class EnumeratedLikelihoods(NamedTuple):
    """Log probabilities of all S sentences in the support of the data, (S,) float64 each, in nats.

    `distribution`: under the data. `log_likelihood`: under the generator. `mass`: total probability that the generator
    assigns to the support. `model`: under the generator, conditioned on the support: log (p_G / mass).
    """

    distribution: Tensor
    log_likelihood: Tensor
    mass: float
    model: Tensor


def is_enumerable(spec: DataSpec) -> bool:
    """Return whether all sentences of the data can be enumerated."""
    return spec.vocabulary is not None and spec.distribution is not None and spec.distribution.support() is not None


def enumerate_likelihoods(log_likelihood: LogLikelihood, real: ReferenceSet, metric: str) -> EnumeratedLikelihoods:
    """Evaluate all sentences under the data and the generator. Raises DataError if they cannot be enumerated."""
    distribution = require_distribution(real, metric)
    support = distribution.support()
    if support is None:
        raise DataError(f"{metric} needs data whose sentences can be enumerated, such as 'sentences'; omit the metric")
    values = log_likelihood(support).double().cpu()
    total = values.logsumexp(dim=0)
    return EnumeratedLikelihoods(distribution.log_probability(support), values, total.exp().item(), values - total)


def require_distribution(real: ReferenceSet, metric: str) -> SentenceDistribution:
    """Return the distribution of the data. Raises DataError if it is not known."""
    if real.spec is None or real.spec.distribution is None:
        raise DataError(
            f"{metric} needs data with a known distribution, such as 'sentences' or 'oracle'; omit the metric"
        )
    return real.spec.distribution


def require_sentences(real: ReferenceSet, metric: str) -> bool:
    """Return whether sentences have an end token. Raises DataError if the data are not sentences."""
    if real.spec is None or real.spec.vocabulary is None:
        raise DataError(f"{metric} compares sentences, but the reals are not text; omit the metric")
    return real.spec.vocabulary.ends


def require_train(real: ReferenceSet, metric: str) -> Tensor:
    """Return the training sentences. Raises DataError if they are missing."""
    if real.train is None:
        raise DataError(f"{metric} needs the training reals; name the training data with --against")
    return real.train


def sentence_keys(sentences: Tensor) -> list[bytes]:
    """Return a key for each sentence (N, T) int64, equal for equal sentences."""
    array = sentences.contiguous().numpy()
    return [row.tobytes() for row in array]


def strip_endings(sentences: Tensor, ends: bool) -> list[Sequence[int]]:
    """Return sentences (N, T) as lists of tokens, without the end token and everything after it."""
    rows: list[list[int]] = sentences.tolist()
    return [row[: row.index(END)] if ends and END in row else row for row in rows]
