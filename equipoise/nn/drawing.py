"""Drawing tokens by their probabilities, from uniform numbers and without a pass of `multinomial` over all words."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

FEW = 128
"""Words of which one running sum costs less than two levels."""


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """(N,) int64 by softmax(logits), from uniform numbers (N,) in [0, 1). `logits`: (N, V), contiguous; overwritten.

    The inverse of the distribution function (Devroye 1986, section II.2) on two levels: words stand in about sqrt(V)
    blocks of as many, so that running sums are taken over the sums of blocks, and within one block only.
    """
    rows, words = logits.shape
    weights = logits.sub_(logits.amax(dim=1, keepdim=True)).exp_()
    if words <= FEW:
        ladder = weights.cumsum(dim=1)
        return _rung(ladder, uniform * ladder[:, -1])
    width = _width(words)
    blocks = -(-words // width)
    weights = F.pad(weights, (0, blocks * width - words)) if words % width else weights
    weights = weights.view(rows, blocks, width)
    sums = weights.sum(dim=2)
    ladder = sums.cumsum(dim=1)
    target = uniform * ladder[:, -1]
    block = _rung(ladder, target)
    there = torch.arange(rows, device=logits.device), block
    inside = weights[there].cumsum(dim=1)
    return block * width + _rung(inside, target - ladder[there] + sums[there])


def draw_likeliest_first(logits: Tensor, uniform: Tensor) -> Tensor:
    """The same with the words in order of their probabilities: numbers near 0 choose the likeliest."""
    shares, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
    ladder = shares.cumsum(dim=1)
    return order.gather(1, _rung(ladder, uniform * ladder[:, -1]).unsqueeze(1)).squeeze(1)


def _width(words: int) -> int:
    """Words of a block: a divisor between sqrt(V) and twice that, where there is one, so that nothing is filled up."""
    root = math.isqrt(words - 1) + 1
    return next((width for width in range(root, 2 * root) if words % width == 0), root)


def _rung(ladder: Tensor, target: Tensor) -> Tensor:
    """(N,): the first of the running sums (N, K) above each target (N,); the last that adds anything, if none is."""
    ladder = ladder.contiguous()
    last = torch.searchsorted(ladder, ladder[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(ladder, target.unsqueeze(1), right=True), last).squeeze(1)
