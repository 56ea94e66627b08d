"""Running average of the generator, from which samples are generated. Its half-life is in images, not in steps."""

from collections.abc import Mapping

import torch
from torch import nn

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
