"""Metrics of equivariance: whether samples of a moved scene are moved samples."""

from collections.abc import Callable, Iterable
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult

Scenes = Callable[[Tensor], Tensor]
"""Function from a matrix (3, 3), float32, to images (N, C, H, W), float32: the same N scenes in every call.

The matrix is homogeneous and maps positions in the image to positions in the scene, x to the right and y down, in sides
of the image, 0 at its centre: pixel p shows what pixel M p shows for the identity.
"""


@runtime_checkable
class EquivarianceMetric(Protocol):
    """A metric of how exactly samples follow transformations; needs a generator whose scenes can be transformed."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Direction of improvement."""

    @property
    def features_digest(self) -> str | None:
        """See :class:`~equipoise.core.metric.Metric`."""

    def suits(self, spec: DataSpec) -> bool:
        """See :class:`~equipoise.core.metric.Metric`."""

    def compute_from_scenes(self, scenes: Iterable[Scenes], bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from batches of scenes; each batch is transformed by a random amount of its own."""
