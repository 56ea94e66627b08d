"""Perceptual path length: how much samples change along a short step between two latents: lower is smoother.

    PPL in z = E d(G(slerp(z₁, z₂; t)), G(slerp(z₁, z₂; t + ε))) / ε²
    PPL in w = E d(g(lerp(f(z₁), f(z₂); t)), g(lerp(f(z₁), f(z₂); t + ε))) / ε²,   ε = 1e-4

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 4.1: f is the
mapping network and g the synthesis network of a generator that has both. t is uniform on [0, 1], or 0 for steps at the
end of a path, which is a style of the generator itself, not one between two of them (same section). Karras et al. 2020,
"Analyzing and Improving the Image Quality of StyleGAN", report `ppl:w_end`. The lowest and the highest percent of all
steps are discarded, as in the authors' code. d is LPIPS on VGG-16 (needs the extra `metrics`), or the distance of
`perceptual_efficientnet_lite0`, whose values are comparable only with each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError
from equipoise.metrics import _features_efficientnet, _features_lpips, _image_distances
from equipoise.metrics._feature_metric import is_grey_or_colour

__all__ = ["Ppl"]


@dataclass(frozen=True, slots=True)
class Ppl:
    """Perceptual path length. It needs a generator, so it is computed for runs, not for folders of images."""

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "z_full": {"space": "z", "sampling": "full"},
        "z_end": {"space": "z", "sampling": "end"},
        "w_full": {"space": "w", "sampling": "full"},
        "w_end": {"space": "w", "sampling": "end"},
    }

    space: Literal["z", "w"] = "z"
    """z for paths between latents, w for those between styles of a generator with a mapping network"""
    sampling: Literal["full", "end"] = "full"
    """full for steps anywhere on a path, end for those at its end"""
    distance: Literal["efficientnet_lite0", "vgg"] = "efficientnet_lite0"
    """efficientnet_lite0, or vgg for LPIPS as published"""
    weights: str | None = None
    """path of the VGG-16 weights; default: torch's hub folder, downloaded if missing"""
    epsilon: float = 1e-4
    """length of a step, as a share of the path"""
    trim: float = 0.01
    """share of steps that is discarded at each end"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        validation.check_within(1e-6, 1, epsilon=self.epsilon)
        validation.check_within(0, 0.49, trim=self.trim)
        if self.distance == "vgg":
            _features_lpips.require_packages("ppl with distance = vgg")

    @property
    def features_digest(self) -> str | None:
        """Digest of the network of the distance."""
        if self.distance == "vgg":
            return _features_lpips.BACKBONES["vgg"].published.digest
        return _features_efficientnet.EfficientNetFeatures.digest

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute_along_path(self, starts: Tensor, ends: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, C, H, W) at the start and at the end of steps.

        Raises DataError if there are no steps.
        """
        if not len(starts):
            raise UndefinedMetricError("a path length needs at least one step; increase --count")
        steps = _image_distances.distances_in_batches(self._image_distance, starts, ends) / self.epsilon**2
        low, high = (
            torch.quantile(steps, share, interpolation=edge).item()
            for share, edge in ((self.trim, "lower"), (1 - self.trim, "higher"))
        )
        inner = steps[(steps >= low) & (steps <= high)]
        if not len(inner):
            return MetricResult(float("nan"))
        return MetricResult.from_mean(inner, bootstrap)

    def _image_distance(self, first: Tensor, second: Tensor) -> Tensor:
        if self.distance == "vgg":
            return _features_lpips.load("vgg", self.weights).distance(first, second)
        return _features_efficientnet.perceptual_distance(first, second)
