"""Figure of a diagnosis: the curves of a log over its own steps, the findings as shaded periods, the best checkpoint.

It knows no symptoms and reads no logs: it draws the numbers and names that it is given.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from equipoise.report.figure_panels import DrawFunction, draw_curves, scale_for_outliers, smallest_positive
from equipoise.report.formatting import format_number, one_line, symptom_words
from equipoise.report.plot_style import (
    BLUE,
    DPI,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    format_steps,
    panel_legend,
    panel_title,
    render_png,
    value_axis,
)
from equipoise.report.series import CurveSeries, CurveValues

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL, STRIP, HEADER, AXIS = 10.0, 1.85, 0.62, 0.62, 0.42
"""Inches: the figure, a panel, the strip of findings without its rows, the header of a game, and its step axis."""
STRIP_ROW, LEFT, RIGHT, TOP, BOTTOM = 0.2, 0.78, 0.2, 0.5, 0.12
MAX_GAMES, MAX_METRICS = 12, 6
"""Largest numbers that are drawn; the title says how many are not."""
MAX_SHOWN = 1e30
"""Larger values are drawn as crosses: a scale with them shows nothing else."""
DECADES, MAX_DECADES = 2.0, 12.0
"""Positive values that span more decades are drawn on a logarithmic scale, of at most this many."""
BINS_OF_METRIC, MARKED = 500, 60
"""Largest numbers of points of a metric, and of markers."""
SPAN_COLOURS = (RED, PURPLE, BLUE, GREEN, ORANGE, SKY, GREY)
NARROWEST = 1 / 200
"""Least width of a period as a share of the axis."""

Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One panel: named curves with one value axis. `limits`: of the axis, None for the range of the values.

    `colours`: name of a curve -> colour; `baseline`: a horizontal line, such as the value of chance.
    """

    title: str
    label: str
    curves: Mapping[str, CurveSeries]
    colours: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class MetricPanel:
    """The measurements of a metric: `steps` and `values`, nan included, and the best of them, None without one."""

    name: str
    better: str
    steps: Sequence[float]
    values: Sequence[float]
    best: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class FindingSpan:
    """A period of a symptom: from step `start` to `end`, and its severity in [0, 1], 0 for information.

    `recovered`: there may be several periods from the first to the last step, and none at the end.
    """

    name: str
    start: float
    end: float
    severity: float
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class GameCurves:
    """What is drawn of one game. `unit`: of the steps; `non_finite`: steps with a loss that is nan or inf."""

    title: str
    subtitle: str
    unit: str
    steps: Limits
    panels: Sequence[CurvePanel] = ()
    metrics: Sequence[MetricPanel] = ()
    spans: Sequence[FindingSpan] = ()
    non_finite: Sequence[float] = ()


def render_diagnosis(games: Sequence[GameCurves]) -> bytes:
    """Draw all games below each other; return PNG bytes."""
    return render_png(lambda: _figure(games))


def _figure(games: Sequence[GameCurves]) -> "Figure":
    from matplotlib.figure import Figure

    shown = games[:MAX_GAMES]
    total = sum(map(_height, shown))
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)
    top = total
    for game in shown:
        hidden = len(games) - len(shown) if game is shown[-1] else 0
        _draw_game(figure, game, top, f" · {hidden} more games are not drawn" if hidden else "")
        top -= _height(game)
    return figure


def _height(game: GameCurves) -> float:
    panels = len(game.panels) + len(game.metrics[:MAX_METRICS])
    return HEADER + max(1, panels) * PANEL + (_strip_height(game) if game.spans else 0.0) + AXIS


def _strip_height(game: GameCurves) -> float:
    return STRIP + STRIP_ROW * len({span.name for span in game.spans})


def _draw_game(figure: "Figure", game: GameCurves, top: float, note: str) -> None:
    """Draw the header, the panels, and the strip of findings of a game from `top` inches downwards."""
    height = figure.get_figheight()
    figure.text(0.012, (top - 0.1) / height, one_line(game.title, 90), va="top", fontsize=13, weight="bold", color=INK)
    hidden = len(game.metrics) - MAX_METRICS
    note = (f" · {hidden} more metrics are not drawn" if hidden > 0 else "") + note
    subtitle = one_line(game.subtitle, 150) + note
    figure.text(0.012, (top - 0.37) / height, subtitle, va="top", fontsize=8.5, color=GREY)
    top -= HEADER
    all_axes = []
    drawings: list[DrawFunction] = [functools.partial(_draw_panel, panel=panel, game=game) for panel in game.panels]
    drawings += [functools.partial(_draw_metric, panel=panel, game=game) for panel in game.metrics[:MAX_METRICS]]
    for draw in drawings:
        axes = _add_axes(figure, top, PANEL)
        draw(axes)
        all_axes.append(axes)
        top -= PANEL
    colours = dict(zip(dict.fromkeys(span.name for span in game.spans), itertools.cycle(SPAN_COLOURS), strict=False))
    for axes in all_axes:
        _shade(axes, game, colours)
    if game.spans:
        strip = _add_axes(figure, top, _strip_height(game))
        _draw_strip(strip, game, colours)
        all_axes.append(strip)
    for axes in all_axes:
        _step_axis(axes, game, labels=axes is all_axes[-1])
    if not all_axes:
        figure.text(0.5, (top - PANEL / 2) / height, "the log has no values to draw", ha="center", color=GREY)


def _add_axes(figure: "Figure", top: float, height: float) -> "Axes":
    """Add axes over the whole width; positions in inches."""
    width, total = figure.get_figwidth(), figure.get_figheight()
    inner = (LEFT / width, (top - height + BOTTOM) / total, (width - LEFT - RIGHT) / width)
    return figure.add_axes((*inner, (height - TOP - BOTTOM) / total))


def _draw_panel(axes: "Axes", panel: CurvePanel, game: GameCurves) -> None:
    """Draw the curves of a panel, and a cross at the top where a loss is not finite or beyond any scale."""
    panel_title(axes, panel.title)
    if panel.baseline is not None:
        axes.axhline(panel.baseline, color=GREY, linewidth=0.8)
    curves = {name: _bounded(series) for name, series in panel.curves.items()}
    draw_curves(axes, curves, dict(panel.colours))
    if panel.limits:
        value_axis(axes, panel.label)
        axes.set_ylim(*panel.limits)
    else:
        _scale(axes, panel.label, [edge for series in curves.values() for edge in (series.low, series.high)])
    if game.non_finite and panel is game.panels[0]:
        _mark(axes, game.non_finite, "not finite")
    if beyond := {step for series in panel.curves.values() for step in _steps_beyond(series)}:
        _mark(axes, sorted(beyond), f"above {format_number(MAX_SHOWN)}")


def _steps_beyond(series: CurveSeries) -> list[float]:
    """Return the steps with finite values that no scale can show."""
    is_beyond = np.isfinite(series.mean) & (np.abs(series.mean) > MAX_SHOWN)
    return [float(step) for step in series.steps[is_beyond]]


def _draw_metric(axes: "Axes", panel: MetricPanel, game: GameCurves) -> None:
    """Draw the measurements of a metric, the best one marked, and a cross where it is not finite."""
    name = one_line(panel.name, 40)
    panel_title(axes, f"Metric {name}")
    series = _bounded(CurveSeries.of(panel.steps, panel.values))
    reduced = series.decimated(BINS_OF_METRIC)
    marker = "o" if len(reduced.steps) <= MARKED else None
    last = f"{name} → {format_number(series.last)}" if series else name
    axes.plot(reduced.steps, reduced.mean, color=GREEN, marker=marker, markersize=3, label=last)
    if panel.best:
        step, value = panel.best
        label = f"best {format_number(value)} at {game.unit} {step:,.0f}"
        axes.axvline(step, color=RED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.plot([step], [value], "*", color=RED, markersize=11, label=label, linestyle="", zorder=5, clip_on=False)
    _scale(axes, f"{panel.better} is better", [reduced.low, reduced.high], may_be_log=panel.better == "lower")
    panel_legend(axes)
    if gaps := [step for step, value in zip(panel.steps, panel.values, strict=True) if not abs(value) <= MAX_SHOWN]:
        _mark(axes, gaps, "not finite")


def _bounded(series: CurveSeries) -> CurveSeries:
    """Return a series without the values that no scale can show."""
    arrays = (np.where(np.abs(array) <= MAX_SHOWN, array, np.nan) for array in (series.mean, series.low, series.high))
    return CurveSeries(series.steps, *arrays)


def _scale(axes: "Axes", label: str, arrays: Sequence[CurveValues], *, may_be_log: bool = True) -> None:
    """Set up a value axis that shows most of the values: linear, logarithmic, or both."""
    values = np.concatenate([array[np.isfinite(array)] for array in arrays])
    if not values.size:
        axes.set_ylabel("no finite value")
        axes.set_yticks([])
        return
    low, high = float(values.min()), float(values.max())
    smallest = max(smallest_positive(values), high / 10**MAX_DECADES) if high > 0 else math.inf
    if may_be_log and low >= 0 and high > 10**DECADES * smallest:
        value_axis(axes, label, "log" if low >= smallest else "symlog", smallest)
        return
    value_axis(axes, label, *scale_for_outliers([values]))


def _mark(axes: "Axes", steps: Sequence[float], label: str) -> None:
    """Draw crosses at the top of a panel."""
    shown = (
        steps if len(steps) <= MARKED else [steps[index] for index in np.linspace(0, len(steps) - 1, MARKED, dtype=int)]
    )
    axes.plot(
        shown,
        [0.97] * len(shown),
        "x",
        color=RED,
        markersize=4.5,
        transform=axes.get_xaxis_transform(),
        label=label,
        clip_on=False,
    )
    panel_legend(axes)


def _period(span: FindingSpan, game: GameCurves) -> Limits:
    """Return the edges of a period within the axis, at least NARROWEST of it wide."""
    first, last = game.steps
    width = max(span.end - span.start, NARROWEST * (last - first)) or 1.0
    start = min(max(span.start, first), max(first, last - width))
    return start, min(start + width, max(last, start + width))


def _shade(axes: "Axes", game: GameCurves, colours: Mapping[str, str]) -> None:
    """Shade the periods of the findings that are problems and have not recovered behind the curves of a panel."""
    for span in game.spans:
        if span.severity > 0 and not span.recovered:
            start, end = _period(span, game)
            axes.axvspan(start, end, color=colours[span.name], alpha=0.04 + 0.1 * span.severity, linewidth=0, zorder=0)


def _draw_strip(axes: "Axes", game: GameCurves, colours: Mapping[str, str]) -> None:
    """Draw the periods of each symptom as a row of bars; a darker bar is more severe."""
    panel_title(axes, "Findings (darker: more severe; faint: recovered)", legends=False)
    for span in game.spans:
        row = list(colours).index(span.name)
        start, end = _period(span, game)
        alpha = 0.15 if span.recovered else 0.15 + 0.6 * span.severity
        axes.broken_barh([(start, end - start)], (row - 0.42, 0.84), facecolors=colours[span.name], alpha=alpha)
    for row, name in enumerate(colours):
        words = symptom_words(name, 60)
        axes.text(0.004, row, words, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color=INK)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(colours) - 0.4, -0.6)


def _step_axis(axes: "Axes", game: GameCurves, *, labels: bool) -> None:
    """Set up the horizontal axis in the unit of the log."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    first, last = game.steps
    margin = 0.012 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    ticks = MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]) if last > first else FixedLocator([first])
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_steps(x)))
    axes.tick_params(labelbottom=labels)
    if labels:
        axes.set_xlabel(f"{game.unit}s" if len(game.unit) > 1 else game.unit)
