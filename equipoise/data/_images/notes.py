"""Notes for the user on images: how many there are, and how they were converted by the facts counted meanwhile."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from equipoise.core.printing import agree, format_count
from equipoise.data._images.decoding import BRIGHT, DARK_BITS, VALUE_STEP
from equipoise.data._images.image_format import ImageFormat

MANY_IMAGES = 300_000
"""Number of images from which on a folder is large."""
LOW_CONTRAST = 64
"""Range of the values of a set, of 255, below which its contrast is reported as little."""


def size_notes(location: Path, count: int, target: ImageFormat) -> Iterator[str]:
    """Yield a note before a large folder of `count` images is decoded: how much disk space that takes."""
    if count >= MANY_IMAGES and location.is_dir():
        gigabytes = count * math.prod(target.shape) * np.dtype(target.dtype).itemsize / 1e9
        yield (
            f"{count:,} images are decoded into a cache of {gigabytes:,.0f} GB; --data image_shards trains without one "
            "(docs/how-to/large-data.md)"
        )


def format_notes(facts: Mapping[str, int], count: int, target: ImageFormat) -> Iterator[str]:
    """Yield notes on how `count` images were converted. Facts that an older cache does not have count as 0."""
    total = format_count(count, "image")
    padding = "transparency" if target.keeps_alpha else target.background
    actions = {"crop": "centre-cropped", "pad": f"padded with {padding}", "stretch": "stretched"}
    size = target.size if target.width is None else target.sides.text
    composited = f"composited on {target.background} (background)"
    sentences = {
        "not_square": f"{'not square' if target.width is None else 'of another shape'}: {actions[target.fit]} (fit)",
        "enlarged": f"smaller than {size} pixels: enlarged (image_size)",
        "shrunk": f"larger than {size} pixels: shrunk (image_size)",
        "transparent": f"partly transparent: {'kept (alpha)' if target.keeps_alpha else composited}",
        "pages": "the first of several pages or frames: the others are not used",
        "cut": "of 16 bits a channel, of which the upper 8 are used",
        "one_colour": "of a single colour",
    }
    for name, sentence in sentences.items():
        if number := facts.get(name, 0):
            yield f"{number:,} of {total} {agree(number, 'is', 'are')} {sentence}"
    if number := facts.get("outside", 0):
        yield (
            f"{number:,} of {total} {agree(number, 'has', 'have')} values outside of {target.black:g} to "
            f"{target.white:g}: clipped (data.black, data.white)"
        )
    yield from _narrow_range_notes(facts, count, target)


def _narrow_range_notes(facts: Mapping[str, int], count: int, target: ImageFormat) -> Iterator[str]:
    """Yield a note if all images of 8 bits are nearly black or nearly white, or use few of the values in between."""
    if target.black is not None or not count or facts.get("one_colour", 0) == count:
        return
    used = [bits for bits in range(9) if facts.get(f"up_to_{bits}", 0)]
    if used and max(used) <= DARK_BITS and sum(facts.get(f"up_to_{bits}", 0) for bits in used) == count:
        highest = 2 ** max(used) - 1
        yield (
            f"all images are nearly black: no value is above {highest} of 255; if they are label maps or use fewer "
            f"bits, set data.white={highest}"
        )
        return
    if facts.get("bright", 0) == count:
        yield f"all images are nearly white: no value is below {BRIGHT} of 255; set data.black={BRIGHT}"
        return
    steps = range(256 // VALUE_STEP)
    if sum(facts.get(f"from_{step}", 0) for step in steps) == count:
        low = VALUE_STEP * min(step for step in steps if facts.get(f"from_{step}", 0))
        high = VALUE_STEP * max(step for step in steps if facts.get(f"to_{step}", 0)) + VALUE_STEP - 1
        if high - low < LOW_CONTRAST:
            yield (
                f"all images have little contrast: their values are from {low} to {high} of 255; to use the whole "
                f"range, set data.black={low} data.white={high}"
            )
