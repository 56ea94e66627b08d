"""The progress figure: what happened in a run, on one page that can be printed."""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import RunError, unwritable
from equipoise.report import run_history as histories
from equipoise.report import figure_panels
from equipoise.report import sample_plots
from equipoise.report import samples as sampling
from equipoise.report.plot_style import GREY, INK, STYLE, step_axis
from equipoise.report.run_history import RunHistory
from equipoise.report.figure_panels import Drawing
from equipoise.report.formatting import format_count, format_length, plug_name, one_line, run_state
from equipoise.runs import run_folder as runs
from equipoise.runs.run_folder import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "training_progress.png"
COLUMNS, COLUMN, DOTS = 3, 10 / 3, 160
"""Columns of panels, inches of one, pixels an inch: 1,600 pixels wide, and to be read at the width of a sheet of paper.
In one column, 533 pixels, to be read at the width of a phone."""
PANEL, STRIP, HEADER, IMAGES = 2.45, 0.95, 0.62, 0.14
"""Heights in inches: a panel, one without values, the header, and what a line of images seen adds."""
LEFT, RIGHT, TOP, BOTTOM, EDGE, NAMES = 0.64, 0.17, 0.5, 0.5, 0.15, 1.8
"""Room around axes in inches: for titles, legends, labels and ticks; below a picture; beside names."""


@dataclass(frozen=True)
class Panel:
    """Something to draw, over how many columns, how high and with how much room at its left, in inches.

    `images`: name those seen along the steps.
    """

    draw: Drawing
    columns: int = 1
    height: float = PANEL
    images: bool = False
    left: float = LEFT


def write_progress_figure(run: Run) -> Path:
    """Draw figures/training_progress.png of a run; returns its path.

    Raises RunError if the folder is no run, is damaged, or cannot be written.
    """
    history = histories.read_history(run)
    content = render_png(lambda: _figure(history, COLUMNS))
    path = run.folder / runs.FIGURES / FILE
    try:
        path.parent.mkdir(exist_ok=True)
        runs.write_bytes(path, content)
    except OSError as error:
        raise RunError(unwritable(path.parent, error)) from error
    return path


def narrow_figure(history: RunHistory) -> bytes:
    """The same in one column, without the header, as the bytes of a PNG file: for phones."""
    return render_png(lambda: _figure(history, 1))


def render_png(make: Callable[[], "Figure"]) -> bytes:
    """The bytes of a figure made and drawn in this package's style, whatever the settings of matplotlib here are."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        # Names in letters that the font has not got come out as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = make()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=DOTS, facecolor="white")
    return buffer.getvalue()


def _figure(history: RunHistory, columns: int) -> "Figure":
    from matplotlib.figure import Figure

    rows, samples = _rows(_panels(history, columns), columns), sampling.representative_samples(history)
    heights = [max(panel.height + (IMAGES if panel.images else 0) for panel in row) for row in rows]
    feet = BOTTOM if any(one.values is not None for one in samples) else EDGE
    below = sample_plots.sheet_height(samples, COLUMN - LEFT - RIGHT) + TOP + feet if samples else 0.0
    header = HEADER if columns > 1 else 0.0
    total = header + (sum(heights) + below * math.ceil(len(samples) / columns) or 1.0)
    figure = Figure(figsize=(columns * COLUMN, total), dpi=DOTS)
    top = total - header
    for row, height in zip(rows, heights, strict=True):
        column = 0
        for panel in row:
            axes = _place(figure, column, panel.columns, top, panel.height, panel.left)
            panel.draw(axes)
            step_axis(axes, history, images=panel.images)
            column += panel.columns
        top -= height
    bounds = sampling.value_limits(samples)
    for place, one in enumerate(samples):
        down, column = divmod(place, columns)
        sample_plots.draw_samples(_place(figure, column, 1, top - down * below, below, feet=feet), one, bounds)
    if not rows and not samples:
        _nothing(_place(figure, 0, columns, top, 1.0))
    if header:
        _header(figure, history, total)
    return figure


def _place(
    figure: "Figure",
    column: int,
    columns: int,
    top: float,
    height: float,
    left: float = LEFT,
    feet: float = BOTTOM,
) -> "Axes":
    """Axes in a cell of the page, with the same room around them everywhere, so that panels stand in line."""
    wide, total = figure.get_figwidth(), figure.get_figheight()
    start, width = column * COLUMN + left, columns * COLUMN - left - RIGHT
    bottom, inner = top - height + feet, height - TOP - feet
    return figure.add_axes((start / wide, bottom / total, width / wide, inner / total))


def _panels(history: RunHistory, columns: int) -> list[Panel]:
    """What there is to draw of this run, the most important first; none wider than `columns`."""
    metrics = [Panel(figure_panels.metric(one)) for one in history.measured()]
    moved = [Panel(figure_panels.knob(history, one)) for one in history.turns() if one.knob not in ("lr_g", "lr_d")]
    losses, findings = figure_panels.losses(history), figure_panels.findings(history)
    signals = (figure_panels.rewards, figure_panels.ranks, figure_panels.probabilities, figure_panels.gradients, figure_panels.learning_rates)
    drawn = [drawing for drawing in (signal(history) for signal in signals) if drawing]
    tall = STRIP + 0.2 * len({symptom.name for symptom in history.symptoms()})
    return [
        *([Panel(losses, columns=min(2, columns), images=True)] if losses else []),
        *metrics[:1],
        *([Panel(findings, columns=columns, height=tall, left=NAMES)] if findings else []),
        *(Panel(drawing) for drawing in drawn),
        *metrics[1:],
        *moved,
    ]


def _rows(wanted: Sequence[Panel], columns: int) -> list[list[Panel]]:
    """Panels in reading order, as many to a row as fit."""
    rows: list[list[Panel]] = []
    for panel in wanted:
        if not rows or sum(placed.columns for placed in rows[-1]) + panel.columns > columns:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _header(figure: "Figure", history: RunHistory, total: float) -> None:
    """What the figure shows, in two lines above everything."""
    known = [plug_name(history.experiment, key) for key in ("model", "data", "controller")]
    seen = f"{format_count(history.images)} {history.noun} seen"
    said = [name for name in known if name] + [format_length(history), seen, run_state(history)]
    figure.text(0.012, 1 - 0.10 / total, one_line(history.run.name, 80), va="top", fontsize=13, weight="bold", color=INK)
    figure.text(0.012, 1 - 0.37 / total, "   ·   ".join(said), va="top", fontsize=8.5, color=GREY)


def _nothing(axes: "Axes") -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, "nothing was read from this run yet", ha="center", va="center", color=GREY)
