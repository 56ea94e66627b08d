"""Loading of the saved samples of a run. Files in a run folder are untrusted."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.core.files import ARRAY_ERRORS
from equipoise.errors import RunError
from equipoise.report.formatting import format_count, one_line
from equipoise.report.run_history import RunHistory, to_number
from equipoise.report.sequence_sheets import draw_sequences
from equipoise.runs.run import EventLine, Run

MAX_BYTES = 256 * 2**20
"""Maximum size of a file of samples; a larger one was not written by a run."""


@dataclass(frozen=True)
class Samples:
    """Samples of the generator at one step: a sheet of images or of plots of sequences, numbers (N, ...) or texts.

    If none of them could be read, `note` says why. `groups`: what each group of images on the sheet shows, from left
    to right, such as ("input", "output"). `are_sequences`: whether the sheet shows plots of sequences.
    """

    step: int
    images: int
    sheet: Image.Image | None = None
    values: npt.NDArray[np.float64] | None = None
    texts: tuple[str, ...] = ()
    note: str = ""
    groups: tuple[str, ...] = ()
    are_sequences: bool = False

    @property
    def description(self) -> str:
        """Step, images seen, and the groups of images on the sheet."""
        groups = f"; from left to right: {', '.join(self.groups)}" if self.groups else ""
        return f"step {format_count(self.step)}, {self.images_seen} seen{groups}"

    @property
    def images_seen(self) -> str:
        """Number of real samples seen up to the step: 3,840 images."""
        noun = "sentences" if self.texts else "sequences" if self.are_sequences else "images"
        return f"{format_count(self.images)} {noun}"

    @property
    def shape_note(self) -> str:
        """Reason why nothing can be drawn: the note, or the shape of numbers that cannot be plotted."""
        return self.note or ("" if self.values is None else f"no plot for numbers of shape {self.values.shape}")


def representative_samples(history: RunHistory, count: int = 3) -> list[Samples]:
    """Load at most `count` sets of samples in order: the first, the last, and evenly spaced ones in between."""
    lines = history.events_of("sampled")
    if not lines:
        return []
    steps = [to_number(line["step"], 0) for line in lines]
    targets = [steps[0] + (steps[-1] - steps[0]) * index / max(1, count - 1) for index in range(count)]
    nearest = {min(range(len(lines)), key=lambda index: abs(steps[index] - target)) for target in targets}
    return [load_samples(history.run, lines[index]) for index in sorted(nearest)]


def last_samples(history: RunHistory) -> Samples | None:
    """Load the last samples of a run; None if it has none."""
    lines = history.events_of("sampled")
    return load_samples(history.run, lines[-1]) if lines else None


def value_limits(samples: Sequence[Samples]) -> tuple[float, float]:
    """Compute the range of all but the most extreme 0.4 % of the numbers, with a margin."""
    finite = [
        sample_set.values[np.isfinite(sample_set.values)].ravel()
        for sample_set in samples
        if sample_set.values is not None
    ]
    values = np.concatenate(finite) if finite else np.zeros(0)
    if not values.size:
        return -1.0, 1.0
    low, high = (float(edge) for edge in np.quantile(values, (0.002, 0.998)))
    margin = 0.08 * (high - low) or max(1e-3, 0.1 * abs(high))
    return low - margin, high + margin


def load_samples(run: Run, line: EventLine) -> Samples:
    """Load the samples of a "sampled" line; for a file that cannot be read, return a note."""
    step, images = int(to_number(line["step"], 0)), int(to_number(line.get("images"), 0))
    name = one_line(line.get("samples", "unnamed file"))
    try:
        path = _path_within(run.folder, line.get("samples"))
        if path.suffix == ".png":
            return Samples(step, images, sheet=_load_sheet(path), groups=_group_names(line.get("shows")))
        if path.suffix == ".txt":
            return Samples(step, images, texts=_load_texts(path))
        values = _load_values(path)
        if values.ndim == 3:
            return Samples(step, images, sheet=draw_sequences(values), are_sequences=True)
        return Samples(step, images, values=values)
    except RunError as error:
        return Samples(step, images, note=f"the samples of step {format_count(step)} are missing: {name} {error}")


def _group_names(value: object) -> tuple[str, ...]:
    return tuple(one_line(name, 20) for name in value) if isinstance(value, list) else ()


def _path_within(folder: Path, name: object) -> Path:
    """Resolve a path within a run folder. Raises RunError for one outside, so that no other file is shown."""
    try:
        path = (folder / str(name)).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise RunError("is outside the run folder")
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise RunError("does not exist") from error
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({one_line(error)})") from error
    if size > MAX_BYTES:
        raise RunError(f"is too large ({size / 2**20:.0f} MiB)")
    return path


def _load_sheet(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=("PNG",)) as image:
                return image.convert("L" if image.mode in ("1", "L", "I", "I;16") else "RGBA")
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error


def _load_texts(path: Path) -> tuple[str, ...]:
    try:
        texts = tuple(path.read_text(encoding="utf-8").split("\n")[:-1])
    except (OSError, ValueError) as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error
    if not texts:
        raise RunError("is empty")
    return texts


def _load_values(path: Path) -> npt.NDArray[np.float64]:
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise RunError("is not an array of numbers")
        values = array.astype(np.float64)
    except ARRAY_ERRORS as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error
    if values.ndim == 0 or not math.prod(values.shape):
        raise RunError("is empty")
    return values
