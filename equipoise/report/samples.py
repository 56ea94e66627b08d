"""The samples of a run, read from its folder with the care that foreign files need."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from equipoise.errors import RunError
from equipoise.report.run_history import RunHistory, to_number
from equipoise.report.formatting import format_count, one_line
from equipoise.runs.run_folder import Line, Run

MOST_BYTES = 256 * 2**20
"""A file of samples larger than this was not written by a run."""


@dataclass(frozen=True)
class Samples:
    """What the generator made at one moment: a sheet of images, numbers (N, ...) or texts.

    Else `note` says why none of them. `shows`: what each group of images of a sheet holds, in order.
    """

    step: int
    images: int
    sheet: Image.Image | None = None
    values: npt.NDArray[np.float64] | None = None
    texts: tuple[str, ...] = ()
    note: str = ""
    shows: tuple[str, ...] = ()

    @property
    def moment(self) -> str:
        """When it was, and what stands beside what."""
        groups = f"; from left to right {', '.join(self.shows)}" if self.shows else ""
        return f"step {format_count(self.step)}, {self.reals} seen{groups}"

    @property
    def reals(self) -> str:
        """How many reals were seen until then: 3,840 images."""
        return f"{format_count(self.images)} {'sentences' if self.texts else 'images'}"


def representative_samples(history: RunHistory, most: int = 3) -> list[Samples]:
    """The first samples of a run, the last, and those nearest to evenly between: at most `most`, in order."""
    lines = history.named("sampled")
    if not lines:
        return []
    steps = [to_number(line["step"], 0) for line in lines]
    wished = [steps[0] + (steps[-1] - steps[0]) * place / max(1, most - 1) for place in range(most)]
    positions = {min(range(len(lines)), key=lambda position: abs(steps[position] - wish)) for wish in wished}
    return [load_samples(history.run, lines[position]) for position in sorted(positions)]


def last_samples(history: RunHistory) -> Samples | None:
    """The last samples of a run; None if there are none."""
    lines = history.named("sampled")
    return load_samples(history.run, lines[-1]) if lines else None


def value_limits(samples: Sequence[Samples]) -> tuple[float, float]:
    """The range that holds nearly all numbers of all samples, a little widened."""
    finite = [one.values[np.isfinite(one.values)].ravel() for one in samples if one.values is not None]
    together = np.concatenate(finite) if finite else np.zeros(0)
    if not together.size:
        return -1.0, 1.0
    low, high = (float(edge) for edge in np.quantile(together, (0.002, 0.998)))
    room = 0.08 * (high - low) or max(1e-3, 0.1 * abs(high))
    return low - room, high + room


def load_samples(run: Run, line: Line) -> Samples:
    """The samples of a line; a file that cannot be read leaves a note."""
    step, images = int(to_number(line["step"], 0)), int(to_number(line.get("images"), 0))
    name = one_line(line.get("samples", "a file that the log does not name"))
    try:
        path = _within(run.folder, line.get("samples"))
        if path.suffix == ".png":
            return Samples(step, images, sheet=_sheet(path), shows=_words(line.get("shows")))
        if path.suffix == ".txt":
            return Samples(step, images, texts=_texts(path))
        return Samples(step, images, values=_values(path))
    except RunError as error:
        return Samples(step, images, note=f"the samples of step {format_count(step)} are left out: {name} {error}")


def _words(said: object) -> tuple[str, ...]:
    return tuple(one_line(word, 20) for word in said) if isinstance(said, list) else ()


def _within(folder: Path, name: object) -> Path:
    """The path of a file of a run; raises RunError for one that lies elsewhere, so that no foreign file is shown."""
    try:
        path = (folder / str(name)).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise RunError("lies outside the run folder")
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise RunError("is missing") from error
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({one_line(error)})") from error
    if size > MOST_BYTES:
        raise RunError(f"is too large ({size / 2**20:.0f} MiB)")
    return path


def _sheet(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=("PNG",)) as image:
                return image.convert("L" if image.mode in ("1", "L", "I", "I;16") else "RGBA")
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error


def _texts(path: Path) -> tuple[str, ...]:
    try:
        texts = tuple(path.read_text(encoding="utf-8").split("\n")[:-1])
    except (OSError, ValueError) as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error
    if not texts:
        raise RunError("is empty")
    return texts


def _values(path: Path) -> npt.NDArray[np.float64]:
    try:
        result = np.load(path, allow_pickle=False)
        if not isinstance(result, np.ndarray):
            raise RunError("holds no array of numbers")
        values = result.astype(np.float64)
    except (OSError, ValueError, EOFError, TypeError, MemoryError, SyntaxError) as error:
        raise RunError(f"is damaged ({one_line(error, 80)})") from error
    if values.ndim == 0 or not math.prod(values.shape):
        raise RunError("is empty")
    return values
