"""A generator and the law of the data, side by side over every sentence that there is."""

from typing import NamedTuple

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import LogLikelihood, ReferenceSet
from equipoise.metrics._sentences import law_of, support_of


class Weighed(NamedTuple):
    """Of all sentences that can occur, (S,) float64 each, nats.

    `law`: their log probability. `log_likelihood`: what the generator gives. `mass`: the sum of that, as probability.
    `model`: what the generator gives among them, log (p_G / mass).
    """

    distribution: Tensor
    log_likelihood: Tensor
    mass: float
    model: Tensor


def all_can_be_written(spec: DataSpec) -> bool:
    """Whether every sentence of such data is known."""
    return spec.vocabulary is not None and spec.distribution is not None and spec.distribution.support() is not None


def weighed(log_likelihood: LogLikelihood, real: ReferenceSet, metric: str) -> Weighed:
    """All sentences by both. Raises DataError, naming the metric, if nobody can write them down."""
    support = support_of(real, metric)
    given = log_likelihood(support).double().cpu()
    total = given.logsumexp(dim=0)
    return Weighed(law_of(real, metric).log_probability(support), given, total.exp().item(), given - total)
