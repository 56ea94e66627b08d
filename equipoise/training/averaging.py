"""The running average of the generator, from which samples are taken; half-life in images, not in steps."""

from collections.abc import Mapping

import torch
from torch import nn

RAMP = 0.3
"""The half-life is at most this share of the images seen, so that the start is forgotten. StyleGAN2 has 0.05 for runs
of millions of images (Karras 2020); runs of fifty thousand drew better digits with 0.3."""


@torch.no_grad()
def update(averaged: Mapping[str, nn.Module], networks: Mapping[str, nn.Module], decay: float) -> None:
    """average <- decay average + (1 - decay) current, for weights and running statistics alike."""
    for name, average in averaged.items():
        theirs = networks[name].state_dict()
        pairs = [(mine, theirs[key]) for key, mine in average.state_dict().items()]
        floating = [(mine, new) for mine, new in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floating], [new for _, new in floating], 1 - decay)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)


def decay(half_life: float, batch_size: int, images: int) -> float:
    """0.5^(batch / half-life), the half-life ramped up from the start; 0 (no average) for a half-life of 0."""
    half_life = min(half_life, RAMP * images)
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0
