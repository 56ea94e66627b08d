"""Operations on weights: running average, and transfer to a similar network for other data or another resolution.

Layer names change with the depth of a network, but their order and shapes do not. So the two lists of tensors are
aligned like two texts, by their longest common subsequence (Wagner and Fischer 1974), where two tensors match if they
have the same kind (weight, bias, running mean, …) and shape. A generator of 64 pixels has one block more than one of
32 pixels; the common tensors are transferred, and the others keep their initial weights.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

SAME_NAME = 0.01
"""Bonus of a pair whose full names are equal: decides between alignments of the same length."""


def align_tensors(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the matching tensors of two networks: names in `target` -> names in `source`, in the order of both."""
    rows, columns = sorted(target, key=_sort_key), sorted(source, key=_sort_key)
    best = np.zeros((len(rows) + 1, len(columns) + 1))
    for i in reversed(range(len(rows))):
        for j in reversed(range(len(columns))):
            best[i, j] = max(best[i + 1, j], best[i, j + 1])
            if gain := _similarity(rows[i], target, columns[j], source):
                best[i, j] = max(best[i, j], gain + best[i + 1, j + 1])
    pairs, i, j = {}, 0, 0
    while i < len(rows) and j < len(columns):
        gain = _similarity(rows[i], target, columns[j], source)
        if gain and best[i, j] == gain + best[i + 1, j + 1]:
            pairs[rows[i]] = columns[j]
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def transfer_weights(network: torch.nn.Module, source: Mapping[str, Tensor]) -> float:
    """Load the tensors of `source` that fit; returns the share of the network's weights that were loaded, 0 to 1."""
    target = network.state_dict()
    pairs = align_tensors(target, source)
    network.load_state_dict({**target, **{name: source[match] for name, match in pairs.items()}})
    weights = dict(network.named_parameters())
    loaded = sum(weight.numel() for name, weight in weights.items() if name in pairs)
    return loaded / max(1, sum(weight.numel() for weight in weights.values()))


def _sort_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "layers.10" after "layers.9": files do not preserve the order of layers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _similarity(name: str, target: Mapping[str, Tensor], other: str, source: Mapping[str, Tensor]) -> float:
    if name.rpartition(".")[2] != other.rpartition(".")[2] or target[name].shape != source[other].shape:
        return 0.0
    return 1.0 + SAME_NAME * (name == other)


RAMP = 0.3
"""Largest half-life as a share of the images seen, so that the initial weights are forgotten.

StyleGAN 2 uses 0.05 in runs of millions of images (Karras et al. 2020); in runs of fifty thousand, 0.3 gave better
digits.
"""


@torch.no_grad()
def update_averages(averages: Mapping[str, nn.Module], networks: Mapping[str, nn.Module], decay: float) -> None:
    """Update in place: average <- decay average + (1 - decay) current, for weights and running statistics.

    Counters, which are integers, are copied.
    """
    for name, average in averages.items():
        current = networks[name].state_dict()
        pairs = [(old, current[key]) for key, old in average.state_dict().items()]
        floating = [(old, new) for old, new in pairs if old.is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1 - decay)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)


def average_decay(half_life: float, batch_size: int, images: int) -> float:
    """Return 0.5^(batch_size / half_life), with the half-life limited to RAMP * images; 0 if the half-life is 0."""
    half_life = min(half_life, RAMP * images)
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0
