"""Figures of a comparison of models: quality against the cost of a sample, and against the time of training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.figures import COLOURS, LEGEND_COLUMNS, LEGEND_HEIGHT, LEGEND_ROW, WIDE, make_panels
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import Block, blocks_by_setting, group_by_setting
from equipoise.report.formatting import format_number
from equipoise.report.plot_style import panel_title, render_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.4
"""Height of a panel in inches: more than that of a curve, for the names of the arms."""
LINES = ("-", "--", ":")
"""Line styles; the colours start again with the next one."""
LABEL_SIZE, LABEL_GAP = 7, 5
"""Height of the names of arms, and their distance from the points, in points."""
LABEL_HEIGHTS = tuple(sign * step for step in (0, 9, 18, 27, 36) for sign in (1, -1))
"""Heights of names above their points that are tried, in points, on the right side and on the left."""
LETTER_WIDTH = 0.62
"""Mean width of a letter as a share of LABEL_SIZE."""
Box = tuple[float, float, float, float]
"""Left, low, right and high, in points."""
MAX_COLUMNS = 2
"""Panels in a row on a desktop: names of arms need room."""


def plot_sampling_cost(plan: ComparisonPlan, blocks: Sequence[Block], columns: int = WIDE) -> bytes:
    """Plot scores over CPU seconds per 1,000 samples, a panel per setting; lines connect arms that share a run."""
    return render_png(lambda: _sampling_figure(plan, blocks, min(columns, MAX_COLUMNS)))


def plot_training_cost(plan: ComparisonPlan, blocks: Sequence[Block], columns: int = WIDE) -> bytes:
    """Plot median scores over CPU seconds of training, a panel per setting, for all arms that train."""
    return render_png(lambda: _training_figure(plan, blocks, columns))


def _styles(plan: ComparisonPlan) -> dict[str, tuple[str, str]]:
    """Return arm -> colour and line style, the same for arms that share a run."""
    trained = list(dict.fromkeys(arm.run or name for name, arm in plan.arms.items()))
    styles = {
        name: (COLOURS[index % len(COLOURS)], LINES[index // len(COLOURS) % len(LINES)])
        for index, name in enumerate(trained)
    }
    return {name: styles[arm.run or name] for name, arm in plan.arms.items()}


def _sampling_figure(plan: ComparisonPlan, blocks: Sequence[Block], columns: int) -> "Figure":
    groups = blocks_by_setting(blocks)
    figure, panels = make_panels(len(groups), HEIGHT, columns=columns)
    for axes, (setting, group) in zip(panels, groups.items(), strict=True):
        points = {}
        for name in plan.arms:
            runs = [block[name] for block in group]
            if any(
                run.sampling is not None for run in runs
            ):  # failed runs score 0, and samples cost as those of others
                points[name] = _cost(runs), aggregate.estimate_mean(group_by_setting(runs, _score), aggregate.UNIT)
        _plot_points(axes, plan, points)
        _use_log_scale(axes)
        axes.margins(x=0.25)
        top = min(1.0, 1.1 * max((score.high for _, score in points.values()), default=1.0)) or 1.0
        axes.set_ylim(-0.05 * top, 1.05 * top)
        _label_points(axes, points)
        axes.set_xlabel("CPU seconds per 1,000 samples")
        axes.set_ylabel("score, mean with 95 % interval")
        panel_title(axes, setting, legends=False)
    return figure


def _use_log_scale(axes: "Axes") -> None:
    """Use a logarithmic axis of costs with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: format_number(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _plot_points(axes: "Axes", plan: ComparisonPlan, points: Mapping[str, tuple[float, IntervalEstimate]]) -> None:
    """Plot one point per arm; arms that share a run are connected, the cheapest samples first."""
    styles = _styles(plan)
    for trained in dict.fromkeys(plan.arms[name].run or name for name in points):
        names = sorted((name for name in points if trained in (name, plan.arms[name].run)), key=lambda n: points[n][0])
        colour, line = styles[trained]
        axes.plot([points[n][0] for n in names], [points[n][1].value for n in names], line, color=colour, linewidth=1.2)
        for name in names:
            cost, score = points[name]
            axes.plot([cost, cost], [score.low, score.high], color=colour, linewidth=1, alpha=0.6)
            axes.plot([cost], [score.value], "o", color=colour, markersize=5, markeredgecolor="white")


def _label_points(axes: "Axes", points: Mapping[str, tuple[float, IntervalEstimate]]) -> None:
    """Write the names of arms next to their points, where they cover as few others, and points, as possible."""
    if not points:  # no arm has samples
        return
    dots = axes.transData.transform([(cost, score.value) for cost, score in points.values()]) * 72 / axes.figure.dpi
    boxes = [(x - 3, y - 3, x + 3, y + 3) for x, y in dots]
    for name, (x, y) in sorted(zip(points, dots, strict=True), key=lambda item: item[1][0]):
        width = LETTER_WIDTH * LABEL_SIZE * len(name)
        places = [(side, height) for height in LABEL_HEIGHTS for side in (LABEL_GAP, -LABEL_GAP - width)]
        drawn = [(x + dx, y + dy - LABEL_SIZE / 2, x + dx + width, y + dy + LABEL_SIZE / 2) for dx, dy in places]
        best = min(range(len(places)), key=lambda number: sum(_overlap(drawn[number], box) for box in boxes))
        boxes.append(drawn[best])
        cost, score = points[name]
        axes.annotate(
            name, (cost, score.value), xytext=places[best], textcoords="offset points", fontsize=LABEL_SIZE, va="center"
        )


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes have in common."""
    left, low, right, high = (*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:]))
    return max(0.0, right - left) * max(0.0, high - low)


def _training_figure(plan: ComparisonPlan, blocks: Sequence[Block], columns: int) -> "Figure":
    groups = blocks_by_setting(blocks)
    names, styles = [name for name, arm in plan.arms.items() if arm.run is None], _styles(plan)
    per_row = LEGEND_COLUMNS * columns
    header = LEGEND_HEIGHT + LEGEND_ROW * ((len(names) - 1) // per_row)
    figure, panels = make_panels(len(groups), HEIGHT, header=header, columns=columns)
    for axes, (setting, group) in zip(panels, groups.items(), strict=True):
        for name in names:
            seconds, scores = _median_curve([block[name] for block in group])
            colour, line = styles[name]
            axes.plot(seconds, scores, line, color=colour, label=name, linewidth=1.4, marker="o", markersize=2.5)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.05, 1.05)
        axes.set_xlabel("CPU seconds, with the run that it starts from")
        axes.set_ylabel("median score")
        panel_title(axes, setting, legends=False)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="upper left", ncols=min(len(names), per_row), frameon=False, bbox_to_anchor=(0.03, 1.0))
    return figure


def _median_curve(runs: Sequence[RunResult]) -> tuple[list[float], list[float]]:
    """Return CPU seconds and scores at each measurement, medians over the runs that have it."""
    longest = max(len(run.curve) for run in runs)
    points = [
        [(run.curve[index][2] + run.start_cpu, run.curve[index][1]) for run in runs if index < len(run.curve)]
        for index in range(longest)
    ]
    medians = [np.median(part, axis=0).tolist() for part in points]
    return [seconds for seconds, _ in medians], [score for _, score in medians]


def _cost(runs: Sequence[RunResult]) -> float:
    """Return the geometric mean of the CPU seconds per 1,000 samples."""
    costs = [run.sampling.cpu_seconds_per_1000 for run in runs if run.sampling is not None]
    return float(np.exp(np.mean(np.log(np.maximum(costs, 1e-6)))))


def _score(run: RunResult) -> float:
    return run.known_score
