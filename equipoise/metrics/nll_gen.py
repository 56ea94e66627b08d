"""Negative log-likelihood of held-out sentences under the generator, in nats per token: lower is better.

NLL_gen, or NLL_test: -log p_G(y) over all tokens, the end token included, of sentences that were not trained on. It
detects a generator that has lost part of the distribution, whatever its samples.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.core.tokens import END
from equipoise.metrics._sentences import LikelihoodMetricMixin, require_sentences

__all__ = ["NLLGen"]


@dataclass(frozen=True, slots=True)
class NLLGen(LikelihoodMetricMixin):
    """Negative log-likelihood in nats per token; its exponential is the perplexity."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the metric from held-out sentences (M, T) int64, which are resampled for the interval."""
        nats = -log_likelihood(real.real).double().cpu()
        if require_sentences(real, "nll_gen"):
            tokens = (real.real != END).sum(dim=1).add(1).clamp_max(real.real.shape[1]).double()
        else:
            tokens = torch.full_like(nats, real.real.shape[1])
        value = (nats.sum() / tokens.sum()).item()
        if not bootstrap.count:
            return MetricResult(value)
        weights = bootstrap.weights(len(nats), 0).double()
        return MetricResult(value, (weights @ nats) / (weights @ tokens))
