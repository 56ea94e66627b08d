"""The inception score of classifier logits.

    exp E_x KL(p(y|x) || p(y))

Salimans et al. 2016, "Improved Techniques for Training GANs", averaged over splits of shuffled samples, as in
torch-fidelity.
"""

import numpy as np
import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

SHUFFLE_SEED = 2020
"""The seed of torch-fidelity, which gives the same splits."""
PUBLISHED_SPLIT_SIZE = 5000
"""Samples per split in published results."""


def compute_score(logits: Tensor, splits: int, bootstrap: Bootstrap) -> MetricResult:
    """Compute the score of logits (N, C); resamples are taken within each split.

    Raises DataError for fewer samples than splits.
    """
    if len(logits) < splits:
        raise DataError(f"{len(logits)} samples are too few for {splits} splits; increase --count or reduce splits")
    shuffled = logits[np.random.RandomState(SHUFFLE_SEED).permutation(len(logits))].double()
    share, logarithm = shuffled.softmax(dim=1), shuffled.log_softmax(dim=1)
    weights = bootstrap.weights(len(logits), 1).double()
    values, resampled = [], torch.zeros(bootstrap.count, dtype=torch.float64)
    for number in range(splits):
        rows = slice(number * len(logits) // splits, (number + 1) * len(logits) // splits)
        negative_entropy = (share[rows] * logarithm[rows]).sum(dim=1)
        uniform = torch.full((1, len(negative_entropy)), 1 / len(negative_entropy), dtype=torch.float64)
        values.append(_split(share[rows], negative_entropy, uniform).item())
        resampled += (
            _split(share[rows], negative_entropy, weights[:, rows] / weights[:, rows].sum(dim=1, keepdim=True)) / splits
        )
    size = len(logits) // splits
    small = f"splits of {size:,} samples instead of {PUBLISHED_SPLIT_SIZE:,}: lower than published values"
    warnings = (small,) if size < PUBLISHED_SPLIT_SIZE else ()
    return MetricResult(float(np.mean(values)), resampled if bootstrap.count else None, warnings)


def _split(share: Tensor, negative_entropy: Tensor, weights: Tensor) -> Tensor:
    """Return exp(E_w Σ p log p - Σ p̄ log p̄), p̄ = E_w p, for each row of weights (R, N) with sum 1: (R,)."""
    mean = weights @ share
    scores: Tensor = (weights @ negative_entropy - torch.special.xlogy(mean, mean).sum(dim=1)).exp()
    return scores
