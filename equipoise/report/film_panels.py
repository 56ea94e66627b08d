"""Panels of a film: a few curves each, with the current value next to each name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from equipoise.report.figure_panels import BINS, KNOB_RANGES, OTHER_COLOURS, PLAYER_COLOURS, loss_curves
from equipoise.report.formatting import format_count, format_number, one_line, symptom_words
from equipoise.report.plot_style import BLUE, GREEN, INK, ORANGE, PURPLE, RED
from equipoise.report.run_history import KnobHistory, MetricHistory, RemedyRecord, RunHistory
from equipoise.report.series import CurveSeries, CurveValues, corner_positions
from equipoise.report.text_rendering import MUTED, TextSpan
from equipoise.runs.manual_control import HoldPeriod

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS, MAX_KNOB_PANELS = 3, 4
"""Maximum numbers of panels: more would be too small to read at a height of 720 pixels."""
CURVE_QUANTILE, CURVE_SLACK = 0.98, 0.5
METRIC_QUANTILE, METRIC_SLACK = 0.75, 3.0
"""The value axis spans from quantile 1 − q to q, extended on both sides by `slack` times that distance. The few values
outside are off the panel, but the current value is always printed above it."""
SHORT_NAMES = {"discriminator": "D", "generator": "G"}


@dataclass(frozen=True)
class FilmCurve:
    """A curve: all values, and the points (steps, values) through which it is drawn."""

    name: str
    colour: str
    series: CurveSeries
    points: tuple[CurveValues, CurveValues]
    is_step_function: bool = False

    def value(self, step: float) -> float:
        """Return the last value at or before a step; NaN before the first."""
        index = int(np.searchsorted(self.series.steps, step, side="right")) - 1
        return float(self.series.mean[index]) if index >= 0 else float("nan")

    def height(self, step: float) -> float:
        """Return the y value of the drawn curve at a step; NaN outside of the curve."""
        steps, values = self.points
        if not len(steps) or step < steps[0]:
            return float("nan")
        if self.is_step_function:
            return float(values[int(np.searchsorted(steps, step, side="right")) - 1])
        return float(np.interp(step, steps, values)) if step <= steps[-1] else float("nan")


@dataclass(frozen=True)
class FilmPanel:
    """A panel: how to draw it, and the text that it shows at a step. `is_strip`: it is low and has no value axis."""

    title: str
    draw: Callable[["Axes"], None]
    text_at: Callable[[float], list[TextSpan]]
    curves: tuple[FilmCurve, ...] = ()
    is_strip: bool = False


def film_panels(history: RunHistory) -> list[FilmPanel]:
    """Return the panels of a film: at most three with a value axis, findings, holds, and the knobs that changed."""
    metrics = [_metric_panel(metric) for metric in history.metrics() if metric.last_index is not None]
    panels = [
        _loss_panel(history),
        _rank_panel(history),
        *metrics[:1],
        _probability_panel(history),
        *metrics[1:],
        _gradient_panel(history),
    ]
    return [
        *[panel for panel in panels if panel][:MAX_PANELS],
        *([_findings_panel(history)] if history.symptom_periods() or history.remedies() else []),
        *([_manual_panel(history)] if history.hold_periods() else []),
        *[_knob_panel(group, history.step) for group in _visible_groups(history)],
    ]


def count_hidden_knobs(history: RunHistory) -> int:
    """Return the number of changed knobs for which there is no panel."""
    return len(history.knob_histories()) - sum(len(group) for group in _visible_groups(history))


def _loss_panel(history: RunHistory) -> FilmPanel | None:
    curves = loss_curves(history)
    other_colours = iter(OTHER_COLOURS * len(curves))
    colours = [PLAYER_COLOURS.get(name) or next(other_colours) for name in curves]
    names = SHORT_NAMES if len(curves) > 2 else {}
    return _curve_panel("Loss", {names.get(name, name): series for name, series in curves.items()}, colours)


def _rank_panel(history: RunHistory) -> FilmPanel | None:
    curves = {"vs fakes": history.signal("rank_train_fake"), "vs held-out": history.signal("rank_train_held_out")}
    return _curve_panel("D rank", curves, (ORANGE, PURPLE), (-0.25, 1.08))


def _probability_panel(history: RunHistory) -> FilmPanel | None:
    curves = {"D(x)": history.signal("probability_real"), "D(G(z))": history.signal("probability_fake")}
    return _curve_panel("D output", curves, (ORANGE, BLUE), (-0.04, 1.04))


def _gradient_panel(history: RunHistory) -> FilmPanel | None:
    curves = {"discriminator": history.signal("gradient_norm_d"), "generator": history.signal("gradient_norm_g")}
    return _curve_panel("Gradient norm", curves, (ORANGE, BLUE))


def _curve_panel(
    title: str,
    series_by_name: Mapping[str, CurveSeries],
    colours: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> FilmPanel | None:
    """Return a panel of means over bands from minimum to maximum; None without data. `limits`: of the value axis."""
    present = {name: series for name, series in series_by_name.items() if series}
    if not present:
        return None
    colour = dict(zip(series_by_name, colours, strict=True))
    reduced = {name: series.decimated(BINS) for name, series in present.items()}
    curves = tuple(
        FilmCurve(one_line(name, 24), colour[name], series, (reduced[name].steps, reduced[name].mean))
        for name, series in present.items()
    )

    def draw(axes: "Axes") -> None:
        for curve, series in zip(curves, reduced.values(), strict=True):
            axes.fill_between(series.steps, series.low, series.high, color=curve.colour, alpha=0.22, linewidth=0)
            marker = "o" if len(series.steps) <= 12 else None
            axes.plot(series.steps, series.mean, color=curve.colour, marker=marker, markersize=4)
        extremes = [series.low for series in present.values()] + [series.high for series in present.values()]
        low, high = _axis_limits(extremes, CURVE_QUANTILE, CURVE_SLACK)
        axes.set_ylim(*((min(low, limits[0]), limits[1]) if limits else (low, high)))

    return FilmPanel(title, draw, lambda step: _current_values(curves, step), curves)


def _metric_panel(metric: MetricHistory) -> FilmPanel:
    series = CurveSeries.of(metric.steps, metric.values)
    curve = FilmCurve("last", GREEN, series, (series.steps, series.mean))

    def draw(axes: "Axes") -> None:
        axes.plot(series.steps, series.mean, "-o", color=GREEN, markersize=4)
        axes.set_ylim(*_axis_limits([series.mean], METRIC_QUANTILE, METRIC_SLACK))

    def text_at(step: float) -> list[TextSpan]:
        direction = TextSpan(f"({one_line(metric.better, 12)} is better)", colour=MUTED)
        return [direction, *_current_values((curve,), step)]

    return FilmPanel(one_line(metric.name, 24), draw, text_at, (curve,))


def _axis_limits(arrays: Sequence[CurveValues], quantile: float, slack: float) -> tuple[float, float]:
    """Return limits of a value axis that ignore outliers; see CURVE_QUANTILE."""
    values = np.concatenate(arrays)
    values = values[np.isfinite(values)]
    low, high = (float(edge) for edge in np.quantile(values, (1 - quantile, quantile)))
    extension = slack * (high - low) or 0.1 * abs(high) or 0.5
    low, high = max(low - extension, float(values.min())), min(high + extension, float(values.max()))
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 0.5
    return low - margin, high + margin


def _current_values(curves: Sequence[FilmCurve], step: float) -> list[TextSpan]:
    return [TextSpan(curve.name, _three_digits(curve.value(step)), swatch=curve.colour) for curve in curves]


def _three_digits(value: float) -> str:
    """Format a value with three digits: a fourth would change faster than it can be read."""
    return format_number(float(f"{value:.3g}")) if np.isfinite(value) else "–"


def _findings_panel(history: RunHistory) -> FilmPanel:
    """Return a panel of when symptoms were detected, darker if more severe, with remedies as vertical lines."""
    periods, remedies = history.symptom_periods(), history.remedies()
    min_width = max(1.0, history.step / 150)

    def draw(axes: "Axes") -> None:
        for period in periods:
            width = max(min_width, period.end - period.start)
            start = min(period.start, max(0.0, history.step - width))
            axes.broken_barh([(start, width)], (0, 1), facecolors=RED, alpha=0.25 + 0.6 * period.severity, linewidth=0)
        for remedy in remedies:
            axes.axvline(remedy.step, color=BLUE, linewidth=3)
        axes.set_ylim(0, 1)

    def text_at(step: float) -> list[TextSpan]:
        current = [period for period in periods if period.start <= step <= max(period.end, period.start + min_width)]
        names = dict.fromkeys(f"{symptom_words(period.name, 30)} {period.severity:.0%}" for period in current)
        active = [remedy for remedy in remedies if remedy.step <= step <= max(remedy.until, remedy.step + min_width)]
        spans = [TextSpan(name, swatch=RED) for name in names]
        spans += [TextSpan(_remedy_text(remedy), swatch=BLUE) for remedy in active[-1:]]
        return spans or [TextSpan("none", colour=MUTED)]

    return FilmPanel("Findings", draw, text_at, is_strip=True)


def _remedy_text(remedy: RemedyRecord) -> str:
    if remedy.restored_step is None:
        return "knobs overridden"
    return f"rollback to step {format_count(remedy.restored_step)}"


def _manual_panel(history: RunHistory) -> FilmPanel:
    """Return a panel of when a person held knobs, and which."""
    periods, min_width = history.hold_periods(), max(1.0, history.step / 150)

    def end_of(period: HoldPeriod) -> float:
        return max(history.step if period.end is None else period.end, period.start + min_width)

    def draw(axes: "Axes") -> None:
        for period in periods:
            width = end_of(period) - period.start
            axes.broken_barh([(period.start, width)], (0, 1), facecolors=PURPLE, alpha=0.5, linewidth=0)
        axes.set_ylim(0, 1)

    def text_at(step: float) -> list[TextSpan]:
        current = [period for period in periods if period.start <= step < end_of(period)]
        spans = [TextSpan(one_line(period.knob, 24), _three_digits(period.value), swatch=PURPLE) for period in current]
        return spans or [TextSpan("none", colour=MUTED)]

    return FilmPanel("Manual", draw, text_at, is_strip=True)


def _visible_groups(history: RunHistory) -> list[list[KnobHistory]]:
    return _group_knobs(history.knob_histories(), history.step)[:MAX_KNOB_PANELS]


def _group_knobs(changes: Sequence[KnobHistory], end: float) -> list[list[KnobHistory]]:
    """Group knobs with the same relative changes at the same steps, such as learning rates; most changes first."""
    groups: list[list[KnobHistory]] = []
    for knob in sorted(changes, key=lambda knob: -len(knob.steps)):
        heights = _relative_heights(knob, end)[1]
        for group in groups:
            first = group[0]
            if first.steps == knob.steps and np.allclose(_relative_heights(first, end)[1], heights, atol=0.02):
                group.append(knob)
                break
        else:
            groups.append([knob])
    return groups


def _relative_heights(changes: KnobHistory, end: float) -> tuple[CurveValues, CurveValues]:
    """Return the steps, and the values of a knob on its own scale, from 0 (lowest in the run) to 1 (highest).

    The value before a change at step 0 is ignored.
    """
    steps, values = _knob_points(changes, end)
    range = KNOB_RANGES.get(changes.knob)
    if range and range.scale.startswith("log"):
        inner = 1 - values if range.scale == "log_complement" else values
        positive = inner[inner > 0]
        # 0 (off) is drawn half a decade under the lowest positive value.
        values = np.log10(np.where(inner > 0, inner, positive.min() / 3 if positive.size else 1.0))
        values = -values if range.scale == "log_complement" else values
    span = float(np.nanmax(values) - np.nanmin(values)) if np.isfinite(values).any() else 0.0
    heights = (values - np.nanmin(values)) / span if span > 0 else np.full_like(values, 0.5)
    return steps, heights


def _knob_points(changes: KnobHistory, end: float) -> tuple[CurveValues, CurveValues]:
    steps = np.array([0.0, *changes.steps, max(end, *changes.steps)])
    values = np.array([*changes.values, changes.values[-1]])
    is_last_of_step = np.append(np.diff(steps) > 0, True)
    return steps[is_last_of_step], values[is_last_of_step]


def _knob_panel(group: Sequence[KnobHistory], end: float) -> FilmPanel:
    steps, heights = _relative_heights(group[0], end)
    corners = corner_positions(steps, heights, BINS)
    curves = tuple(
        FilmCurve(
            one_line(knob.knob, 24),
            INK,
            CurveSeries.of(*map(list, _knob_points(knob, end))),
            (steps, heights),
            is_step_function=True,
        )
        for knob in group
    )

    def draw(axes: "Axes") -> None:
        axes.plot(steps[corners], heights[corners], drawstyle="steps-post", color=INK)
        axes.set_ylim(-0.15, 1.15)

    def text_at(step: float) -> list[TextSpan]:
        return [TextSpan(curve.name, _three_digits(curve.value(step))) for curve in curves]

    return FilmPanel("Knob" if len(group) == 1 else "Knobs", draw, text_at, curves[:1], is_strip=True)
