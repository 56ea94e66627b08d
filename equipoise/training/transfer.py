"""Weights of one network taken over by another that is alike, but not the same: other data, another resolution.

Layers have no names that would survive a change of depth, but an order and shapes. So the two lists of tensors are
aligned as two texts would be: the longest common subsequence (Wagner and Fischer 1974), a letter being what a tensor
is (weight, bias, running mean ...) and its shape. A generator of 64 pixels is one of 32 with a stage before it, a
discriminator one with a stage behind: all that both have is found, what only one has is left as it was drawn.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

SAME_NAME = 0.01
"""How much more than 1 a pair of tensors counts whose whole names are equal: decides between equally long ones."""


def aligned(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, str]:
    """Which of `theirs` goes where in `mine`: names of mine -> names of theirs, in an order that both keep."""
    rows, columns = sorted(mine, key=_place), sorted(theirs, key=_place)
    best = np.zeros((len(rows) + 1, len(columns) + 1))
    for i in reversed(range(len(rows))):
        for j in reversed(range(len(columns))):
            best[i, j] = max(best[i + 1, j], best[i, j + 1])
            if gain := _likeness(rows[i], mine, columns[j], theirs):
                best[i, j] = max(best[i, j], gain + best[i + 1, j + 1])
    pairs, i, j = {}, 0, 0
    while i < len(rows) and j < len(columns):
        gain = _likeness(rows[i], mine, columns[j], theirs)
        if gain and best[i, j] == gain + best[i + 1, j + 1]:
            pairs[rows[i]] = columns[j]
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def transfer_weights(network: torch.nn.Module, theirs: Mapping[str, Tensor]) -> float:
    """Put all of `theirs` that fits into the network; the share of its weights that were taken over, from 0 to 1."""
    mine = network.state_dict()
    pairs = aligned(mine, theirs)
    network.load_state_dict({**mine, **{name: theirs[other] for name, other in pairs.items()}})
    weights = dict(network.named_parameters())
    taken = sum(weight.numel() for name, weight in weights.items() if name in pairs)
    return taken / max(1, sum(weight.numel() for weight in weights.values()))


def _place(name: str) -> list[tuple[int, str]]:
    """Where a tensor stands in its network: "layers.10" after "layers.9". Files do not keep the order of layers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _likeness(name: str, mine: Mapping[str, Tensor], other: str, theirs: Mapping[str, Tensor]) -> float:
    if name.rpartition(".")[2] != other.rpartition(".")[2] or mine[name].shape != theirs[other].shape:
        return 0.0
    return 1.0 + SAME_NAME * (name == other)
