"""Statistics of the values of those images of a set that have more than 8 bits, stored so that they are read once."""

import json
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.data import Preparation
from equipoise.core.files import NPY_START
from equipoise.data._files.decoding import Decoded, decode_files
from equipoise.data._files.listing import content_digest, save_json
from equipoise.data._files.sources import Source
from equipoise.data._images.formats import EIGHT_BIT_ENDINGS, PNG_START, open_image
from equipoise.data._images.pixel_values import (
    Layout,
    PixelValues,
    detect_layout,
    is_ambiguous,
    is_array,
    is_deep,
    read_array,
    read_array_header,
    read_picture_values,
    split_alpha,
)
from equipoise.errors import DataError

VERSION = 3
"""Version of the statistics; incremented when they change."""
TASK = "measuring values"
MAX_MEASURED = 4000
"""Largest number of images whose values are read: more would change the percentiles little."""
MAX_VALUES, MIN_VALUES_PER_IMAGE, MAX_VALUES_PER_IMAGE = 8_000_000, 64, 4096
"""Numbers of values that are kept for the percentiles, in total and of one image."""
PERCENTILES = (0.1, 1.0, 50.0, 99.0, 99.9)
HEADER_BYTES = 128
PNG_DEPTH_BYTE = 24
"""Place of the bit depth in a PNG file (ISO/IEC 15948, IHDR)."""
BORDER_SHARE = 1 / 8
"""Width of the border of an image, as a share of its sides."""
MARK_VALUES = 16
"""Smallest number of other values from which a lonely extreme value counts as a mark of missing values."""
MARK_SHARE = 0.001
HEAD = 5
"""Number of statistics before the values in a row: low, high, border, centre, and whether all are whole numbers."""
TYPE_LIMITS, HUGE = (2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1), 1e15
"""Large values that mark missing values: the largest ones of whole numbers, and those that fractions use."""


class ItemKind(NamedTuple):
    """Properties of an image in its header. `layout`: of an array with channels. `ambiguous`: whether it could be both.

    `readable`: whether there is a header.
    """

    deep: bool = False
    layout: Layout | None = None
    ambiguous: bool = False
    readable: bool = True


@dataclass(frozen=True, slots=True)
class ValueStatistics:
    """Statistics of the values of a set of images.

    `images`, `deep`, `measured`: number of images with a header, of those with more than 8 bits, and of those that were
    read. `types`: number of measured images per type, such as uint16. `layouts`: number of arrays per layout;
    `ambiguous`: of those that could be both. `whole`: whether all values are whole numbers; `mixed`: whether some
    images have whole numbers and others fractions; `kind_ratio`: of the largest values of both kinds, 1 otherwise.
    `low`, `high`: extremes without `mark`, a value far from all others; `mark_share`: its share. `inner_low`,
    `inner_high`: extremes without rare values that are far from the others. `quantiles`: at PERCENTILES. `highest`:
    number of images per bits of their largest value. `constant`: number of images with a single value; `inverted`:
    whose smaller values are brighter, as their file says; `bright_borders`, `dark_borders`: whose border is far
    brighter or darker than their centre.
    """

    images: int
    deep: int = 0
    measured: int = 0
    types: Mapping[str, int] = field(default_factory=dict)
    layouts: Mapping[str, int] = field(default_factory=dict)
    ambiguous: int = 0
    whole: bool = True
    mixed: bool = False
    kind_ratio: float = 1.0
    low: float = 0.0
    high: float = 0.0
    inner_low: float = 0.0
    inner_high: float = 0.0
    quantiles: tuple[float, ...] = (0.0,) * len(PERCENTILES)
    mark: float | None = None
    mark_share: float = 0.0
    highest: Mapping[str, int] = field(default_factory=dict)
    constant: int = 0
    inverted: int = 0
    bright_borders: int = 0
    dark_borders: int = 0


def measure_values(source: Source, cache: Path) -> Generator[Preparation, None, ValueStatistics]:
    """Measure the images of a source, or return what the cache holds on the same files. Yields progress."""
    path = cache / "index" / f"{content_digest(str(source.location).encode('utf-8', 'surrogateescape'))}.values.json"
    files = content_digest(json.dumps([VERSION, [list(file) for file in source.files]]).encode())
    stored = _load(path, files)
    if stored is not None:
        return stored
    result = yield from _measure(source)
    if any(not file.path.lower().endswith(EIGHT_BIT_ENDINGS) for file in source.files):
        save_json(cache, path, {"files": files, "statistics": asdict(result)})
    return result


def _load(path: Path, files: str) -> ValueStatistics | None:
    """Return stored statistics; None if there are none on these files."""
    try:
        content = json.loads(path.read_text())
        if content["files"] != files:
            return None
        values = content["statistics"]
        return ValueStatistics(**{**values, "quantiles": tuple(values["quantiles"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measure(source: Source) -> Generator[Preparation, None, ValueStatistics]:
    paths = [file.path for file in source.files]
    known: dict[bytes, ItemKind] = {}
    kinds = {
        path: read_item_kind(source, path, known) for path in paths if not path.lower().endswith(EIGHT_BIT_ENDINGS)
    }
    layouts: Counter[str] = Counter(kind.layout for kind in kinds.values() if kind.layout)
    readable = len(paths) - sum(not kind.readable for kind in kinds.values())
    base = ValueStatistics(readable, layouts=dict(layouts), ambiguous=sum(kind.ambiguous for kind in kinds.values()))
    deep = [file for file in source.files if file.path in kinds and kinds[file.path].deep]
    step = -(-len(deep) // MAX_MEASURED)
    chosen = deep[:: step or 1]
    if not chosen:
        return base
    limit = min(MAX_VALUES_PER_IMAGE, max(MIN_VALUES_PER_IMAGE, MAX_VALUES // len(chosen)))
    layout: Layout | None = "NCHW" if layouts["NCHW"] > layouts["NHWC"] else "NHWC" if layouts else None
    rows: list[npt.NDArray[np.float64]] = []
    facts: Counter[str] = Counter()
    for number, read in enumerate(decode_files(source, chosen, partial(_read_values, limit, layout)), start=1):
        if read.rows is not None:
            rows.append(read.rows.astype(np.float64, copy=False))
            facts.update(read.facts)
        yield Preparation(TASK, number, len(chosen))
    return _summarise(base, len(deep), rows, facts) if rows else base


def read_item_kind(source: Source, path: str, known: dict[bytes, ItemKind]) -> ItemKind:
    """Return the properties in the header of an item; `known`: those of arrays, by the start of their files."""
    try:
        with source.open(path) as file:
            start = file.read(HEADER_BYTES)
            if start.startswith(PNG_START):
                return ItemKind(start[PNG_DEPTH_BYTE] == 16)
            if start in known:
                return known[start]
            file.seek(0)
            if not is_array(start):
                return ItemKind(is_deep(open_image(file)))
            header = read_array_header(file)
            is_eight_bit = header.dtype in (np.dtype(np.uint8), np.dtype(np.bool_))
            kind = ItemKind(not is_eight_bit, detect_layout(header.shape), is_ambiguous(header.shape))
            if start.startswith(NPY_START):
                known[start] = kind
            return kind
    except Exception:  # Decoding reports the reason.
        return ItemKind(readable=False)


def _read_values(limit: int, layout: Layout | None, content: bytes, path: str) -> Decoded:
    """Return the statistics of one image, and at most about `limit` of its values: (HEAD + N,) float64."""
    pixels = _load_values(content, layout)
    values = pixels.values
    if not np.isfinite(values).all():
        raise DataError("not finite")
    flat = values.reshape(-1)
    step = -(-len(flat) // limit)
    step += 1 - step % 2 if step > 1 else 0  # odd, so that not only every second column is sampled
    sample = flat[::step].astype(np.float64)
    height, width = values.shape[:2]
    rows, columns = (max(1, int(side * BORDER_SHARE)) for side in (height, width))
    inner = values[rows : height - rows, columns : width - columns].astype(np.float64)
    total, inside = float(values.sum(dtype=np.float64)), float(inner.sum())
    centre = inside / max(1, inner.size)
    border = (total - inside) / max(1, values.size - inner.size)
    low, high = float(values.min()), float(values.max())
    is_whole = values.dtype.kind in "iu" or bool((sample == np.rint(sample)).all() and high > 1)
    facts = {
        f"type {values.dtype.name}": 1,
        f"highest {int(high).bit_length() if is_whole and 0 <= high < 2**63 else 64}": 1,
        "whole": int(is_whole),
        "constant": int(low == high),
        "inverted": int(pixels.inverted),
    }
    return Decoded(np.concatenate([[low, high, border, centre, float(is_whole)], sample]), facts)


def _load_values(content: bytes, layout: Layout | None) -> PixelValues:
    try:
        return split_alpha(read_array(content, layout)) if is_array(content) else read_picture_values(content)
    except DataError:
        raise
    except Exception as error:  # Decoders raise many types of errors for invalid bytes.
        raise DataError("damaged or truncated") from error


def _summarise(
    base: ValueStatistics, deep: int, rows: list[npt.NDArray[np.float64]], facts: Mapping[str, int]
) -> ValueStatistics:
    heads = np.stack([row[:HEAD] for row in rows])
    sample = np.sort(np.concatenate([row[HEAD:] for row in rows]))
    mark, share = _find_mark(sample)
    ends = heads[:, :2].ravel()
    if mark is not None:
        sample, ends = sample[sample != mark], ends[ends != mark]
    quantiles = tuple(float(value) for value in np.percentile(sample, PERCENTILES))
    values = np.unique(np.concatenate([sample, ends]))
    inner_low, inner_high = _inner_ends(values, quantiles[0], quantiles[-1])
    contrast = (heads[:, 2] - heads[:, 3]) / max(quantiles[-1] - quantiles[0], 1e-300)
    return ValueStatistics(
        base.images,
        deep,
        len(rows),
        types={name.removeprefix("type "): count for name, count in facts.items() if name.startswith("type ")},
        layouts=base.layouts,
        ambiguous=base.ambiguous,
        whole=facts["whole"] == len(rows),
        mixed=0 < facts["whole"] < len(rows),
        kind_ratio=_kind_ratio(heads),
        low=float(values[0]),
        high=float(values[-1]),
        inner_low=inner_low,
        inner_high=inner_high,
        quantiles=quantiles,
        mark=mark,
        mark_share=share,
        highest={name.removeprefix("highest "): count for name, count in facts.items() if name.startswith("highest ")},
        constant=facts["constant"],
        inverted=facts["inverted"],
        bright_borders=int((contrast > 0.3).sum()) if mark is None else 0,
        dark_borders=int((contrast < -0.3).sum()) if mark is None else 0,
    )


def _kind_ratio(heads: npt.NDArray[np.float64]) -> float:
    """Return the ratio of the largest absolute values of whole numbers and of fractions, at least 1."""
    largest, is_whole = np.abs(heads[:, :2]).max(axis=1), heads[:, 4] > 0
    if is_whole.all() or not is_whole.any():
        return 1.0
    whole, fractions = float(largest[is_whole].max()), float(largest[~is_whole].max())
    return max(whole, fractions) / max(min(whole, fractions), 1e-300)


def _find_mark(sample: npt.NDArray[np.float64]) -> tuple[float | None, float]:
    """Return an extreme value that marks missing values, such as -9999, and its share; None if there is none.

    It is exactly repeated, and farther from the others than these are spread: a negative value, or the largest one of
    a type, or one that no physical unit has.
    """
    low, high = float(sample[0]), float(sample[-1])
    candidates = [low] * (low < 0) + [high] * (high in TYPE_LIMITS or high > HUGE)
    for extreme in candidates:
        rest = sample[sample != extreme]
        share = 1 - len(rest) / len(sample)
        if share < MARK_SHARE or len(np.unique(rest)) < MARK_VALUES:
            continue
        gap = rest[0] - extreme if extreme == low else extreme - rest[-1]
        if gap > rest[-1] - rest[0]:
            return extreme, share
    return None, 0.0


def _inner_ends(values: npt.NDArray[np.float64], bottom: float, top: float) -> tuple[float, float]:
    """Return the extremes of sorted values up to the first wide gap beyond the percentiles `bottom` and `top`."""
    widest = (top - bottom) / 2
    above, below = values[values >= top], values[values <= bottom][::-1]
    far_above, far_below = np.flatnonzero(np.diff(above) > widest), np.flatnonzero(-np.diff(below) > widest)
    high = above[far_above[0]] if len(far_above) else values[-1]
    low = below[far_below[0]] if len(far_below) else values[0]
    return float(low), float(high)
