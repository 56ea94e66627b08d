"""Inception v3 of 2015, the FID network, as implemented by torch-fidelity, with the weights its authors published.

The file is a pickle of tensors: its SHA-256 is checked, and only tensors are read from it.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from equipoise.metrics import _weights
from equipoise.metrics._transparency import on_background

WEIGHTS = _weights.WeightsFile(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    96,
)
PACKAGE = "torch_fidelity"
POOLED = 2048
BATCH_SIZE = 50


@dataclass(frozen=True, slots=True)
class InceptionFeatures:
    """2,048 pooled features followed by 1,008 logits without bias, of images in [-1, 1] with one or three channels.

    They are computed together, because a forward pass takes a second per four images on one core. Images are rounded to
    bytes and resized to 299 x 299 as in TensorFlow. `weights`: path of the published file; None uses torch's hub
    folder, or downloads it.
    """

    weights: str | None = None

    digest: ClassVar[str | None] = WEIGHTS.digest

    def __call__(self, samples: Tensor) -> Tensor:
        """Return (N, 3056) float32. Raises DataError if the weights are not available."""
        network = load(self.weights)
        with torch.inference_mode():
            result = [torch.cat(network(_bytes(batch)), dim=1) for batch in torch.split(samples, BATCH_SIZE)]
        return torch.cat(result).clone()


def _bytes(images: Tensor) -> Tensor:
    """Convert (B, 1, 3 or 4, H, W) in [-1, 1] to (B, 3, H, W) uint8; NaN becomes black."""
    colour = on_background(images.detach().float().cpu().nan_to_num(-1.0)).expand(-1, 3, -1, -1)
    return ((colour.clamp(-1, 1) + 1) * 127.5).round().byte()


@lru_cache(maxsize=1)
def load(weights: str | None) -> Any:
    """Load torch-fidelity's network, frozen. Raises DataError if the weights are not available."""
    _weights.require_package(PACKAGE, "Inception v3")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    tensors = _weights.load_tensors(WEIGHTS, weights, "fd_efficientnet_lite0, which needs no download")
    clean = io.BytesIO()
    torch.save(tensors, clean)  # torch-fidelity unpickles any object, so the file must contain only tensors.
    clean.seek(0)
    state = torch.get_rng_state()
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", [str(POOLED), "logits_unbiased"], feature_extractor_weights_path=clean
    )
    torch.set_rng_state(state)  # The random initial weights are replaced.
    return network
