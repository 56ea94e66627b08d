"""Inputs of the sample grids of a run, the same from its start to its end, and the layout of their samples."""

import torch

from equipoise.core.conditions import conditions_in_turn
from equipoise.core.data import DataSet, Split
from equipoise.core.knobs import Knobs
from equipoise.core.model import AnyBatch, Model
from equipoise.training.plan import Preview
from equipoise.training.sample_layout import SampleLayout, columns_for_groups

POINTS = 1024
IMAGES = 64
"""Number of samples in a grid: of points, and of images without labels."""
ROWS = 8
"""Images per class, or per caption."""
CAPTIONS = 8
"""Number of captions in a grid."""
TRANSLATION_INPUTS = 128
"""Number of inputs whose samples are compared with real samples at readings."""
DISPLAYED_INPUTS = 24
"""Number of these inputs in the sample grid."""


def make_preview(model: Model[Knobs], data: DataSet, seed: int) -> Preview:
    """Return latents and labels, captions or inputs for the sample grids; one column per class or caption."""
    generator = torch.Generator().manual_seed(seed)
    if model.source is not None:
        inputs = _preview_batch(data, seed)[1].source
        return Preview(model.latent(len(inputs), generator, None), inputs)
    count = POINTS if data.spec.is_points else IMAGES
    columns = _columns(model)
    count = ROWS * columns or count
    latents = model.latent(count, generator, None)
    conditions = conditions_in_turn(model, columns)
    return Preview(latents, None if conditions is None else conditions[torch.arange(count) % columns])


def make_sample_layout(model: Model[Knobs], data: DataSet, seed: int) -> SampleLayout:
    """Return the layout of the samples: a column per class or caption, or each next to its input and known target."""
    if model.source is None:
        return SampleLayout(columns=_columns(model) or None)
    split, batch = _preview_batch(data, seed)
    target = batch.real[:DISPLAYED_INPUTS] if split in data.spec.paired else None
    columns = columns_for_groups(2 if target is None else 3)
    return SampleLayout(min(DISPLAYED_INPUTS, len(batch)), columns, batch.source[:DISPLAYED_INPUTS], target)


def _columns(model: Model[Knobs]) -> int:
    """Return the number of classes, or of captions in a grid; 0 without them."""
    return model.num_classes if model.captions is None else min(CAPTIONS, len(model.captions.examples))


def _preview_batch(data: DataSet, seed: int) -> tuple[Split, AnyBatch]:
    """Return a batch with inputs and its split: held-out if there is such data, else training data."""
    split: Split = "train" if data.count("held_out") == 0 else "held_out"
    count = data.count(split)
    return split, data.stream(
        split, TRANSLATION_INPUTS if count is None else min(TRANSLATION_INPUTS, count), seed
    ).batch(0)
