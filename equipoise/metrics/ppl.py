"""Perceptual path length: how much samples change along a short step between two latents: lower is smoother.

    PPL = E d(G(slerp(z₁, z₂; t)), G(slerp(z₁, z₂; t + ε))) / ε²,   ε = 1e-4, t uniform on [0, 1]

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 4.1, in the
space of latents; the lowest and the highest hundredth of all steps are left out, as in the authors' code. d is LPIPS
on VGG-16, or the distance of `perceptual_efficientnet_lite0`, whose numbers compare with each other alone.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError
from equipoise.metrics import _features_efficientnet, _features_lpips, _perceptual
from equipoise.metrics._choice import readable

__all__ = ["Ppl"]


@dataclass(frozen=True, slots=True)
class Ppl:
    """Needs a generator: measured of runs, not of folders."""

    distance: Literal["efficientnet_lite0", "vgg"] = "efficientnet_lite0"
    """efficientnet_lite0, or vgg for LPIPS as published"""
    weights: str | None = None
    """path of VGG-16's weights; left out: torch's folder, or downloaded into it"""
    epsilon: float = 1e-4
    """length of a step, as a share of the way"""
    trim: float = 0.01
    """share of steps that is left out at either end"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def __post_init__(self) -> None:
        bounds.within(1e-6, 1, epsilon=self.epsilon)
        bounds.within(0, 0.49, trim=self.trim)

    @property
    def features_digest(self) -> str:
        """Of the network behind the distance."""
        if self.distance == "vgg":
            return _features_lpips.BACKBONES["vgg"].published.digest
        return _features_efficientnet.DIGEST

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def along(self, starts: Tensor, ends: Tensor, draws: Bootstrap) -> MetricResult:
        """Of samples (N, C, H, W) at the starts of steps and at their ends. Raises DataError if there is none."""
        if not len(starts):
            raise DataError("a path length needs a step at least; take more samples")
        steps = _perceptual.in_pieces(self._between, starts, ends) / self.epsilon**2
        low, high = (
            torch.quantile(steps, share, interpolation=edge).item()
            for share, edge in ((self.trim, "lower"), (1 - self.trim, "higher"))
        )
        kept = steps[(steps >= low) & (steps <= high)]
        if not len(kept):
            return MetricResult(float("nan"))
        return MetricResult(
            kept.mean().item(), draws.weights(len(kept), 1).double() @ kept / len(kept) if draws.count else None
        )

    def _between(self, first: Tensor, second: Tensor) -> Tensor:
        if self.distance == "vgg":
            return _features_lpips.load("vgg", self.weights).distance(first, second)
        return _features_efficientnet.perceptual_distance(first, second)
