"""Sampling of tokens from logits with given uniform random numbers, faster than `torch.multinomial`."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ONE_LEVEL_WORDS = 128
"""Vocabulary size up to which one cumulative sum is faster than two levels."""


def sample_tokens(logits: Tensor, uniform: Tensor) -> Tensor:
    """Sample tokens (N,) int64 from softmax(logits) by uniform numbers (N,) in [0, 1).

    `logits`: (N, V), contiguous; modified in place. Inverts the distribution function (Devroye 1986, section II.2) on
    two levels: words are divided into about sqrt(V) blocks, so that cumulative sums are computed over the sums of
    blocks, and within one block only.
    """
    rows, words = logits.shape
    weights = logits.sub_(logits.amax(dim=1, keepdim=True)).exp_()
    if words <= ONE_LEVEL_WORDS:
        cumulative = weights.cumsum(dim=1)
        return _first_above(cumulative, uniform * cumulative[:, -1])
    width = _block_width(words)
    blocks = -(-words // width)
    weights = F.pad(weights, (0, blocks * width - words)) if words % width else weights
    weights = weights.view(rows, blocks, width)
    sums = weights.sum(dim=2)
    cumulative = sums.cumsum(dim=1)
    target = uniform * cumulative[:, -1]
    block = _first_above(cumulative, target)
    index = torch.arange(rows, device=logits.device), block
    within = weights[index].cumsum(dim=1)
    return block * width + _first_above(within, target - cumulative[index] + sums[index])


def sample_tokens_likeliest_first(logits: Tensor, uniform: Tensor) -> Tensor:
    """Sample as :func:`sample_tokens` with words sorted by probability: numbers near 0 select the most likely."""
    probabilities, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=1)
    return order.gather(1, _first_above(cumulative, uniform * cumulative[:, -1]).unsqueeze(1)).squeeze(1)


def _block_width(words: int) -> int:
    """Return the words per block: a divisor of V between sqrt(V) and 2 sqrt(V) if there is one, to avoid padding."""
    root = math.isqrt(words - 1) + 1
    return next((width for width in range(root, 2 * root) if words % width == 0), root)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """Return the index (N,) of the first cumulative sum (N, K) above each target (N,).

    If there is none, return the last index at which the sum increases.
    """
    cumulative = cumulative.contiguous()
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(cumulative, target.unsqueeze(1), right=True), last).squeeze(1)
