"""Application of a fully convolutional network to images of any size: padding to its multiple, tiles for large images.

A network of d layers of stride 2 and as many transposed ones keeps the size of images whose sides are multiples of 2^d.
Other images are padded by reflection, and the result is cropped. The memory of a network grows with the area of the
image; a large image is therefore processed in overlapping tiles, which are cross-faded.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

MAX_AREA = 1024 * 1024
"""Largest number of pixels of a result that are computed at once: the generators of the papers need 1 to 2 GB."""
OVERLAP = 128
"""Width in pixels of the result in which two tiles are cross-faded."""


def apply_at_native_size(network: Callable[[Tensor], Tensor], images: Tensor, multiple: int, scale: int = 1) -> Tensor:
    """Apply a network to images (N, C, H, W) of any size: (N, C', H, W), or `scale` times these sides.

    `network` keeps the size of images whose sides are multiples of `multiple`, or enlarges them by `scale`.
    """
    height, width = images.shape[2:]
    if math.prod(_padded(side, multiple) for side in (height, width)) * scale**2 <= MAX_AREA:
        sides = [(_padded(side, multiple) - side) // 2 for side in (height, width)]
        top, left = sides
        padded = pad_by_reflection(images, *((side, _padded(side, multiple)) for side in (height, width)))
        return _crop(network(padded), (top, left), (height, width), scale)
    return _apply_to_tiles(network, images, multiple, scale)


def _crop(images: Tensor, corner: tuple[int, int], sides: tuple[int, int], scale: int) -> Tensor:
    """Return a part of images; `corner`: its top and left, and its `sides`, both before the enlargement by `scale`."""
    (top, left), (height, width) = corner, sides
    return images[:, :, scale * top : scale * (top + height), scale * left : scale * (left + width)]


def pad_by_reflection(images: Tensor, *sides: tuple[int, int]) -> Tensor:
    """Extend images (N, C, H, W) to new sides, half of it before and half behind, by reflection without the edge.

    `sides`: old and new height, old and new width. Unlike torch's padding, the extension may exceed the side.
    """
    rows, columns = (_reflected(old, new) for old, new in sides)
    return images[:, :, rows[:, None], columns]


def _reflected(old: int, new: int) -> Tensor:
    """Return the index of the pixel that is at each of `new` positions."""
    period = max(1, 2 * (old - 1))
    positions = (torch.arange(new) - (new - old) // 2) % period
    return torch.minimum(positions, period - positions) if old > 1 else torch.zeros(new, dtype=torch.int64)


def _padded(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple


def _apply_to_tiles(network: Callable[[Tensor], Tensor], images: Tensor, multiple: int, scale: int) -> Tensor:
    """Apply a network to overlapping tiles of equal size, and sum the results, weighted by ramps that add up to 1."""
    height, width = images.shape[2:]
    side, overlap = math.isqrt(MAX_AREA) // scale, OVERLAP // scale
    (rows, tile_height), (columns, tile_width) = (_tiles(length, multiple, side, overlap) for length in (height, width))
    new_sides = [steps[-1] + tile for steps, tile in ((rows, tile_height), (columns, tile_width))]
    padded = pad_by_reflection(images, (height, new_sides[0]), (width, new_sides[1]))
    result: Tensor | None = None
    for top in rows:
        for left in columns:
            tile = network(padded[:, :, top : top + tile_height, left : left + tile_width])
            if result is None:
                result = tile.new_zeros(tile.shape[0], tile.shape[1], *(scale * side for side in new_sides))
            ramp = _ramp(tile_height, top, rows, overlap)[:, None] * _ramp(tile_width, left, columns, overlap)
            ramp = ramp.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
            _crop(result, (top, left), (tile_height, tile_width), scale).add_(tile * ramp)
    assert result is not None
    corner = (new_sides[0] - height) // 2, (new_sides[1] - width) // 2
    return _crop(result, corner, (height, width), scale)


def _tiles(length: int, multiple: int, side: int, overlap: int) -> tuple[list[int], int]:
    """Return the first pixel of each tile of a side of an image, and the size of a tile, a multiple of `multiple`.

    `side`: largest size of a tile, unless twice the overlap is more.
    """
    largest = max(side // multiple * multiple, _padded(2 * overlap, multiple))
    if length <= largest:
        return [0], _padded(length, multiple)
    count = math.ceil((length - overlap) / (largest - overlap))
    tile = _padded(math.ceil((length - overlap) / count) + overlap, multiple)
    return [index * (tile - overlap) for index in range(count)], tile


def _ramp(tile: int, start: int, starts: list[int], overlap: int) -> Tensor:
    """Return the weights of the pixels of a tile: rising and falling where it overlaps with another one."""
    weights, slope = torch.ones(tile), (torch.arange(overlap) + 0.5) / overlap
    if start != starts[0]:
        weights[:overlap] = slope
    if start != starts[-1]:
        weights[-overlap:] = 1 - slope
    return weights
