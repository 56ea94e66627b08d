"""Inspection of a set of images: size, depth, split, label and copies of each one, whatever split it is in."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from equipoise.core.data import exhaust
from equipoise.core.files import ending
from equipoise.core.inspection import InspectedImage, Inspection
from equipoise.data._files.cache import CachedFolder, decode_source
from equipoise.data._files.decoding import Decoding
from equipoise.data._files.sources import Source
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.notes import format_notes
from equipoise.data._images.sizes import read_size
from equipoise.data._images.value_statistics import ItemKind, read_item_kind
from equipoise.data._labels.assignment import Assignment
from equipoise.data._labels.layout import read_layout
from equipoise.data._pairs import ImageRows
from equipoise.errors import DataError


def inspect_images(
    source: Source, cache: Path, form: ImageFormat, decoding: Decoding, assignment: Assignment, notes: Sequence[str]
) -> Inspection:
    """Decode all images of a source, or read them from the cache, and describe each one.

    A set of which so many images are damaged that training would refuse it is inspected too.
    """
    cached, refusal = _decode_all(source, cache, decoding)
    layout = read_layout([file.path for file in source.files])
    sizes = {file.path: file.size for file in source.files}
    known: dict[bytes, ItemKind] = {}
    images = [
        InspectedImage(
            path,
            ending(path),
            sizes[path],
            *(read_size(source, path) or (0, 0)),
            read_item_kind(source, path, known).deep,
            layout.placements[path].split or "",
            assignment.images[path].label,
            cached.digests[row],
            cached.groups[row],
        )
        for row, path in enumerate(cached.paths)
        if path in layout.placements
    ]
    rows = torch.tensor([row for row, path in enumerate(cached.paths) if path in layout.placements], dtype=torch.int64)
    selected = ImageRows(cached.array, rows)

    def pixels(places: Sequence[int]) -> Tensor:
        return selected.select(torch.tensor(places, dtype=torch.int64))

    all_notes = (*notes, *refusal, *cached.notes, *format_notes(cached.facts, len(cached.paths), form))
    return Inspection(images, pixels, form.sides, form.fit, cached.skipped, dict(assignment.left_out), all_notes)


def _decode_all(source: Source, cache: Path, decoding: Decoding) -> tuple[CachedFolder, tuple[str, ...]]:
    """Return the decoded images, and the reason why training would refuse them, if it would."""
    try:
        return _fill(source, cache, decoding), ()
    except DataError as error:
        key = {**decoding.key, "data": "inspection"}  # Training must not take this entry for one that it accepted.
        try:
            cached = _fill(source, cache, dataclasses.replace(decoding, key=key, tolerance=1.0))
        except DataError:  # There is no usable image.
            raise error from None
        return cached, (f"training would be refused: {error}",)


def _fill(source: Source, cache: Path, decoding: Decoding) -> CachedFolder:
    return exhaust(decode_source(source, cache, decoding))
