"""How exactly images follow translations by whole pixels: higher is better, in dB.

    20 log10 2 - 10 log10 E (g(t(scene)) - t(g(scene)))²,   values in [-1, 1]

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", equation 3 and appendix E.1. Details that stick to
pixels lower it. Translations are up to an eighth of the image along each axis. It needs a generator whose input can
be transformed, such as a run of `stylegan3`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from equipoise.core.equivariance import Scenes
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.metrics._equivariance import equivariance, translation_errors
from equipoise.metrics._scene_metric import SceneMetricMixin

__all__ = ["EqT"]


@dataclass(frozen=True, slots=True)
class EqT(SceneMetricMixin):
    """Equivariance to translation by whole pixels, EQ-T."""

    def compute_from_scenes(self, scenes: Iterable[Scenes], bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from batches of scenes; each batch is translated by a random amount of its own.

        Raises UndefinedMetricError for no scenes, and for images without a pixel far from the border.
        """
        return equivariance(scenes, translation_errors, bootstrap)
