"""The film of a run: the same latents over time, and beside them the curves and the knobs that were turned.

Time runs as steps do, evenly; the samples of a moment stay until the next ones were taken. Nothing is blended: a mean
of two pictures is one that no generator made.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from equipoise.errors import RunError, unwritable
from equipoise.report import samples
from equipoise.report import film_samples
from equipoise.report import film_frames
from equipoise.report import video_encoding
from equipoise.report import run_history as histories
from equipoise.report.run_history import to_number
from equipoise.report.samples import Samples
from equipoise.runs import run_folder as runs
from equipoise.runs.run_folder import Line, Run

FOLDER, FILE, POSTER = "film", "training_progress.mp4", "poster.png"
RATE = 15
"""Frames a second."""
SHORTEST, LONGEST, HOLD = 8.0, 30.0, 1.5
"""Seconds of the whole film, and of its last frame, which is held."""
EACH = 0.2
"""Seconds that samples are seen for, where there are neither few nor many of them."""


def write_film(run: Run) -> Path | None:
    """Write film/training_progress.mp4 of a run, and its last frame as film/poster.png; returns the path of the film.

    1280 x 720 pixels, 8 to 30 seconds, below 20 MB; the same run folder gives the same bytes. None for a run that took
    no samples. Raises RunError if the folder is no run, is damaged, or cannot be written, and where ffmpeg is missing
    or fails.
    """
    history = histories.read_history(run)
    lines = history.named("sampled")
    if not lines:
        return None
    steps = _steps(history.step, len(lines))
    shown = _shown(lines, steps)
    scene = film_frames.film_renderer(history, film_samples.sample_area(samples.load_samples(run, lines[one]) for one in sorted(set(shown), reverse=True)))
    path = run.folder / FOLDER / FILE
    last: list[Image.Image] = []
    frames = scene.frames(_moments(run, lines, steps, shown))
    video_encoding.write_video(path, _held(frames, last), film_frames.SIZE, RATE)
    _poster(path.with_name(POSTER), last[0])
    return path


def read_poster(run: Run) -> bytes | None:
    """The last frame of a film as the bytes of a PNG file, made anew from the one there; None if there is none."""
    path = run.folder / FOLDER / POSTER
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return runs.png(image.convert("RGB")) if image.size == film_frames.SIZE else None
    except (OSError, ValueError, SyntaxError):
        return None


def _steps(end: int, count: int) -> list[float]:
    """The step that each frame shows, from 0 to the last, but for the frames that are held."""
    seconds = min(LONGEST, max(SHORTEST, EACH * count + HOLD)) - HOLD
    return [float(step) for step in np.linspace(0, end, round(seconds * RATE))]


def _shown(lines: Sequence[Line], steps: Sequence[float]) -> list[int]:
    """Which samples each frame shows: the last ones taken by then, before the first ones those."""
    taken = [to_number(line["step"], 0) for line in lines]
    return [max(0, int(position) - 1) for position in np.searchsorted(taken, steps, side="right")]


def _moments(
    run: Run, lines: Sequence[Line], steps: Sequence[float], shown: Sequence[int]
) -> Iterator[tuple[float, Samples]]:
    before, result = -1, None
    for step, position in zip(steps, shown, strict=True):
        if result is None or position != before:
            before, result = position, samples.load_samples(run, lines[position])
        yield step, result


def _held(frames: Iterator[Image.Image], last: list[Image.Image]) -> Iterator[Image.Image]:
    """The frames, and the last one as often as it takes to see it; it is left in `last`, too."""
    for frame in frames:
        last[:] = [frame]
        yield frame
    yield from last * round(HOLD * RATE)


def _poster(path: Path, frame: Image.Image) -> None:
    try:
        runs.write_bytes(path, runs.png(frame))
    except OSError as error:
        raise RunError(f"no film: {unwritable(path.parent, error)}") from error
