"""Samples beside the training reals that they are most like: what memorisation looks like."""

from pathlib import Path

import torch

from equipoise.core import catalog
from equipoise.core.metric import ReferenceSet
from equipoise.errors import SettingError
from equipoise.evaluation.subject import EvaluationData
from equipoise.metrics.auth_pct import AuthPct
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes

ROWS = 12
"""Samples in the picture."""
BESIDE = 5
"""Training reals beside each."""


def write_neighbour_grid(judged: EvaluationData, path: Path, features_from: str) -> Path:
    """Write a PNG: in each row a sample, then its nearest training reals; the most suspicious sample on top.

    Raises SettingError for samples that are no images, or a file that is no .png.
    """
    if judged.specimens.samples.ndim != 4 or path.suffix.lower() != ".png":
        raise SettingError(f"neighbours are shown of images, in a file ending in .png, not in {path.name}")
    metric: AuthPct = catalog.build("metrics", "auth_pct", {"features_from": features_from})
    train, fake = (judged.seen(metric.features, what) for what in ("train", "samples"))
    result = metric.closest(ReferenceSet(fake[:0], train=train), fake, ROWS, min(BESIDE, len(train)))
    rows = [
        torch.cat([judged.specimens.samples[sample][None], judged.train.real[beside]])
        for sample, beside in zip(result.sample.tolist(), result.train, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encode_png(make_grid(torch.cat(rows).numpy(), columns=len(rows[0]))))
    return path
