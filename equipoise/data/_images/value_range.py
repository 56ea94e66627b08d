"""The range of the values of a set of images that are not all of 8 bits: which value is black, and which is white."""

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from equipoise.core.data import Preparation
from equipoise.core.printing import agree, format_count
from equipoise.data._files.sources import Source
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.pixel_values import Layout
from equipoise.data._images.value_statistics import ValueStatistics, measure_values
from equipoise.errors import DataError, SettingError

DEPTHS = (1, 2, 4, 8, 10, 12, 14, 16, 24, 32, 48, 64)
"""Bit depths of sensors and files, of which the smallest that holds all values is assumed."""
FEW_IMAGES = 0.05
"""Share of images up to which their much higher values count as defects, such as hot pixels."""
FAR_BITS = 4
"""Number of bits by which rare values, even if of many images, exceed the others so far that they are clipped."""
NARROW = 1 / 4
"""Share of a scale below which the range that is used replaces it."""
TOLERANCE = 0.02
"""Overshoot of resampled fractions beyond [0, 1] or [-1, 1], as a share of the scale."""
BYTES_HIGH = 128
"""Smallest maximum of fractions that count as scaled to [0, 255]."""
TAIL_MIDDLE, TAIL_END = 0.1, 0.35
"""Highest median and 99th percentile, as shares of the scale, of heavy-tailed values."""
MIN_GROUP = 0.1
"""Smallest share of images that count as a group."""
INCOMPARABLE = 8
"""Ratio of ranges from which whole numbers and fractions have no common scale."""


class ValueRange(NamedTuple):
    """How the values of a set of images are scaled.

    `black`, `white`: values that become -1 and 1, in the unit of the files; None if every image is of 8 bits and
    neither was set. `layout`: of arrays with channels, None if there are none. `full_scale`: whether images of 8 bits
    keep their own scale of 0 to 255, because the set also has deeper ones. `notes`: information for the user.
    """

    black: float | None = None
    white: float | None = None
    layout: Layout | None = None
    full_scale: bool | None = None
    notes: tuple[str, ...] = ()

    def apply(self, form: ImageFormat) -> ImageFormat:
        """Return the target format with this range."""
        return form._replace(black=self.black, white=self.white, layout=self.layout, full_scale=self.full_scale)


class ValueScale(NamedTuple):
    """Values that become black and white, and the reason as a phrase."""

    black: float
    white: float
    reason: str


def measure_range(source: Source, cache: Path, options: ValueRange) -> Generator[Preparation, None, ValueRange]:
    """Measure the range of the images of a source that are not of 8 bits; only these are read.

    `options`: what the user set, None for values to be measured. The result is stored in the cache, so that files which
    did not change are not read again. Yields progress. Raises SettingError if black equals white, DataError if the
    images have no common scale.
    """
    statistics = yield from measure_values(source, cache)
    return choose_range(statistics, options)


def choose_range(statistics: ValueStatistics, options: ValueRange) -> ValueRange:
    """Return the range for a set of images: what the user set, and the rest from its statistics."""
    layout, notes = _choose_layout(statistics, options.layout)
    if not statistics.measured:
        if options.black is None and options.white is None:
            return ValueRange(layout=layout, notes=notes)
        black, white = options.black or 0.0, 255.0 if options.white is None else options.white
        _check(black, white)
        return ValueRange(black, white, layout, bool(options.full_scale), notes)
    if options.black is None or options.white is None:
        _check_kinds(statistics)
    scale = choose_scale(statistics)
    black = scale.black if options.black is None else options.black
    white = scale.white if options.white is None else options.white
    _check(black, white)
    has_bytes = statistics.deep < statistics.images
    full_scale = has_bytes if options.full_scale is None else options.full_scale
    is_set = options.black is not None or options.white is not None
    used = ValueScale(black, white, "as set" if is_set else scale.reason)
    notes = (*notes, *_depth_notes(statistics, used, full_scale=full_scale), *_warnings(statistics, used))
    return ValueRange(black, white, layout, full_scale, notes)


def _check(black: float, white: float) -> None:
    if not (math.isfinite(black) and math.isfinite(white)):
        raise SettingError(f"data.black = {black:g}, data.white = {white:g}: they must be finite numbers")
    if black == white:
        raise SettingError(f"data.black = data.white = {white:g}: they must differ")


def _check_kinds(statistics: ValueStatistics) -> None:
    """Raise DataError for whole numbers and fractions of different scales in one set."""
    if statistics.mixed and statistics.kind_ratio > INCOMPARABLE:
        types = ", ".join(f"{count:,} of {name}" for name, count in sorted(statistics.types.items()))
        raise DataError(
            f"the images have different kinds of values ({types}) up to {_number(statistics.high)}, without a common "
            "scale; convert them to one type, or set data.black and data.white"
        )


def _choose_layout(statistics: ValueStatistics, layout: Layout | None) -> tuple[Layout | None, tuple[str, ...]]:
    """Return the layout of arrays, as set or from their shapes, and notes on it."""
    if not statistics.layouts:
        return None, ()
    chosen = layout or ("NHWC" if statistics.layouts.get("NHWC", 0) >= statistics.layouts.get("NCHW", 0) else "NCHW")
    order = "height, width, channels" if chosen == "NHWC" else "channels, height, width"
    reason = "as set" if layout else "from their shape"
    doubt = "; both ends have the length of channels" if statistics.ambiguous and not layout else ""
    result: Layout = "NHWC" if chosen == "NHWC" else "NCHW"
    return result, (f"the axes of the arrays are read as {order}, {reason}{doubt} (data.layout={chosen})",)


def choose_scale(statistics: ValueStatistics) -> ValueScale:
    """Return the scale that a set of images uses."""
    low, high = statistics.low, statistics.high
    if low == high:
        return ValueScale(low, low + 1, "all values are equal")
    if statistics.whole and low >= 0:
        return _whole_scale(statistics)
    return _fraction_scale(statistics)


def _whole_scale(statistics: ValueStatistics) -> ValueScale:
    """Return the scale of whole numbers: from 0 to the end of the depth that is used, or only the range that is."""
    low, high = statistics.inner_low, statistics.inner_high
    depth, usual = (_depth(int(value).bit_length()) for value in (statistics.high, high))
    reason = f"{depth} bits are used"
    higher = sum(count for bits, count in statistics.highest.items() if int(bits) > usual)
    if depth > usual and (depth - usual >= FAR_BITS or higher <= FEW_IMAGES * statistics.measured):
        reason = f"{usual} bits are used, except by a few values up to {_number(statistics.high)}, which are clipped"
        depth = usual
    full = 2.0**depth - 1
    if high - low < NARROW * full and low > 0:
        return ValueScale(low, high, f"only {_percent((high - low) / full)} of {depth} bits are used")
    return ValueScale(0.0, full, reason)


def _depth(bits: int) -> int:
    """Return the smallest usual depth that holds numbers of this many bits."""
    return next(depth for depth in DEPTHS if depth >= bits)


def _fraction_scale(statistics: ValueStatistics) -> ValueScale:
    """Return the scale of fractions and signed numbers: a usual one that they use, or from end to end."""
    low, high = statistics.inner_low, statistics.inner_high
    is_clipped = (low, high) != (statistics.low, statistics.high)
    spread = high - low
    for black, white in ((0.0, 1.0), (-1.0, 1.0)):
        margin = TOLERANCE * (white - black)
        fits = black - margin <= low and high <= white + margin
        if fits and spread >= NARROW * (white - black) and (black == 0 or low < -margin):
            return ValueScale(black, white, f"scale [{black:g}, {white:g}]")
    if -1 <= low < BYTES_HIGH / 2 and BYTES_HIGH <= high <= 256:
        return ValueScale(0.0, 255.0, "scale [0, 255]")
    reason = "from the lowest to the highest value"
    if is_clipped:
        reason += ", except a few values far from all others, which are clipped"
    return ValueScale(low, high, reason)


def _depth_notes(statistics: ValueStatistics, scale: ValueScale, *, full_scale: bool) -> Iterator[str]:
    """Yield notes on what was measured, and on the scale that is used."""
    total = format_count(statistics.images, "image")
    types = " and ".join(sorted(statistics.types))
    verb = agree(statistics.deep, "has", "have")
    yield (
        f"{statistics.deep:,} of {total} {verb} more than 8 bits ({types}), with values from {_number(statistics.low)} "
        f"to {_number(statistics.high)}: {scale.reason}; {_number(scale.black)} becomes black, "
        f"{_number(scale.white)} white (data.black, data.white)"
    )
    if eight := statistics.images - statistics.deep:
        own = "keep their own scale of 0 to 255" if full_scale else "are scaled alike"
        yield f"{eight:,} of {total} {agree(eight, 'has', 'have')} 8 bits, and {own} (data.full_scale)"
    if statistics.measured < statistics.deep:
        yield f"the values were measured on {statistics.measured:,} of these {statistics.deep:,} images"
    if statistics.mark is not None:
        yield (
            f"{statistics.mark_share:.1%} of the values are exactly {_number(statistics.mark)}, far from all others: "
            "taken as marks of missing values, and clipped"
        )
    if number := statistics.inverted:
        yield f"{number:,} of {total} {agree(number, 'says', 'say')} that 0 is white: inverted"


def _warnings(statistics: ValueStatistics, scale: ValueScale) -> Iterator[str]:
    """Yield notes on what may be wrong with the values or the scale."""
    if number := statistics.constant:
        total = format_count(statistics.measured, "deep image")
        yield f"{number:,} of {total} {agree(number, 'has', 'have')} a single value"
    yield from _tail_notes(statistics, scale)
    yield from _group_notes(statistics)
    bright, dark = statistics.bright_borders, statistics.dark_borders
    if statistics.whole and bright >= (1 - MIN_GROUP) * statistics.measured:
        yield (
            f"the borders of {bright:,} images are far brighter than their centres; if they are negatives, "
            f"data.black={_plain(scale.white)} data.white={_plain(scale.black)} inverts them"
        )
    elif statistics.whole and min(bright, dark) >= MIN_GROUP * statistics.measured:
        yield f"{bright:,} images have far brighter borders than centres, {dark:,} far darker: some may be negatives"


def _tail_notes(statistics: ValueStatistics, scale: ValueScale) -> Iterator[str]:
    """Yield a note if most values are near black and a few are far brighter."""
    _, _, middle, nearly_all, _ = statistics.quantiles
    spread = scale.white - scale.black
    if (
        spread > 0
        and nearly_all > scale.black
        and (middle - scale.black) < TAIL_MIDDLE * spread
        and (nearly_all - scale.black) < TAIL_END * spread
    ):
        share = max(0.0, (nearly_all - scale.black) / spread)
        yield (
            f"99% of the values are in the lowest {share:.0%} of this scale, so the images are dark: "
            f"data.white={_plain(nearly_all)} (the 99th percentile) brightens them, or store logarithms"
        )


def _group_notes(statistics: ValueStatistics) -> Iterator[str]:
    """Yield a note if the images form two groups of different depth."""
    if not statistics.whole or not statistics.measured:
        return
    depths: dict[int, int] = {}
    for bits, count in statistics.highest.items():
        depth = _depth(int(bits))
        depths[depth] = depths.get(depth, 0) + count
    groups = {depth: count for depth, count in depths.items() if count >= MIN_GROUP * statistics.measured}
    if len(groups) == 2 and max(groups) - min(groups) >= FAR_BITS:
        (low, few), (high, many) = sorted(groups.items())
        yield (
            f"{few:,} images use at most {low} bits and {many:,} use {high}, and all are scaled alike; if they come "
            "from different devices, convert them to one scale"
        )


def _percent(share: float) -> str:
    """Return a share with one digit that is not 0: 12.5%, 0.02%."""
    return f"{share:.1%}" if share >= 0.001 else f"{100 * share:.1g}%"


def _number(value: float) -> str:
    """Return a value for a message: 4,095, -0.25, 8,848.9."""
    if value == round(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 or abs(value) >= 1e9 else f"{value:,.1f}"


def _plain(value: float) -> str:
    """Return a value as it is written in an option: 4095, 0.25."""
    return str(int(value)) if value == round(value) else f"{value:.4g}"
