"""The panels of a film: few curves, each with its value of the moment beside its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from equipoise.report.plot_style import BLUE, GREEN, INK, ORANGE, PURPLE, RED
from equipoise.report.run_history import RunHistory, MetricHistory, RemedyRecord, SymptomPeriod, KnobHistory
from equipoise.report.text_rendering import MUTED, TextSpan
from equipoise.report.figure_panels import COLUMNS, OTHERS, PLAYERS, RANGES
from equipoise.report.series import FloatArray, StepSeries, corner_positions
from equipoise.report.formatting import format_count, one_line, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS, MOST_KNOBS = 3, 4
"""More could not be read at 720 lines."""
USUAL, SLACK = (0.98, 0.75), (0.5, 3.0)
"""Of curves and of a metric: the quantile up to which numbers are usual, from below likewise, and how far a scale
reaches beyond, in distances of the two. The few numbers outside leave the panel; what they are is said above it."""
BRIEF = {"discriminator": "D", "generator": "G"}


@dataclass(frozen=True)
class FilmCurve:
    """A curve: all readings, and the points (steps, values) through which it is drawn."""

    name: str
    colour: str
    readings: StepSeries
    points: tuple[FloatArray, FloatArray]
    stairs: bool = False
    """it stays where it is until the next reading"""

    def value(self, step: float) -> float:
        """The last reading at or before a step; NaN before the first."""
        position = int(np.searchsorted(self.readings.steps, step, side="right")) - 1
        return float(self.readings.mean[position]) if position >= 0 else float("nan")

    def height(self, step: float) -> float:
        """Where the drawn curve is at a step; NaN where it is not."""
        steps, values = self.points
        if not len(steps) or step < steps[0]:
            return float("nan")
        if self.stairs:
            return float(values[int(np.searchsorted(steps, step, side="right")) - 1])
        return float(np.interp(step, steps, values)) if step <= steps[-1] else float("nan")


@dataclass(frozen=True)
class FilmPanel:
    """A panel: its title, what it draws onto axes, and what it says of a step. `low`: without a scale of values."""

    title: str
    draw: Callable[["Axes"], None]
    say: Callable[[float], list[TextSpan]]
    tracks: tuple[FilmCurve, ...] = ()
    low: bool = False


def film_panels(history: RunHistory) -> list[FilmPanel]:
    """What a film shows: at most three panels with a scale, then the findings, then the knobs that moved."""
    metrics = [_metric(one) for one in history.measured() if one.last is not None]
    high = [_losses(history), _ranks(history), *metrics[:1], _probabilities(history), *metrics[1:], _gradients(history)]
    return [
        *[plot for plot in high if plot][:MOST_PANELS],
        *([_findings(history)] if history.symptoms() or history.remedies() else []),
        *_knobs(history.turns(), history.step)[:MOST_KNOBS],
    ]


def count_hidden_knobs(history: RunHistory) -> int:
    """How many of the knobs that moved are not shown, for want of room."""
    shown = _together(history.turns(), history.step)[:MOST_KNOBS]
    return len(history.turns()) - sum(len(group) for group in shown)


def _losses(history: RunHistory) -> FilmPanel | None:
    result = {name.removesuffix(".total"): history.loss(name) for name in history.losses()}
    if not any(result.values()):
        result = {"discriminator": history.signal("loss_d"), "generator": history.signal("loss_g")}
    others = iter(OTHERS * len(result))
    colours = [PLAYERS.get(name) or next(others) for name in result]
    names = BRIEF if len(result) > 2 else {}
    return _curves("Loss", {names.get(name, name): series for name, series in result.items()}, colours)


def _ranks(history: RunHistory) -> FilmPanel | None:
    result = {"fakes": history.signal("rank_train_fake"), "held-out": history.signal("rank_train_held_out")}
    return _curves("D tells reals from", result, (ORANGE, PURPLE), (-0.25, 1.08))


def _probabilities(history: RunHistory) -> FilmPanel | None:
    result = {"D(x)": history.signal("probability_real"), "D(G(z))": history.signal("probability_fake")}
    return _curves("D takes for real", result, (ORANGE, BLUE), (-0.04, 1.04))


def _gradients(history: RunHistory) -> FilmPanel | None:
    result = {"discriminator": history.signal("gradient_norm_d"), "generator": history.signal("gradient_norm_g")}
    return _curves("Gradient", result, (ORANGE, BLUE))


def _curves(
    title: str, result: dict[str, StepSeries], colours: Sequence[str], limits: tuple[float, float] | None = None
) -> FilmPanel | None:
    """Means over bands from lowest to highest."""
    kept = {name: series for name, series in result.items() if series}
    if not kept:
        return None
    colour = dict(zip(result, colours, strict=True))
    drawn = {name: series.decimated(COLUMNS) for name, series in kept.items()}
    tracks = tuple(
        FilmCurve(one_line(name, 24), colour[name], series, (drawn[name].steps, drawn[name].mean))
        for name, series in kept.items()
    )

    def draw(axes: "Axes") -> None:
        for track, series in zip(tracks, drawn.values(), strict=True):
            axes.fill_between(series.steps, series.low, series.high, color=track.colour, alpha=0.22, linewidth=0)
            mark = "o" if len(series.steps) <= 12 else None
            axes.plot(series.steps, series.mean, color=track.colour, marker=mark, markersize=4)
        ends = [series.low for series in kept.values()] + [series.high for series in kept.values()]
        low, high = _usual(ends)
        axes.set_ylim(*((min(low, limits[0]), limits[1]) if limits else (low, high)))

    return FilmPanel(title, draw, lambda step: _values(tracks, step), tracks)


def _metric(measured: MetricHistory) -> FilmPanel:
    series = StepSeries.of(measured.steps, measured.values)
    track = FilmCurve("last", GREEN, series, (series.steps, series.mean))

    def draw(axes: "Axes") -> None:
        axes.plot(series.steps, series.mean, "-o", color=GREEN, markersize=4)
        axes.set_ylim(*_usual([series.mean], 1))

    def say(step: float) -> list[TextSpan]:
        return [TextSpan(f"({one_line(measured.better, 12)} is better)", colour=MUTED), *_values((track,), step)]

    return FilmPanel(one_line(measured.metric, 24), draw, say, (track,))


def _usual(parts: Sequence[FloatArray], kind: int = 0) -> tuple[float, float]:
    """The limits of a scale for nearly all of these numbers: of curves, 0, or of a metric, 1."""
    together = np.concatenate(parts)
    together = together[np.isfinite(together)]
    low, high = (float(edge) for edge in np.quantile(together, (1 - USUAL[kind], USUAL[kind])))
    slack = SLACK[kind] * (high - low) or 0.1 * abs(high) or 0.5
    low, high = max(low - slack, float(together.min())), min(high + slack, float(together.max()))
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.5
    return low - room, high + room


def _values(tracks: Sequence[FilmCurve], step: float) -> list[TextSpan]:
    return [TextSpan(track.name, _said(track.value(step)), swatch=track.colour) for track in tracks]


def _said(value: float) -> str:
    """Three digits: a fourth changes faster than it can be read."""
    return format_number(float(f"{value:.3g}")) if np.isfinite(value) else "–"


def _findings(history: RunHistory) -> FilmPanel:
    """When something was found, the darker the more severe, and what was done about it, a stroke."""
    result, remedies = history.symptoms(), history.remedies()
    least = max(1.0, history.step / 150)

    def draw(axes: "Axes") -> None:
        for one in result:
            width = max(least, one.until - one.since)
            start = min(one.since, max(0.0, history.step - width))
            axes.broken_barh([(start, width)], (0, 1), facecolors=RED, alpha=0.25 + 0.6 * one.severity, linewidth=0)
        for remedy in remedies:
            axes.axvline(remedy.step, color=BLUE, linewidth=3)
        axes.set_ylim(0, 1)

    def say(step: float) -> list[TextSpan]:
        now = dict.fromkeys(_named(one) for one in result if one.since <= step <= max(one.until, one.since + least))
        done = [_done(one) for one in remedies if one.step <= step <= max(one.until, one.step + least)][-1:]
        said = [*(TextSpan(name, swatch=RED) for name in now), *(TextSpan(text, swatch=BLUE) for text in done)]
        return said or [TextSpan("none now", colour=MUTED)]

    return FilmPanel("Findings", draw, say, low=True)


def _done(one: RemedyRecord) -> str:
    """The few words that there is room for."""
    return "knobs held" if one.restored is None else f"back to step {format_count(one.restored)}"


def _named(symptom: SymptomPeriod) -> str:
    return f"{one_line(symptom.name.replace('_', ' '), 30)} {symptom.severity:.0%}"


def _knobs(turns: Sequence[KnobHistory], end: float) -> list[FilmPanel]:
    """A low panel for each knob that moved; those that moved alike share one."""
    return [_knob(group, end) for group in _together(turns, end)]


def _together(turns: Sequence[KnobHistory], end: float) -> list[list[KnobHistory]]:
    """Knobs that went the same way at the same steps, as annealed learning rates do; the most turned first."""
    groups: list[list[KnobHistory]] = []
    for one in sorted(turns, key=lambda one: -len(one.steps)):
        for group in groups:
            if group[0].steps == one.steps and np.allclose(_course(group[0], end)[1], _course(one, end)[1], atol=0.02):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _course(turns: KnobHistory, end: float) -> tuple[FloatArray, FloatArray]:
    """Steps, and how high the knob stood then between its lowest, 0, and its highest, 1, on its own scale.

    Where it stood before a turn at step 0 counts for nothing.
    """
    steps, values = _points(turns, end)
    range = RANGES.get(turns.knob)
    if range and range.scale.startswith("log"):
        inner = 1 - values if range.scale == "log_complement" else values
        positive = inner[inner > 0]
        # Off is drawn half a decade below the lowest value that acts.
        values = np.log10(np.where(inner > 0, inner, positive.min() / 3 if positive.size else 1.0))
        values = -values if range.scale == "log_complement" else values
    span = float(np.nanmax(values) - np.nanmin(values)) if np.isfinite(values).any() else 0.0
    heights = (values - np.nanmin(values)) / span if span > 0 else np.full_like(values, 0.5)
    return steps, heights


def _points(turns: KnobHistory, end: float) -> tuple[FloatArray, FloatArray]:
    steps = np.array([0.0, *turns.steps, max(end, *turns.steps)])
    values = np.array([*turns.values, turns.values[-1]])
    last = np.append(np.diff(steps) > 0, True)
    return steps[last], values[last]


def _knob(group: Sequence[KnobHistory], end: float) -> FilmPanel:
    steps, heights = _course(group[0], end)
    kept = corner_positions(steps, heights, COLUMNS)
    tracks = tuple(
        FilmCurve(
            one_line(one.knob, 24),
            INK,
            StepSeries.of(*map(list, _points(one, end))),
            (steps, heights),
            stairs=True,
        )
        for one in group
    )

    def draw(axes: "Axes") -> None:
        axes.plot(steps[kept], heights[kept], drawstyle="steps-post", color=INK)
        axes.set_ylim(-0.15, 1.15)

    def say(step: float) -> list[TextSpan]:
        return [TextSpan(track.name, _said(track.value(step))) for track in tracks]

    return FilmPanel("Knob" if len(group) == 1 else "Knobs", draw, say, tracks[:1], low=True)
