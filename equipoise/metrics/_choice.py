"""Features by name, for metrics that can look through any of them."""

from collections.abc import Callable, Mapping
from typing import Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Features
from equipoise.metrics._features_digits import DigitFeatures
from equipoise.metrics._features_efficientnet import EfficientNetFeatures
from equipoise.metrics._features_inception import InceptionFeatures
from equipoise.metrics._features_samples import Flat

Kind = Literal["digits", "efficientnet_lite0", "inception", "samples"]

KINDS: Mapping[str, Callable[[], Features]] = {
    "digits": DigitFeatures,
    "efficientnet_lite0": EfficientNetFeatures,
    "inception": InceptionFeatures,
    "samples": Flat,
}
PRESETS: Mapping[str, Mapping[str, str]] = {kind: {"features_from": kind} for kind in KINDS}


def readable(spec: DataSpec) -> bool:
    """Whether a network for images can look at data of this kind: grey or colour images of any size."""
    return spec.is_image and spec.shape[0] in (1, 3)


def suits(kind: Kind, spec: DataSpec) -> bool:
    """Whether features of this kind can be had of such data: networks read images, anything has numbers."""
    return readable(spec) if kind != "samples" else (spec.is_points or spec.is_image)
