"""Scenes of a generator that can be moved and rotated, for metrics of equivariance."""

from collections.abc import Iterator

import torch
from torch import Tensor

from equipoise.core.equivariance import Scenes
from equipoise.evaluation.samples import choose_labels
from equipoise.inference.generator import Generator


def iter_scenes(generator: Generator, count: int, seed: int, labels: Tensor | None) -> Iterator[Scenes]:
    """Yield batches of `count` scenes, from the latents of a seed and, for a conditional model, from `labels` (M,).

    The model of the generator must have `generate_transformed`. Images are not clamped.
    """
    latents = generator.latents(count, seed=seed)
    scene_labels = choose_labels(generator, count, seed, labels)
    for rows in torch.arange(count).split(generator.batch_size):
        yield _scenes(generator, latents[rows], None if scene_labels is None else scene_labels[rows])


def _scenes(generator: Generator, latents: Tensor, labels: Tensor | None) -> Scenes:
    generate = generator.model.generate_transformed
    assert generate is not None

    @torch.no_grad()
    def scenes(matrix: Tensor) -> Tensor:
        return generate(generator.networks, latents, labels, matrix).float()

    return scenes
