"""Inception v3 of 2015 as FID has it: torch-fidelity's network, weights from its authors' release.

The file is a pickle of tensors: its SHA-256 is checked, and nothing but tensors is read from it.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from equipoise.metrics import _weights

PUBLISHED = _weights.Published(
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    96,
)
POOLED = 2048
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class InceptionFeatures:
    """2,048 pooled numbers, then 1,008 logits without their bias, of images in [-1, 1] of one or three channels.

    Together, because a pass takes a second for four images on one core. Rounded to bytes and enlarged to 299 x 299 as
    TensorFlow did. `weights`: the path of the published file; None looks in torch's folder, and downloads it.
    """

    weights: str | None = None

    digest: ClassVar[str | None] = PUBLISHED.digest

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, 3056) float32. Raises DataError if the weights cannot be had."""
        network = load(self.weights)
        with torch.inference_mode():
            result = [torch.cat(network(_bytes(piece)), dim=1) for piece in torch.split(samples, AT_ONCE)]
        return torch.cat(result).clone()


def _bytes(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 of (B, 1 or 3, H, W) in [-1, 1]; not a number becomes black."""
    colour = images.detach().float().cpu().nan_to_num(-1.0).expand(-1, 3, -1, -1)
    return ((colour.clamp(-1, 1) + 1) * 127.5).round().byte()


@lru_cache(maxsize=1)
def load(weights: str | None) -> Any:
    """torch-fidelity's network, frozen. Raises DataError if the weights cannot be had."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    tensors = _weights.read(PUBLISHED, weights, "fd_efficientnet_lite0, which needs no download")
    clean = io.BytesIO()
    torch.save(tensors, clean)  # torch-fidelity opens pickles of all kinds: it gets one of our own, of tensors alone
    clean.seek(0)
    state = torch.get_rng_state()
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", [str(POOLED), "logits_unbiased"], feature_extractor_weights_path=clean
    )
    torch.set_rng_state(state)  # its weights were drawn at random, and are replaced
    return network
