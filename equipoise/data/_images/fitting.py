"""Fitting of images to the target format: resizing, cropping or padding, and joining of their channels.

Downsampled with Pillow's Lanczos filter over all covered pixels: nearest or bilinear sampling without antialiasing
aliases (Parmar, Zhang and Zhu 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation").
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.data._images.image_format import ImageFormat

REDUCING_GAP = 2.0
"""Factor above the target size to which an image is first decoded or averaged.

Pillow's documentation of `reducing_gap` calls the result close to fair resampling from 2.0 on.
"""


def backdrop(target: ImageFormat) -> float:
    """Return the background in [-1, 1]."""
    return 1.0 if target.background == "white" and not target.keeps_alpha else -1.0


def fit_planes(planes: list[Image.Image], target: ImageFormat) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Return the pixels in the target format: (3 or 4, height, width)."""
    return merge_planes([np.asarray(_fitted(plane, target)) for plane in planes], planes[0].mode, target)


def merge_planes(
    arrays: list[npt.NDArray[np.uint8]], mode: str, target: ImageFormat
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Return one array (3 or 4, H, W) of an RGB image, or of 1 or 3 planes of floats and, if kept, the opacity."""
    if mode == "RGB":
        pixels: npt.NDArray[np.uint8] = arrays[0].transpose(2, 0, 1)
        return pixels if target.black is None else pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    values = np.stack(arrays).astype(np.float32)
    if not target.keeps_alpha:
        return np.repeat(np.clip(values, -1, 1), 3 // len(arrays), axis=0)
    opaque = _within_opacity(((values + 1) / 2).astype(np.float32))
    result = np.concatenate([np.repeat(opaque[:-1], 3 // (len(arrays) - 1), axis=0), opaque[-1:]])
    return np.round(255 * result).astype(np.uint8) if target.dtype == "uint8" else 2 * result - 1


def _within_opacity(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Limit colours times opacity, and opacity, (C + 1, H, W), to [0, 1], so that colours do not change.

    The lobes of the filter lead beyond opacity 1 next to an edge; clipped alone, its colours would be too bright there.
    """
    opacity = values[-1:].clip(0, 1)
    colours = np.divide(values[:-1], values[-1:], out=np.zeros_like(values[:-1]), where=values[-1:] > 0)
    return np.concatenate([colours.clip(0, 1) * opacity, opacity])


def _fitted(picture: Image.Image, target: ImageFormat) -> Image.Image:
    """Resize an image to the target's sides: cropped around its centre, padded with the background, or stretched."""
    (width, height), (new_height, new_width) = picture.size, target.sides
    is_wider, is_same = width * new_height > height * new_width, width * new_height == height * new_width
    if target.fit == "crop":
        inner_width, inner_height = width * 1.0, height * 1.0
        if is_wider:
            inner_width = height * new_width / new_height
        else:
            inner_height = width * new_height / new_width
        left, top = (width - inner_width) / 2, (height - inner_height) / 2
        return _resize(picture, (new_width, new_height), (left, top, left + inner_width, top + inner_height))
    if target.fit == "stretch" or is_same:
        return _resize(picture, (new_width, new_height), (0, 0, width, height))
    if is_wider:
        inside = (new_width, max(1, round(new_width * height / width)))
    else:
        inside = (max(1, round(new_height * width / height)), new_height)
    colour: float | str = backdrop(target) if picture.mode == "F" else target.background
    canvas = Image.new(picture.mode, (new_width, new_height), colour)
    corner = ((new_width - inside[0]) // 2, (new_height - inside[1]) // 2)
    canvas.paste(_resize(picture, inside, (0, 0, width, height)), corner)
    return canvas


def _resize(picture: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    return picture.resize(size, Image.Resampling.LANCZOS, box, REDUCING_GAP)
