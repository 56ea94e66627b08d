"""Figures of a comparison as PNG: quality, each setting, learning curves and stability.

Arms are rows, not colours, so that a dozen of them can be distinguished; curves have a panel per setting, with colours
for the best arms. Each figure is `columns` panels wide: three for a desktop, one for a phone.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import Block, ComparisonSummary, blocks_by_setting
from equipoise.report.plot_style import (
    BLUE,
    COLUMN_WIDTH,
    DPI,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    panel_title,
    render_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
"""Colours of curves; other arms are in the tables only."""
WIDE, NARROW = 3, 1
"""Panels in a row, on a desktop and on a phone."""
ROW_HEIGHT, TOP, BOTTOM, CURVE_HEIGHT = 0.24, 0.42, 0.5, 2.2
"""Inches: a row of an arm, the space above and below the rows, a panel of curves."""
CHARACTER_WIDTH, LEGEND_HEIGHT, LEGEND_ROW = 0.066, 0.3, 0.15
"""Inches: width of a character of a name, height of a legend above all panels, and of each additional row."""
LEGEND_COLUMNS = 2
"""Columns of the legend per panel."""


def plot_quality(summary: ComparisonSummary, blocks: Sequence[Block], columns: int = WIDE) -> bytes:
    """Plot interquartile means with intervals over the scores of runs, and the probability of improvement."""
    return render_png(lambda: _quality_figure(summary, blocks, columns))


def plot_settings(summary: ComparisonSummary, blocks: Sequence[Block], columns: int = WIDE) -> bytes:
    """Plot the scores of runs and their median, a panel per setting."""
    return render_png(lambda: _settings_figure(summary, blocks, columns))


def plot_curves(summary: ComparisonSummary, blocks: Sequence[Block], columns: int = WIDE) -> bytes:
    """Plot median scores over steps, a panel per setting, for the best arms and the baseline."""
    return render_png(lambda: _curves_figure(summary, blocks, columns))


def plot_stability(summary: ComparisonSummary, columns: int = WIDE) -> bytes:
    """Plot failure rates, drops of the score, and readings with lost variety, with intervals."""
    return render_png(lambda: _stability_figure(summary, columns))


def _quality_figure(summary: ComparisonSummary, blocks: Sequence[Block], columns: int) -> "Figure":
    figure, (left, right) = _arm_panels(summary, 2, columns)
    _plot_scores(left, summary, blocks)
    for row, arm in enumerate(summary.arms):
        _plot_interval(left, row, arm.quality, GREY if arm.name == summary.baseline else BLUE)
        if arm.versus_baseline:
            _plot_interval(right, row, arm.versus_baseline.improvement, BLUE)
    panel_title(left, "Score: 0 worthless, 1 as good as reals", legends=False)
    left.set_xlabel("interquartile mean, 95 %; dots: runs")
    panel_title(right, f"Probability of improvement on {summary.baseline}", legends=False)
    right.axvline(0.5, color=GREY, linewidth=1)
    right.set_xlim(-0.03, 1.03)
    right.set_xlabel("of a run, 95 % interval")
    return figure


def _settings_figure(summary: ComparisonSummary, blocks: Sequence[Block], columns: int) -> "Figure":
    groups = blocks_by_setting(blocks)
    figure, panels = _arm_panels(summary, len(groups), columns)
    for axes, (name, group) in zip(panels, groups.items(), strict=True):
        _plot_scores(axes, summary, group)
        for row, arm in enumerate(summary.arms):
            middle = median_low(block[arm.name].known_score for block in group)
            axes.plot([middle] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=2, solid_capstyle="butt")
        axes.axvline(summary.thresholds[name], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        panel_title(axes, name, legends=False)
        axes.set_xlabel("score; line: median")
    return figure


def _curves_figure(summary: ComparisonSummary, blocks: Sequence[Block], columns: int) -> "Figure":
    groups = blocks_by_setting(blocks)
    arms = [arm.name for arm in summary.arms[: len(COLOURS)]]
    if summary.baseline not in arms:
        arms[-1] = summary.baseline
    legend_columns = LEGEND_COLUMNS * columns
    legend = LEGEND_HEIGHT + LEGEND_ROW * ((len(arms) - 1) // legend_columns)
    figure, panels = make_panels(len(groups), CURVE_HEIGHT, header=legend, columns=columns)
    for axes, (name, group) in zip(panels, groups.items(), strict=True):
        for colour, arm in zip(COLOURS, arms, strict=False):
            steps, low, middle, high = _quartiles([block[arm] for block in group])
            is_baseline = arm == summary.baseline
            line = INK if is_baseline else colour
            axes.plot(steps, middle, color=line, label=arm, linewidth=1.8 if is_baseline else 1.3)
            axes.fill_between(steps, low, high, color=line, alpha=0.10, linewidth=0)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("score")
        axes.set_xlabel("steps")
        panel_title(axes, name, legends=False)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="upper left",
        ncols=min(len(arms), legend_columns),
        frameon=False,
        bbox_to_anchor=(0.03, 1.0),
    )
    return figure


def _quartiles(runs: Sequence[RunResult]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return steps, and lower quartile, median and upper quartile of the scores; a diverged run scores 0 afterwards."""

    longest = max((run.curve for run in runs), key=len)
    scores = [[run.curve[index][1] if index < len(run.curve) else 0.0 for run in runs] for index in range(len(longest))]
    low, middle, high = (np.quantile(scores, share, axis=1).tolist() if scores else [] for share in (0.25, 0.5, 0.75))
    return [float(step) for step, _, _ in longest], low, middle, high


def _stability_figure(summary: ComparisonSummary, columns: int) -> "Figure":
    figure, panels = _arm_panels(summary, 3, columns)
    contents: tuple[tuple[str, list[IntervalEstimate | None], str], ...] = (
        ("Failed runs", [arm.failure_rate for arm in summary.arms], "share of runs, 95 % interval"),
        ("Drop from best to last score", [arm.score_drop for arm in summary.arms], "of runs that ended, 95 % interval"),
        ("Lost variety", [arm.collapse for arm in summary.arms], "share of readings, second half of a run"),
    )
    for axes, (name, estimates, label) in zip(panels, contents, strict=True):
        for row, (arm, estimate) in enumerate(zip(summary.arms, estimates, strict=True)):
            if estimate:
                _plot_interval(axes, row, estimate, GREY if arm.name == summary.baseline else ORANGE)
        axes.set_xlim(0, max([0.05, *(estimate.high for estimate in estimates if estimate)]) * 1.08)
        axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
        axes.locator_params(axis="x", nbins=5)
        panel_title(axes, name, legends=False)
        axes.set_xlabel(label)
    return figure


def _arm_panels(summary: ComparisonSummary, count: int, columns: int) -> "tuple[Figure, list[Axes]]":
    """Create panels with a row per arm, the best at the top, labelled with the names of the arms."""
    names = 0.2 + CHARACTER_WIDTH * max(len(arm.name) for arm in summary.arms)
    height = TOP + ROW_HEIGHT * len(summary.arms) + BOTTOM
    figure, panels = make_panels(count, height, left=names, columns=columns)
    for axes in panels:
        axes.set_yticks(range(len(summary.arms)), [arm.name for arm in summary.arms])
        axes.set_ylim(len(summary.arms) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        for row in range(0, len(summary.arms), 2):
            axes.axhspan(row - 0.5, row + 0.5, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
    return figure, panels


def make_panels(
    count: int, height: float, left: float = 0.55, header: float = 0.0, bottom: float = BOTTOM, columns: int = WIDE
) -> "tuple[Figure, list[Axes]]":
    """Create a figure of `count` panels of `height` inches, `columns` in a row, with a free `header` above.

    The figure always has the width of `columns` columns of a report, even if it has fewer panels.
    """
    from matplotlib.figure import Figure

    per_row = min(count, columns)
    rows = -(-count // per_row)
    total_width, total_height = COLUMN_WIDTH * columns, height * rows + header
    figure = Figure(figsize=(total_width, total_height), dpi=DPI)
    width, panels = total_width / per_row, []
    for index in range(count):
        row, column = divmod(index, per_row)
        x, y = column * width + left, total_height - header - (row + 1) * height + bottom
        size = (width - left - 0.17) / total_width, (height - TOP - bottom) / total_height
        panels.append(figure.add_axes((x / total_width, y / total_height, *size)))
    return figure, panels


def _plot_scores(axes: "Axes", summary: ComparisonSummary, blocks: Sequence[Block]) -> None:
    """Plot the score of each run as a dot, shifted vertically by its index so that equal scores are visible."""
    for row, arm in enumerate(summary.arms):
        scores = [block[arm.name].known_score for block in blocks]
        heights = [row + ((index * 0.618) % 1 - 0.5) * 0.5 for index in range(len(scores))]
        axes.scatter(scores, heights, s=7, color=SKY, alpha=0.7, linewidths=0, zorder=2)
    axes.set_xlim(-0.03, 1.03)


def _plot_interval(axes: "Axes", row: int, estimate: IntervalEstimate, colour: str) -> None:
    axes.plot([estimate.low, estimate.high], [row] * 2, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.plot([estimate.value], [row], "o", color=colour, markersize=5, markeredgecolor="white", zorder=4)
