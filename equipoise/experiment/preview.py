"""What a run is looked at by: latents, labels or inputs, the same through it, and how their samples are laid out."""

from typing import Any

import torch
from torch import Tensor

from equipoise.core.data import DataSet, Split
from equipoise.core.model import Model
from equipoise.training.sheet import Sheet, columns_of

POINTS = 1024
IMAGES = 64
ROWS = 8
INPUTS = 128
"""Inputs whose samples are compared with reals now and then, of which SHOWN stand on the sheet."""
SHOWN = 24


def preview(model: Model[Any], data: DataSet, seed: int) -> tuple[Tensor, Tensor | None]:
    """Latents and labels, or inputs, of samples to look at, the same through the whole run; a column a class."""
    generator = torch.Generator().manual_seed(seed)
    if model.source is not None:
        inputs = _to_look_at(data, seed)[1].source
        return model.latent(len(inputs), generator, None), inputs
    count = POINTS if data.spec.is_points else IMAGES
    count = ROWS * model.num_classes or count
    return model.latent(count, generator, None), torch.arange(count) % model.num_classes if model.num_classes else None


def sheet(model: Model[Any], data: DataSet, seed: int) -> Sheet:
    """How the preview is laid out: a column a class, or each sample beside its input and, if it has one, its truth."""
    if model.source is None:
        return Sheet(columns=model.num_classes or None)
    split, batch = _to_look_at(data, seed)
    truth = batch.real[:SHOWN] if split in data.spec.paired else None
    return Sheet(min(SHOWN, len(batch)), columns_of(2 if truth is None else 3), batch.source[:SHOWN], truth)


def _to_look_at(data: DataSet, seed: int) -> tuple[Split, Any]:
    """A batch with inputs, held out if there are any, and its split."""
    split: Split = "train" if data.count("held_out") == 0 else "held_out"
    count = data.count(split)
    return split, data.stream(split, INPUTS if count is None else min(INPUTS, count), seed).batch(0)
