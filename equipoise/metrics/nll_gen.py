"""How unlikely held-out sentences are to a generator, in nats per token: lower is better.

NLL_gen, or NLL_test: -log p_G(y) over all tokens, the end included, of sentences that were not trained on. A generator
that has lost a part of the language pays for it here, whatever it writes.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.core.tokens import END
from equipoise.metrics._sentences import ByLikelihood, ends_of

__all__ = ["NLLGen"]


@dataclass(frozen=True, slots=True)
class NLLGen(ByLikelihood):
    """e to this power is the perplexity of a token."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """Held-out sentences (M, T) int64; the interval is that of other sentences."""
        nats = -log_likelihood(real.real).double().cpu()
        if ends_of(real, "nll_gen"):
            tokens = (real.real != END).sum(dim=1).add(1).clamp_max(real.real.shape[1]).double()
        else:
            tokens = torch.full_like(nats, real.real.shape[1])
        value = (nats.sum() / tokens.sum()).item()
        if not draws.count:
            return MetricResult(value)
        weights = draws.weights(len(nats), 0).double()
        return MetricResult(value, (weights @ nats) / (weights @ tokens))
