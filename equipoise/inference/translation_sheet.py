"""A sheet of inputs of a translation next to their outputs, for images of any size."""

from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from equipoise.runs.artifacts import make_grid
from equipoise.training.sample_layout import columns_for_groups, interleave_images

MAX_IMAGES = 48
"""Maximum number of input images on the sheet."""
MAX_SIDE = 256
"""Maximum side of an image on the sheet, in pixels; larger ones are reduced."""


@dataclass
class TranslationSheet:
    """Collects the first images, reduced, and draws them."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def add(self, picture: Tensor, output: Tensor) -> None:
        """Add an input and its output, (C, H, W) in [-1, 1], unless the sheet is full."""
        if len(self.inputs) < MAX_IMAGES:
            self.inputs.append(_reduce(picture))
            self.outputs.append(_reduce(output))

    def draw(self) -> Image.Image:
        """Draw all images in cells of one size, grey around those that are smaller."""
        sides = [max(image.shape[axis] for image in (*self.inputs, *self.outputs)) for axis in (1, 2)]
        both = interleave_images(
            [torch.stack([_centre(i, sides) for i in part]) for part in (self.inputs, self.outputs)]
        )
        return make_grid(both.numpy(), columns=min(columns_for_groups(2), len(both)))


def _reduce(image: Tensor) -> Tensor:
    """Copy an image, reduced so that no side is longer than MAX_SIDE."""
    factor = MAX_SIDE / max(image.shape[1:])
    if factor >= 1:
        return image.clone()
    sides = [max(1, round(side * factor)) for side in image.shape[1:]]
    return interpolate(image[None], size=sides, mode="area")[0]


def _centre(image: Tensor, sides: list[int]) -> Tensor:
    """Extend an image (C, H, W) to a cell."""
    height, width = (new - old for new, old in zip(sides, image.shape[1:], strict=True))
    return pad(image, (width // 2, width - width // 2, height // 2, height - height // 2))
