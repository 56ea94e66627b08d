"""Samples with their nearest training reals: shows whether a model memorises."""

from pathlib import Path

import torch

from equipoise.core import catalog
from equipoise.core.metric import ReferenceSet
from equipoise.errors import SettingError
from equipoise.evaluation.subject import EvaluationData
from equipoise.metrics.auth_pct import AuthPct
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes

ROWS = 12
"""Number of samples in the grid."""
NEIGHBOURS = 5
"""Number of training reals per sample."""


def write_neighbour_grid(data: EvaluationData, path: Path) -> Path:
    """Write a PNG with one sample and its nearest training reals per row, the most suspicious sample first.

    Raises SettingError if samples are not images, or if the file does not end in .png.
    """
    if data.sample_set.samples.ndim != 4 or path.suffix.lower() != ".png":
        raise SettingError(f"--neighbours needs image samples and a file that ends in .png, not {path.name}")
    metric: AuthPct = catalog.build("metrics", "auth_pct", {"features_from": "pixels"})
    train, fake = data.features(metric.features, "train"), data.features(metric.features, "samples")
    nearest = metric.closest(ReferenceSet(fake[:0], train=train), fake, ROWS, min(NEIGHBOURS, len(train)))
    rows = [
        torch.cat([data.sample_set.samples[sample][None], data.train.real[neighbours]])
        for sample, neighbours in zip(nearest.sample.tolist(), nearest.train, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encode_png(make_grid(torch.cat(rows).numpy(), columns=len(rows[0]))))
    return path
