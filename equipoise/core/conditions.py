"""Conditions of a model: the labels or captions that its generator takes in addition to a latent."""

import torch
from torch import Tensor

from equipoise.core.knobs import Knobs
from equipoise.core.model import Model


def takes_conditions(model: Model[Knobs]) -> bool:
    """Return whether the generator takes a label or a caption; inputs of translation are none."""
    return model.num_classes > 0 or model.captions is not None


def conditions_in_turn(model: Model[Knobs], count: int) -> Tensor | None:
    """Return each class in turn, (count,) int64, or each example of a caption, (count, T) int64; None without them."""
    if model.captions is not None:
        return model.captions.in_turn(count)
    return torch.arange(count) % model.num_classes if model.num_classes else None
