"""Files of a run other than the log, written atomically: text, images, arrays, and the samples of an event."""

import io
import json
import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.core.events import Sampled
from equipoise.errors import RunError, SettingError
from equipoise.runs import transparency

PARTIAL = ".partial"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8: it is written completely or not at all.

    Surrogates, as in file names that are not UTF-8, are written as escapes.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def encode_json(values: Mapping[str, object], name: str) -> str:
    """Return values as indented JSON. Raises SettingError for a number that JSON cannot represent; `name`: the file."""
    try:
        return json.dumps(values, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        keys = ".".join(_non_finite_keys(values))
        raise SettingError(f"{keys} is not a finite number, which {name} cannot hold; give a finite number") from error


def _non_finite_keys(value: object) -> list[str]:
    """Return the keys that lead to the first number that is not finite; empty if all numbers are finite."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        inner = _non_finite_keys(item)
        if inner or (isinstance(item, float) and not math.isfinite(item)):
            return [str(key), *inner]
    return []


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: it is written completely or not at all, also if two processes write it at once."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def check_overwrite(paths: Iterable[Path], *, force: bool, flag: str = "--out") -> None:
    """Raise RunError if files that a command is about to write exist, unless `force` is set. Folders may exist.

    `flag`: the flag that names the output.
    """
    existing = [] if force else [path for path in paths if path.is_symlink() or path.exists()]
    if existing:
        more = f" and {len(existing) - 1:,} more files of the output" if len(existing) > 1 else ""
        verb = "exist" if more else "exists"
        raise RunError(f"{existing[0]}{more} {verb} already; choose another {flag}, or replace with --force")


def write_samples(folder: Path, event: Sampled) -> str:
    """Write samples to one file: text lines, an image grid for (N, C, H, W), else an array (N, ...).

    Returns the path relative to the run folder.
    """
    folder.mkdir(exist_ok=True)
    if event.texts is not None:
        path = folder / f"step-{event.step:08d}.txt"
        write_bytes(path, encode_lines(event.texts))
        return f"{folder.name}/{path.name}"
    is_image = event.samples.ndim == 4
    path = folder / f"step-{event.step:08d}.{'png' if is_image else 'npy'}"
    content = encode_png(make_grid(event.samples, event.columns)) if is_image else encode_npy(event.samples)
    write_bytes(path, content)
    return f"{folder.name}/{path.name}"


def encode_png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def encode_lines(texts: Sequence[str]) -> bytes:
    """Encode texts in UTF-8, one per line; line breaks within a text become spaces."""
    return "".join(" ".join(text.splitlines()) + "\n" for text in texts).encode("utf-8", "backslashreplace")


def encode_npy(array: npt.NDArray[np.float32]) -> bytes:
    """Encode an array in the .npy format."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def make_grid(
    samples: npt.NDArray[np.float32], columns: int | None = None, gap: int = 2, *, keeps_alpha: bool = False
) -> Image.Image:
    """Arrange images (N, C, H, W) in [-1, 1], C from 1 to 4, in a grid.

    `columns`: default the square root of N, rounded up. `gap`: pixels between images. Images of four channels, colours
    multiplied by their opacity and the opacity, are drawn on a checkerboard; `keeps_alpha`: as a transparent image.
    """
    if samples.shape[1] == transparency.RGBA and not keeps_alpha:
        samples = transparency.on_checkerboard(samples)
    count, channels, height, width = samples.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    pixels = ((np.nan_to_num(samples).clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    output_channels = {1: 1, 2: 3, 3: 3, 4: 4}[channels]
    if channels == transparency.RGBA:
        pixels = transparency.straight_pixels(samples)
    if channels == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:, :1])], axis=1)
    colour = 0 if channels == transparency.RGBA else 128
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, output_channels), colour, np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return Image.fromarray(grid[:, :, 0] if output_channels == 1 else grid)
