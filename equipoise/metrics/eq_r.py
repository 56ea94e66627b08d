"""How exactly images follow rotations: higher is better, in dB.

    20 log10 2 - 10 log10 E (g(t(scene)) - t(g(scene)))²,   values in [-1, 1]

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", equation 4 and appendix E.3. Angles are uniform;
both sides are filtered to the frequencies that the grid can represent before and after the rotation. It needs a
generator whose input can be transformed, such as a run of `stylegan3`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from equipoise.core.equivariance import Scenes
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.metrics._equivariance import equivariance, rotation_errors
from equipoise.metrics._scene_metric import SceneMetricMixin

__all__ = ["EqR"]


@dataclass(frozen=True, slots=True)
class EqR(SceneMetricMixin):
    """Equivariance to rotation, EQ-R."""

    def compute_from_scenes(self, scenes: Iterable[Scenes], bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from batches of scenes; each batch is rotated by a random angle of its own.

        Raises UndefinedMetricError for no scenes, and for images without a pixel far from the border.
        """
        return equivariance(scenes, rotation_errors, bootstrap)
