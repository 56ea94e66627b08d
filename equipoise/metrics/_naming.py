"""How surely a classifier names samples, and how many names it has for them: the formula of the Inception score.

    exp E_x KL(p(y|x) || p(y))

Salimans et al. 2016, "Improved Techniques for Training GANs", over splits of shuffled samples, as
torch-fidelity has it.
"""

import numpy as np
import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

SHUFFLE_SEED = 2020
"""torch-fidelity's, so that its splits are those of here."""
USUAL = 5000
"""Samples in a split of published figures."""


def score(logits: Tensor, splits: int, draws: Bootstrap) -> MetricResult:
    """The score of logits (N, C), with its draws: within each split, samples are drawn anew.

    Raises DataError for fewer samples than splits.
    """
    if len(logits) < splits:
        raise DataError(f"{len(logits)} samples are too few for {splits} splits; take more, or fewer splits")
    shuffled = logits[np.random.RandomState(SHUFFLE_SEED).permutation(len(logits))].double()
    share, logarithm = shuffled.softmax(dim=1), shuffled.log_softmax(dim=1)
    weights = draws.weights(len(logits), 1).double()
    values, drawn = [], torch.zeros(draws.count, dtype=torch.float64)
    for number in range(splits):
        rows = slice(number * len(logits) // splits, (number + 1) * len(logits) // splits)
        certainty = (share[rows] * logarithm[rows]).sum(dim=1)
        even = torch.full((1, len(certainty)), 1 / len(certainty), dtype=torch.float64)
        values.append(_split(share[rows], certainty, even).item())
        drawn += _split(share[rows], certainty, weights[:, rows] / weights[:, rows].sum(dim=1, keepdim=True)) / splits
    few = len(logits) // splits < USUAL
    doubts = (f"splits of {len(logits) // splits:,}, not of {USUAL:,}: lower than published figures",) if few else ()
    return MetricResult(float(np.mean(values)), drawn if draws.count else None, doubts)


def _split(share: Tensor, certainty: Tensor, weights: Tensor) -> Tensor:
    """exp(E_w Σ p log p - Σ p̄ log p̄), p̄ = E_w p, for each row of weights (R, N) of sum 1: (R,)."""
    mean = weights @ share
    scores: Tensor = (weights @ certainty - torch.special.xlogy(mean, mean).sum(dim=1)).exp()
    return scores
