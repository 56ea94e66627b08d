"""Progress figure of a run: losses, metrics, findings, signals, knobs and samples on one printable page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.errors import RunError, report_command, unwritable
from equipoise.report import figure_panels, sample_plots
from equipoise.report.figure_panels import DrawFunction
from equipoise.report.formatting import format_count, one_line
from equipoise.report.plot_style import COLUMN_WIDTH, DPI, GREY, INK, render_png, step_axis
from equipoise.report.run_history import RunHistory, read_history
from equipoise.report.run_summary import format_length, plug_name, run_state
from equipoise.report.samples import representative_samples, value_limits
from equipoise.runs.artifacts import write_bytes
from equipoise.runs.run import FIGURES_FOLDER, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "training_progress.png"
COLUMNS = 3
PANEL_HEIGHT, STRIP_HEIGHT, HEADER_HEIGHT, IMAGES_ROW = 2.45, 0.95, 0.62, 0.14
"""Inches: a panel, a panel without a value axis, the header, and the second row of tick labels."""
LEFT, RIGHT, TOP, BOTTOM, IMAGE_BOTTOM, NAMES_LEFT = 0.64, 0.17, 0.5, 0.5, 0.15, 1.8
"""Margins around axes in inches, for titles, legends, labels and ticks; under an image; next to names of symptoms."""


@dataclass(frozen=True)
class Panel:
    """A panel of the figure: its content, width in columns, and height and left margin in inches.

    `images`: whether the tick labels of the step axis have a second row with the images seen.
    """

    draw: DrawFunction
    columns: int = 1
    height: float = PANEL_HEIGHT
    images: bool = False
    left: float = LEFT


def write_progress_figure(run: Run) -> Path:
    """Write figures/training_progress.png of a run; return its path.

    Raises RunError if the folder is not a run, is damaged, or cannot be written.
    """
    history = read_history(run)
    content = render_png(lambda: _figure(history, COLUMNS))
    path = run.folder / FIGURES_FOLDER / FILE
    try:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise RunError(unwritable(run.folder, error, then=report_command(run.folder))) from error
    return path


def narrow_figure(history: RunHistory) -> bytes:
    """Render the figure in one column and without header, for phones; return PNG bytes."""
    return render_png(lambda: _figure(history, 1))


def _figure(history: RunHistory, columns: int) -> "Figure":
    from matplotlib.figure import Figure

    rows, samples = _rows(_panels(history, columns), columns), representative_samples(history)
    row_heights = [max(panel.height + (IMAGES_ROW if panel.images else 0) for panel in row) for row in rows]
    sample_bottom = BOTTOM if any(sample_set.values is not None for sample_set in samples) else IMAGE_BOTTOM
    plot_height = sample_plots.sheet_height(samples, COLUMN_WIDTH - LEFT - RIGHT)
    sample_height = plot_height + TOP + sample_bottom if samples else 0.0
    header = HEADER_HEIGHT if columns > 1 else 0.0
    total = header + (sum(row_heights) + sample_height * math.ceil(len(samples) / columns) or 1.0)
    figure = Figure(figsize=(columns * COLUMN_WIDTH, total), dpi=DPI)
    top = total - header
    for row, height in zip(rows, row_heights, strict=True):
        column = 0
        for panel in row:
            axes = _add_axes(figure, column, panel.columns, top, panel.height, panel.left)
            panel.draw(axes)
            step_axis(axes, history, images=panel.images)
            column += panel.columns
        top -= height
    limits = value_limits(samples)
    for index, sample_set in enumerate(samples):
        row_index, column = divmod(index, columns)
        axes = _add_axes(figure, column, 1, top - row_index * sample_height, sample_height, bottom=sample_bottom)
        sample_plots.draw_samples(axes, sample_set, limits)
    if not rows and not samples:
        _draw_placeholder(_add_axes(figure, 0, columns, top, 1.0))
    if header:
        _draw_header(figure, history, total)
    return figure


def _add_axes(
    figure: "Figure",
    column: int,
    columns: int,
    top: float,
    height: float,
    left: float = LEFT,
    bottom: float = BOTTOM,
) -> "Axes":
    """Add axes in a cell of the page, in inches, with the same margins everywhere, so that panels are aligned."""
    figure_width, figure_height = figure.get_figwidth(), figure.get_figheight()
    start, width = column * COLUMN_WIDTH + left, columns * COLUMN_WIDTH - left - RIGHT
    lower, inner_height = top - height + bottom, height - TOP - bottom
    box = (start / figure_width, lower / figure_height, width / figure_width, inner_height / figure_height)
    return figure.add_axes(box)


def _panels(history: RunHistory, columns: int) -> list[Panel]:
    """Return the panels for which the run has data, most important first, at most `columns` wide."""
    metrics = [Panel(figure_panels.metric(metric)) for metric in history.metrics()]
    knobs = [changes for changes in history.knob_histories() if changes.knob not in ("lr_g", "lr_d")]
    losses, findings = figure_panels.losses(history), figure_panels.findings(history)
    signals = (
        figure_panels.rewards,
        figure_panels.ranks,
        figure_panels.probabilities,
        figure_panels.gradients,
        figure_panels.learning_rates,
    )
    drawings = [drawing for drawing in (signal(history) for signal in signals) if drawing]
    findings_height = STRIP_HEIGHT + 0.2 * len({period.name for period in history.symptom_periods()})
    return [
        *([Panel(losses, columns=min(2, columns), images=True)] if losses else []),
        *metrics[:1],
        *([Panel(findings, columns=columns, height=findings_height, left=NAMES_LEFT)] if findings else []),
        *(Panel(drawing) for drawing in drawings),
        *metrics[1:],
        *(Panel(figure_panels.knob(history, changes)) for changes in knobs),
    ]


def _rows(panels: Sequence[Panel], columns: int) -> list[list[Panel]]:
    """Arrange panels in reading order, as many per row as fit."""
    rows: list[list[Panel]] = []
    for panel in panels:
        if not rows or sum(placed.columns for placed in rows[-1]) + panel.columns > columns:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _draw_header(figure: "Figure", history: RunHistory, total: float) -> None:
    """Draw the name of the run and a line of facts above all panels."""
    names = [plug_name(history.experiment, key) for key in ("model", "data", "controller")]
    images = f"{format_count(history.images)} {history.sample_noun} seen"
    facts = [name for name in names if name] + [format_length(history), images, run_state(history)]
    name = one_line(history.run.name, 80)
    figure.text(0.012, 1 - 0.10 / total, name, va="top", fontsize=13, weight="bold", color=INK)
    figure.text(0.012, 1 - 0.37 / total, "   ·   ".join(facts), va="top", fontsize=8.5, color=GREY)


def _draw_placeholder(axes: "Axes") -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, "this run has no events yet", ha="center", va="center", color=GREY)
