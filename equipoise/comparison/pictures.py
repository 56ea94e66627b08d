"""The pictures of a comparison, as PNG: quality, each setting, how scores rise, stability. Arms stand in rows, not in
colours, so that a dozen of them can be told apart; curves have a panel for each setting and colours for the best arms.
Each is drawn `across` panels wide: three for a desk, one for a phone.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING

from equipoise.comparison.aggregate import Estimate
from equipoise.comparison.results import Row
from equipoise.comparison.summary import Block, Summaries, by_setting
from equipoise.report.axes import BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY, title
from equipoise.report.figures import COLUMN, DOTS, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
"""Of curves; further arms are left to the table."""
ROW, HEAD, FOOT, LETTER, STRIP, FURTHER = 0.24, 0.42, 0.5, 0.066, 0.3, 0.15
"""Inches: a row of an arm, room above and below the rows, a letter of its name, a legend above all panels, and a
further row of that."""
CURVE = 2.2
"""Inches: the height of a panel of curves."""
WIDE, NARROW = 3, 1
"""Panels side by side, on a desk and on a phone."""
LEGEND = 2
"""Names side by side in a legend, for each panel."""


def quality(result: Summaries, blocks: Sequence[Block], across: int = WIDE) -> bytes:
    """Interquartile means with intervals over dots of single runs; beside it, the chance to beat the baseline."""
    return png(lambda: _quality(result, blocks, across))


def settings(result: Summaries, blocks: Sequence[Block], across: int = WIDE) -> bytes:
    """Each setting for itself: dots of runs, and their median."""
    return png(lambda: _settings(result, blocks, across))


def curves(result: Summaries, blocks: Sequence[Block], across: int = WIDE) -> bytes:
    """Median score over the steps of a run, a panel for each setting; the best arms and the baseline."""
    return png(lambda: _curves(result, blocks, across))


def stability(result: Summaries, across: int = WIDE) -> bytes:
    """Failures, what was lost after the best look, readings with lost variety; with intervals."""
    return png(lambda: _stability(result, across))


def _quality(result: Summaries, blocks: Sequence[Block], across: int) -> "Figure":
    figure, (left, right) = _panels(result, 2, across)
    _dots(left, result, blocks)
    for place, one in enumerate(result.arms):
        _interval(left, place, one.quality, GREY if one.arm == result.baseline else BLUE)
        if one.against:
            _interval(right, place, one.against.improvement, BLUE)
    title(left, "Score: 0 as worthless, 1 as real", legends=False)
    left.set_xlabel("interquartile mean, 95 %; dots: runs")
    title(right, f"Chance to beat {result.baseline}", legends=False)
    right.axvline(0.5, color=GREY, linewidth=1)
    right.set_xlim(-0.03, 1.03)
    right.set_xlabel("of a run, 95 % interval")
    return figure


def _settings(result: Summaries, blocks: Sequence[Block], across: int) -> "Figure":
    inside = by_setting(blocks)
    figure, panels = _panels(result, len(inside), across)
    for axes, (name, group) in zip(panels, inside.items(), strict=True):
        _dots(axes, result, group)
        for place, one in enumerate(result.arms):
            middle = median_low(block[one.arm].scored for block in group)
            axes.plot([middle] * 2, [place - 0.32, place + 0.32], color=INK, linewidth=2, solid_capstyle="butt")
        axes.axvline(result.thresholds[name], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        title(axes, name, legends=False)
        axes.set_xlabel("score; stroke: median")
    return figure


def _curves(result: Summaries, blocks: Sequence[Block], across: int) -> "Figure":
    inside = by_setting(blocks)
    shown = [one.arm for one in result.arms[: len(COLOURS)]]
    if result.baseline not in shown:
        shown[-1] = result.baseline
    names_across = LEGEND * across
    more = (len(shown) - 1) // names_across
    figure, panels = grid(len(inside), CURVE, strip=STRIP + FURTHER * more, columns=across)
    for axes, (name, group) in zip(panels, inside.items(), strict=True):
        for colour, arm in zip(COLOURS, shown, strict=False):
            steps, low, middle, high = _course([block[arm] for block in group])
            dark = arm == result.baseline
            axes.plot(steps, middle, color=INK if dark else colour, label=arm, linewidth=1.8 if dark else 1.3)
            axes.fill_between(steps, low, high, color=INK if dark else colour, alpha=0.10, linewidth=0)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("score")
        axes.set_xlabel("steps")
        title(axes, name, legends=False)
    names = panels[0].get_legend_handles_labels()
    figure.legend(
        *names, loc="upper left", ncols=min(len(shown), names_across), frameon=False, bbox_to_anchor=(0.03, 1.0)
    )
    return figure


def _course(rows: Sequence[Row]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Steps of looks, and of the scores there the quartiles and the median; a run that diverged counts 0 from there."""
    import numpy as np

    longest = max((row.looks for row in rows), key=len)
    scores = [[row.looks[at][1] if at < len(row.looks) else 0.0 for row in rows] for at in range(len(longest))]
    low, middle, high = (np.quantile(scores, share, axis=1).tolist() if scores else [] for share in (0.25, 0.5, 0.75))
    return [float(step) for step, _, _ in longest], low, middle, high


def _stability(result: Summaries, across: int) -> "Figure":
    figure, panels = _panels(result, 3, across)
    columns: tuple[tuple[str, list[Estimate | None], str], ...] = (
        ("Runs that failed", [one.failing for one in result.arms], "share of runs, 95 % interval"),
        ("Lost after the best look", [one.fallen for one in result.arms], "score of runs that ended, 95 % interval"),
        ("Lost variety", [one.collapse for one in result.arms], "share of readings, second half of a run"),
    )
    for axes, (name, estimates, label) in zip(panels, columns, strict=True):
        for place, (one, estimate) in enumerate(zip(result.arms, estimates, strict=True)):
            if estimate:
                _interval(axes, place, estimate, GREY if one.arm == result.baseline else ORANGE)
        axes.set_xlim(0, max([0.05, *(estimate.high for estimate in estimates if estimate)]) * 1.08)
        axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
        axes.locator_params(axis="x", nbins=5)
        title(axes, name, legends=False)
        axes.set_xlabel(label)
    return figure


def _panels(result: Summaries, count: int, across: int) -> "tuple[Figure, list[Axes]]":
    """Panels in which each arm has a row, the best at the top; names at the left of each."""
    names = 0.2 + LETTER * max(len(one.arm) for one in result.arms)
    figure, panels = grid(count, HEAD + ROW * len(result.arms) + FOOT, left=names, columns=across)
    for axes in panels:
        axes.set_yticks(range(len(result.arms)), [one.arm for one in result.arms])
        axes.set_ylim(len(result.arms) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        for place in range(0, len(result.arms), 2):
            axes.axhspan(place - 0.5, place + 0.5, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
    return figure, panels


def grid(
    count: int,
    height: float,
    left: float = 0.55,
    strip: float = 0.0,
    across: int = 1,
    foot: float = FOOT,
    columns: int = WIDE,
) -> "tuple[Figure, list[Axes]]":
    """`count` panels of `height` inches with the same room around each; a free strip above all.

    `columns`: the width of the figure, in columns of a report; in each of them, `across` panels side by side.
    """
    from matplotlib.figure import Figure

    across = min(count, across * columns)
    down = -(-count // across)
    wide, total = COLUMN * columns, height * down + strip
    figure = Figure(figsize=(wide, total), dpi=DOTS)
    width, panels = wide / across, []
    for place in range(count):
        row, column = divmod(place, across)
        x, y = column * width + left, total - strip - (row + 1) * height + foot
        inner = (width - left - 0.17) / wide, (height - HEAD - foot) / total
        panels.append(figure.add_axes((x / wide, y / total, *inner)))
    return figure, panels


def _dots(axes: "Axes", result: Summaries, blocks: Sequence[Block]) -> None:
    """The score of each run, a little up or down by its place, so that equal ones are seen."""
    for place, one in enumerate(result.arms):
        scores = [block[one.arm].scored for block in blocks]
        shifts = [((number * 0.618) % 1 - 0.5) * 0.5 for number in range(len(scores))]
        heights = [place + shift for shift in shifts]
        axes.scatter(scores, heights, s=7, color=SKY, alpha=0.7, linewidths=0, zorder=2)
    axes.set_xlim(-0.03, 1.03)


def _interval(axes: "Axes", place: int, estimate: Estimate, colour: str) -> None:
    axes.plot([estimate.low, estimate.high], [place] * 2, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3)
    axes.plot([estimate.value], [place], "o", color=colour, markersize=5, markeredgecolor="white", zorder=4)
