"""Mixin of metrics that compare images of transformed scenes."""

from typing import ClassVar, Literal

from equipoise.core.data import DataSpec


class SceneMetricMixin:
    """What metrics of equivariance have in common: no feature network, square images."""

    __slots__ = ()

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "square images"

    @property
    def features_digest(self) -> None:
        """None: pixels are compared."""

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are square images."""
        return spec.is_image and spec.shape[1] == spec.shape[2]
