"""Samples with their nearest training reals: shows whether a model memorises."""

import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import without_balance
from equipoise.core.metric import ReferenceSet
from equipoise.errors import DataError, SettingError
from equipoise.evaluation.selection import default_features
from equipoise.evaluation.sources import open_data
from equipoise.evaluation.subject import MAX_TRAIN_REALS, EvaluationData
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import require
from equipoise.metrics.auth_pct import AuthPct
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.runs.run import EXPERIMENT_FILE, Run
from equipoise.runs.transparency import RGBA, on_checkerboard

ROWS = 12
"""Number of samples in the grid."""
NEIGHBOURS = 5
"""Number of training reals per sample."""
MAX_DRAWN_VALUES = 50_000_000
"""Largest number of float32 values of training images that are searched for the neighbours of one picture, 200 MB."""


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


def load_drawn_images(run: Run) -> Tensor:
    """Load the training images of a run as they are drawn on sheets: (N, 1 or 3, H, W) float32 in [-1, 1].

    At most 20,000, and fewer if they are large. Raises SettingError if they are no images, DataError without any.
    """
    experiment = parse_experiment(run.experiment(), str(run.folder / EXPERIMENT_FILE))
    data = without_balance(open_data(require(experiment.data, "data")).data)
    if not data.spec.is_image:
        raise SettingError(f"the data of {run.folder} are not images, so no training images can be shown")
    limit = min(MAX_TRAIN_REALS, max(1, MAX_DRAWN_VALUES // math.prod(data.spec.shape)))
    available = data.count("train")
    count = limit if available is None else min(limit, available)
    if not count:
        raise DataError(f"{run.folder} has no training images")
    real: Tensor = data.stream("train", count, 0).batch(0).real.float()
    if real.shape[1] == RGBA:
        return torch.from_numpy(on_checkerboard(real.numpy()))
    return torch.cat([real, -torch.ones_like(real[:, :1])], dim=1) if real.shape[1] == 2 else real


def draw_nearest(picture: bytes, train: Tensor, count: int = NEIGHBOURS) -> bytes:
    """Draw a picture, PNG, and the training images (N, C, H, W) whose pixels are nearest to it, as a row; return PNG.

    Raises SettingError for a picture of another size.
    """
    with Image.open(io.BytesIO(picture), formats=("PNG",)) as image:
        pixels = np.asarray(image.convert("L" if train.shape[1] == 1 else "RGB"), dtype=np.float32)
    sample = torch.from_numpy(pixels / 127.5 - 1).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    if sample.shape != train.shape[1:]:
        own, other = (" x ".join(map(str, shape)) for shape in (train.shape[1:], sample.shape))
        raise SettingError(f"the picture is {other}, but training images are {own}, so they cannot be compared")
    distances = torch.cat([(part - sample).square().flatten(1).sum(dim=1) for part in train.split(1024)])
    nearest = distances.argsort(stable=True)[:count]
    row = torch.cat([sample[None], train[nearest]])
    return encode_png(make_grid(row.numpy(), columns=len(row)))


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
