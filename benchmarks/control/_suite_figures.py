"""Pictures of the page of the suite: ratios with intervals, and the distance over the run per task."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from _suite_study import SuitePage

from equipoise.comparison.figures import COLOURS
from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.records import SuiteRecord
from equipoise.comparison.suite.verdict import ORACLE
from equipoise.report.plot_style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    RED,
    panel_title,
    render_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORD_COLOURS = {"wins": BLUE, "loses": RED, "no difference": GREY}
ROW_HEIGHT, COLUMNS, PANEL = 0.26, 5, (2.0, 1.6)
"""Inches of a row of the forest plot; panels in a row of curves, and inches of a panel."""
MAX_TICKS = 5
SHOWN_FROM, SPACE = 0.25, 1.15
"""Distances before this share of a run may be above the panel; factor of space above and below the curves."""
RATIO_TICKS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0)


def plot_ratios(page: SuitePage) -> bytes:
    """Plot the ratio of every arm with both intervals, and its tasks as dots, as PNG."""
    return render_png(lambda: _ratio_figure(page))


def plot_curves(page: SuitePage, names: Sequence[str]) -> bytes:
    """Plot the median distance over the run of some arms, a panel per test task, as PNG."""
    return render_png(lambda: _curve_figure(page, names))


def _ratio_figure(page: SuitePage) -> "Figure":
    from matplotlib.figure import Figure

    verdicts = page.verdicts["selected"]
    rows = [(v.name, v.ratio, v.over_tasks, WORD_COLOURS[v.word]) for v in verdicts]
    gate = page.gates["selected"]
    if math.isfinite(gate.ratio.value):
        rows.append(("oracle", gate.ratio, gate.over_tasks, GREEN))
    figure = Figure(figsize=(7.0, 0.9 + ROW_HEIGHT * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for row, (name, ratio, over_tasks, colour) in enumerate(rows):
        means = np.exp(statistics.task_means(page.ratios["selected"][ORACLE if name == "oracle" else name]))
        axes.plot(means, [row] * len(means), ".", color=GREY, alpha=0.6, markersize=5, zorder=1)
        axes.plot([over_tasks.low, over_tasks.high], [row, row], color=colour, linewidth=1.2, zorder=2)
        axes.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=4, solid_capstyle="butt", zorder=3)
        axes.plot([ratio.value], [row], "o", color=INK, markersize=4.5, zorder=4)
    axes.axvline(1, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    _ratio_scale(axes)
    axes.set_xlabel("distance relative to one constant for all tasks; thick: seeds, thin: tasks as well; dots: tasks")
    panel_title(axes, "Lower is better: blue wins, red loses, grey no difference", legends=False)
    return figure


def _ratio_scale(axes: "Axes") -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in RATIO_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _curve_figure(page: SuitePage, names: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    rows = math.ceil(len(page.tasks) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * PANEL[0], rows * PANEL[1] + 0.4), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    study = page.studies["selected"]
    for axes, task in zip(panels, page.tasks, strict=False):
        shown = []
        for name, colour in zip(names, (INK, *COLOURS), strict=False):
            runs = page.records.runs([task.name], study.settings[name], page.seeds)
            steps, middle = _median_curve(runs, page.noise[task.name])
            axes.plot(steps, middle, color=colour, label=name, linewidth=1.2)
            shown += [value for step, value in zip(steps, middle, strict=True) if step >= SHOWN_FROM * max(steps)]
        axes.set_xlim(left=0)
        if shown:
            axes.set_ylim(min(shown) / SPACE, max(shown) * SPACE)
        axes.tick_params(labelsize=6.5)
        _distance_scale(axes)
        axes.set_title(task.name, loc="left", fontsize=7.5, color=INK)
    for axes in panels[len(page.tasks) :]:
        axes.set_axis_off()
    labels = panels[0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside upper left", ncols=len(names), frameon=False)
    figure.supxlabel("steps", fontsize=7.5)
    figure.supylabel("median distance to test reals + noise", fontsize=7.5)
    return figure


def _distance_scale(axes: "Axes") -> None:
    """Set a logarithmic scale with two to five labels 1, 2 or 5 times a power of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5) if low <= digit * 10.0**decade <= high]
    if len(ticks) > MAX_TICKS:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1")]
    axes.set_yticks(ticks, [f"{tick:.10g}" for tick in ticks])
    axes.minorticks_off()


def _median_curve(runs: Sequence[SuiteRecord], noise: float) -> tuple[list[int], list[float]]:
    """Return steps and the median over runs of distance + noise; infinite distances of diverged runs count as such."""
    steps = sorted({step for run in runs for step in run.steps})
    result = {step: [] for step in steps}
    for run in runs:
        for step, distance in zip(run.steps, run.distances, strict=True):
            result[step].append(max(distance, 0.0) + noise)
    return steps, [float(np.median(result[step])) for step in steps]
