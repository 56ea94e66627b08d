"""Mixins of metrics that compare features: the interface used during training, and the choice of features."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.metric import Bootstrap, FeatureMetric, Features, ReferenceSet, extract_features
from equipoise.metrics._features_efficientnet import EfficientNetFeatures
from equipoise.metrics._features_inception import InceptionFeatures
from equipoise.metrics._features_mobilenet import MobilenetFeatures, require_weights
from equipoise.metrics._features_small import DigitFeatures, DownsampledImages, FlattenedSamples
from equipoise.metrics._weights import require_package

FeatureKind = Literal["digits", "efficientnet_lite0", "mobilenet_v2", "inception", "pixels", "samples"]
PIXELS = 32
"""Side in pixels to which `pixels` averages images: copies remain close after compression."""

FEATURES: Mapping[str, Callable[[], Features]] = {
    "digits": DigitFeatures,
    "efficientnet_lite0": EfficientNetFeatures,
    "mobilenet_v2": MobilenetFeatures,
    "inception": InceptionFeatures,
    "pixels": partial(DownsampledImages, PIXELS),
    "samples": FlattenedSamples,
}
PRESETS: Mapping[str, Mapping[str, str]] = {kind: {"features_from": kind} for kind in FEATURES}


class FeatureMetricMixin:
    """Mixin that implements `Metric` for a `FeatureMetric`: the statistics are the features of the reals."""

    __slots__ = ()

    needs_train: ClassVar[bool] = False

    @property
    def features_digest(self: FeatureMetric) -> str | None:
        """Digest of the feature network; None without a network."""
        return self.features.digest

    def statistics(self: FeatureMetric, real: Batch) -> ReferenceSet:
        """Return the features of the reals, (M, D) float32 on the CPU."""
        return extract_features(self.features, real)

    def value(self: FeatureMetric, statistics: ReferenceSet, fake: Tensor) -> float:
        """Return the metric of fake (N, ...) without an interval. Raises DataError for too few samples."""
        return self.compute(statistics, self.features(fake), Bootstrap()).value


class SelectableFeaturesMixin(FeatureMetricMixin):
    """Mixin for a metric on features that its option `features_from` selects."""

    __slots__ = ()

    features_from: FeatureKind

    presets: ClassVar[Mapping[str, Mapping[str, str]]] = PRESETS

    @property
    def features(self) -> Features:
        """The selected features."""
        return FEATURES[self.features_from]()

    @property
    def suited_to(self) -> str:
        """The data that the selected features are defined for."""
        return {"samples": "points, sequences or images", "pixels": "images"}.get(
            self.features_from, "grey or colour images"
        )

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are images; or points or sequences, which need `features_from = samples`."""
        if self.features_from == "samples":
            return spec.is_points or spec.is_image or spec.is_sequence
        if self.features_from == "pixels":
            return spec.is_image
        return is_grey_or_colour(spec)

    def check_features(self, metric: str) -> None:
        """Raise MissingPackageError if the selected features need a package that is not installed."""
        if self.features_from == "inception":
            require_package("torch_fidelity", f"{metric}:inception")
        if self.features_from == "mobilenet_v2":
            require_weights(f"{metric}:mobilenet_v2")


def is_grey_or_colour(spec: DataSpec) -> bool:
    """Return whether the data are grey or colour images, of any size, which image networks can read.

    Those with transparency can be read on a background.
    """
    return spec.is_image and spec.shape[0] in (1, 3, 4)
