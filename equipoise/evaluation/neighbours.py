"""Samples with their nearest training reals: shows whether a model memorises."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.metric import ReferenceSet
from equipoise.errors import SettingError
from equipoise.evaluation.selection import default_features
from equipoise.evaluation.subject import EvaluationData
from equipoise.metrics.auth_pct import AuthPct
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes

ROWS = 12
"""Number of samples in the grid."""
NEIGHBOURS = 5
"""Number of training reals per sample."""


def write_neighbour_grid(data: EvaluationData, path: Path) -> Path:
    """Write a PNG with one sample and its nearest training reals per row, the most suspicious sample first.

    Distances are those of pixels, which recognise compressed copies, or of the default network of the data, which
    recognises mirrored and shifted ones, whichever finds a sample more suspicious. Raises SettingError if samples are
    not images, or if the file does not end in .png.
    """
    if data.sample_set.samples.ndim != 4 or path.suffix.lower() != ".png":
        raise SettingError(f"--neighbours needs image samples and a file that ends in .png, not {path.name}")
    network = default_features(data.context.plug.name, data.context.data.spec)
    kinds = ["pixels"] + [network] * (data.sample_set.samples.shape[1] in (1, 3, 4))
    candidates = [suspect for kind in kinds for suspect in _suspects(data, kind)]
    shown: dict[int, _Suspect] = {}
    for suspect in sorted(candidates, key=lambda each: each.ratio):
        shown.setdefault(suspect.sample, suspect)
    rows = [
        torch.cat([data.sample_set.samples[suspect.sample][None], data.train.real[suspect.train]])
        for suspect in list(shown.values())[:ROWS]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encode_png(make_grid(torch.cat(rows).numpy(), columns=len(rows[0]))))
    return path


class _Suspect(NamedTuple):
    """A sample, its nearest training reals, and the ratio of distances as of NearestTrainingSamples."""

    sample: int
    train: Tensor
    ratio: float


def _suspects(data: EvaluationData, features_from: str) -> list[_Suspect]:
    """Return the most suspicious samples by one kind of features."""
    metric: AuthPct = catalog.build("metrics", "auth_pct", {"features_from": features_from})
    train, fake = data.features(metric.features, "train"), data.features(metric.features, "samples")
    nearest = metric.closest(ReferenceSet(fake[:0], train=train), fake, ROWS, min(NEIGHBOURS, len(train)))
    return [_Suspect(*row) for row in zip(nearest.sample.tolist(), nearest.train, nearest.ratio.tolist(), strict=True)]
