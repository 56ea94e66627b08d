"""Path length regularisation of style-based generators (Karras 2020, StyleGAN 2, section 3.2)."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from equipoise.core.model import Memory
from equipoise.core.world import batch_world
from equipoise.losses.adversarial import at_least_float32

DECAY = 0.99
"""Of the running mean of path lengths, per evaluation: Karras 2020, appendix B."""


class PathLength(NamedTuple):
    """Result of :func:`path_length_penalty`. `penalty`: scalar. `memory`: running mean, input of the next call."""

    penalty: Tensor
    memory: Memory


def path_length_memory() -> Memory:
    """Return the initial buffer of :func:`path_length_penalty`: `path_length_mean`, a, float32 zero as in the paper."""
    return {"path_length_mean": torch.zeros(())}


def path_lengths(images: Tensor, styles: Tensor, generator: Generator) -> Tensor:
    """Compute |J^T y| per sample, (B,), differentiable: how far an image moves for a step in the space of styles.

    J is the Jacobian of `images` (B, C, H, W), computed from `styles` (B, layers, D), y ~ N(0, 1) / sqrt(H W). Squares
    are summed over D and averaged over layers. One backward pass serves the batch: image i depends on styles i only.
    The derivative at |J^T y| = 0 is taken as 0.
    """
    images = at_least_float32(images)
    numbers = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    y = numbers / math.sqrt(images.shape[-2] * images.shape[-1])
    (gradient,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norm / math.sqrt(styles.shape[1])


def path_length_penalty(lengths: Tensor, memory: Mapping[str, Tensor]) -> PathLength:
    """E (|J^T y| - a)^2, a the running mean of |J^T y| with this batch: Karras 2020, equation 4 and appendix B."""
    mean = batch_world().mean(lengths.detach().mean().float())
    a = torch.lerp(memory["path_length_mean"], mean, 1 - DECAY)
    return PathLength((lengths - a).square().mean(), {"path_length_mean": a})
