"""The film of a run: samples of the same latents over time, next to curves, findings and knobs.

Time is proportional to training steps; each set of samples is shown until the step of the next one. Samples are
never blended: the mean of two images is not an output of the generator.
"""

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from equipoise.errors import RunError, report_command, unwritable
from equipoise.report import film_frames, video_encoding
from equipoise.report.film_samples import sample_area
from equipoise.report.run_history import read_history, to_number
from equipoise.report.samples import Samples, load_samples
from equipoise.report.steps import ReportStep
from equipoise.runs.artifacts import encode_png, write_bytes
from equipoise.runs.run import EventLine, Run

FOLDER, FILE, POSTER = "film", "training_progress.mp4", "poster.png"
FRAME_RATE = 15
"""Frames per second."""
MIN_SECONDS, MAX_SECONDS, HOLD_SECONDS = 8.0, 30.0, 1.5
"""Minimum and maximum length of the film, and how long its last frame is repeated."""
SECONDS_PER_FRAME = 0.03
"""Seconds to draw and encode a frame, for estimates: measured on one core of 2026."""
SECONDS_PER_SAMPLE = 0.2
"""How long each set of samples is shown, within the limits above."""


def write_film(run: Run) -> Path | None:
    """Write film/training_progress.mp4 of a run, and its last frame as film/poster.png; return the path of the film.

    1280 x 720 pixels, 8 to 30 seconds, below 20 MB; the same run folder gives the same bytes. Returns None for a run
    without samples. Raises RunError if the folder is not a run, is damaged, or cannot be written, and if ffmpeg is not
    installed or fails.
    """
    steps = film_steps(run)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            path: Path | None = end.value
            return path


def film_steps(run: Run) -> Generator[ReportStep, None, Path | None]:
    """Write the film as :func:`write_film` does, yielding the progress after each frame; return the path."""
    history = read_history(run)
    lines = history.events_of("sampled")
    if not lines:
        return None
    steps = _frame_steps(history.step, len(lines))
    indices = _sample_indices(lines, steps)
    area = sample_area(load_samples(run, lines[index]) for index in sorted(set(indices), reverse=True))
    renderer = film_frames.film_renderer(history, area)
    path = run.folder / FOLDER / FILE
    last: list[Image.Image] = []
    frames = _hold_last_frame(renderer.frames(_steps_and_samples(run, lines, steps, indices)), last)
    count = len(steps) + round(HOLD_SECONDS * FRAME_RATE)
    for done in video_encoding.video_steps(path, frames, film_frames.SIZE, FRAME_RATE):
        yield ReportStep("film", done, count)
    _write_poster(path.with_name(POSTER), last[0])
    return path


def estimate_seconds(samples: int) -> float:
    """Estimate how long the film of a run with this number of sample files takes to write."""
    return SECONDS_PER_FRAME * (len(_frame_steps(1, samples)) + round(HOLD_SECONDS * FRAME_RATE))


def read_poster(run: Run) -> bytes | None:
    """Read the poster of a film and encode it again as PNG bytes; None if there is none or it cannot be read."""
    path = run.folder / FOLDER / POSTER
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return encode_png(image.convert("RGB")) if image.size == film_frames.SIZE else None
    except (OSError, ValueError, SyntaxError):
        return None


def _frame_steps(end: int, count: int) -> list[float]:
    """Return the training step of each frame, from 0 to `end`, before the repetitions of the last frame.

    `count`: number of sample files.
    """
    seconds = min(MAX_SECONDS, max(MIN_SECONDS, SECONDS_PER_SAMPLE * count + HOLD_SECONDS)) - HOLD_SECONDS
    return [float(step) for step in np.linspace(0, end, round(seconds * FRAME_RATE))]


def _sample_indices(lines: Sequence[EventLine], steps: Sequence[float]) -> list[int]:
    """Return the index of the samples that each frame shows: the latest ones; before their step the first ones."""
    sample_steps = [to_number(line["step"], 0) for line in lines]
    return [max(0, int(position) - 1) for position in np.searchsorted(sample_steps, steps, side="right")]


def _steps_and_samples(
    run: Run, lines: Sequence[EventLine], steps: Sequence[float], indices: Sequence[int]
) -> Iterator[tuple[float, Samples]]:
    """Yield the step and the samples of each frame; load each file once."""
    previous, samples = -1, None
    for step, index in zip(steps, indices, strict=True):
        if samples is None or index != previous:
            previous, samples = index, load_samples(run, lines[index])
        yield step, samples


def _hold_last_frame(frames: Iterator[Image.Image], last: list[Image.Image]) -> Iterator[Image.Image]:
    """Yield the frames and repeat the last one; store it in `last`."""
    for frame in frames:
        last[:] = [frame]
        yield frame
    yield from last * round(HOLD_SECONDS * FRAME_RATE)


def _write_poster(path: Path, frame: Image.Image) -> None:
    try:
        write_bytes(path, encode_png(frame))
    except OSError as error:
        run_folder = path.parents[1]
        raise RunError(f"no film: {unwritable(run_folder, error, then=report_command(run_folder))}") from error
