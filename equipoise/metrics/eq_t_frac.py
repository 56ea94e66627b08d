"""How exactly images follow translations by fractions of pixels: higher is better, in dB.

    20 log10 2 - 10 log10 E (g(t(scene)) - t(g(scene)))²,   values in [-1, 1]

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", appendix E.2. The reference is interpolated by
Lanczos kernels, which limits the value to about 40 to 60 dB. It needs a generator whose input can be transformed,
such as a run of `stylegan3`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from equipoise.core.equivariance import Scenes
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.metrics._equivariance import equivariance, fractional_translation_errors
from equipoise.metrics._scene_metric import SceneMetricMixin

__all__ = ["EqTFrac"]


@dataclass(frozen=True, slots=True)
class EqTFrac(SceneMetricMixin):
    """Equivariance to translation by any distance, EQ-T_frac."""

    def compute_from_scenes(self, scenes: Iterable[Scenes], bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from batches of scenes; each batch is translated by a random amount of its own.

        Raises UndefinedMetricError for no scenes, and for images without a pixel far from the border.
        """
        return equivariance(scenes, fractional_translation_errors, bootstrap)
