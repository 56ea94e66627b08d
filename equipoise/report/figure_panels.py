"""Panels of the progress figure. Each public function returns a function that draws a panel, or None without data."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from equipoise.core.knobs import AdversarialKnobs, KnobRange
from equipoise.report.formatting import format_count, format_number, one_line, symptom_words
from equipoise.report.plot_style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    panel_legend,
    panel_title,
    value_axis,
)
from equipoise.report.run_history import KnobHistory, MetricHistory, RunHistory
from equipoise.report.series import CurveSeries, CurveValues, corner_positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 500
"""Number of bins into which a long run is divided along a panel, about one per pixel."""
PLAYER_COLOURS = {"discriminator": ORANGE, "generator": BLUE}
OTHER_COLOURS = (GREEN, PURPLE, SKY, GREY)
MARKERS = ("o", "^", "s", "D")
KNOB_RANGES = AdversarialKnobs.ranges()

DrawFunction = Callable[["Axes"], None]


def losses(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws the total losses of both players, or of every phase: mean and range."""
    curves = loss_curves(history)
    if not curves:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Losses: mean and range")
        draw_curves(axes, curves)
        series = list(curves.values())
        scale, linear_limit = scale_for_outliers([s.low for s in series] + [s.high for s in series])
        value_axis(axes, "loss", scale, linear_limit)

    return draw


def loss_curves(history: RunHistory) -> dict[str, CurveSeries]:
    """Return the total loss by phase name; for runs without totals the losses of both players. Omits empty series."""
    curves = {name.removesuffix(".total"): history.loss(name) for name in history.loss_names()}
    if not any(curves.values()):
        curves = {"discriminator": history.signal("loss_d"), "generator": history.signal("loss_g")}
    return {name: series for name, series in curves.items() if series}


def ranks(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws how well D separates training reals from fakes and from held-out reals."""
    colours = {"vs fakes": ORANGE, "vs held-out (overfitting)": PURPLE}
    signals = (history.signal("rank_train_fake"), history.signal("rank_train_held_out"))
    curves = {name: series for name, series in zip(colours, signals, strict=True) if series}
    if not curves:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Discriminator rank of training reals")
        axes.axhline(0, color=GREY, linewidth=0.8)
        draw_curves(axes, curves, colours, show_values=False)
        value_axis(axes, "rank (0: chance, 1: perfect)")
        lowest = min(float(np.nanmin(series.low)) for series in curves.values())
        axes.set_ylim(min(-0.25, lowest - 0.05), 1.05)

    return draw


def probabilities(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws D(x) and D(G(z)), if the loss makes the output of D a probability."""
    curves = {"D(x)": history.signal("probability_real"), "D(G(z))": history.signal("probability_fake")}
    curves = {name: series for name, series in curves.items() if series}
    if not curves:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Discriminator output")
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        draw_curves(axes, curves, {"D(x)": ORANGE, "D(G(z))": BLUE})
        value_axis(axes, "mean probability of real")
        axes.set_ylim(-0.03, 1.03)

    return draw


def gradients(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws the gradient norms of both players."""
    curves = {
        "discriminator": history.signal("gradient_norm_d"),
        "generator": history.signal("gradient_norm_g"),
    }
    curves = {name: series for name, series in curves.items() if series}
    if not curves:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Gradient norms")
        draw_curves(axes, curves)
        value_axis(axes, "gradient norm (L2)", "log", min(smallest_positive(s.mean) for s in curves.values()))

    return draw


def learning_rates(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws the learning rates of both players."""
    histories = {changes.knob: changes for changes in history.knob_histories()}
    base = history.started.get("knobs", {})
    rates = [rate for name in ("lr_d", "lr_g") if (rate := histories.get(name) or _constant_knob(name, base))]
    if not rates:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Learning rates")
        for rate in rates:
            player = "generator" if rate.knob == "lr_g" else "discriminator"
            style = (0, (4, 3)) if rate.knob == "lr_g" else "-"
            label = f"{player[0].upper()}: {_change_summary(rate)}"
            _draw_steps(axes, rate, history.step, PLAYER_COLOURS[player], label, style)
        panel_legend(axes)
        value_axis(axes, "learning rate", "log", min(smallest_positive(rate.values) for rate in rates))

    return draw


def rewards(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws the reward of each decision, if the controller has rewards."""
    series = history.rewards()
    if not series:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Reward of each decision")
        axes.axhline(0, color=GREY, linewidth=0.8)
        draw_curves(axes, {"reward": series}, {"reward": PURPLE})
        value_axis(axes, "reward")

    return draw


def knob(history: RunHistory, changes: KnobHistory) -> DrawFunction:
    """Return a function that draws one knob that changed, and what changed it."""
    range = KNOB_RANGES.get(changes.knob)

    def draw(axes: "Axes") -> None:
        panel_title(axes, f"Knob {one_line(changes.knob, 34)}")
        plotted = _one_minus(changes) if range and range.scale == "log_complement" else changes
        _draw_steps(axes, plotted, history.step, INK, None, "-")
        sources = Counter(changes.by)
        for (source, times), marker, colour in zip(sources.items(), MARKERS, (RED, BLUE, GREEN, PURPLE), strict=False):
            indices = [index for index, name in enumerate(changes.by) if name == source]
            x, y = [changes.steps[index] for index in indices], [plotted.values[index + 1] for index in indices]
            label = f"changed by {one_line(source, 20)} ×{format_count(times)}"
            axes.plot(x, y, marker, color=colour, markersize=3.5 if len(x) < 40 else 2, label=label, linestyle="")
        panel_legend(axes)
        value_axis(axes, _knob_label(changes.knob, range), _axis_scale(range), smallest_positive(plotted.values))

    return draw


def metric(history: MetricHistory) -> DrawFunction:
    """Return a function that draws a metric with its best value marked."""

    def draw(axes: "Axes") -> None:
        name, best = one_line(history.name, 30), history.best_index
        panel_title(axes, f"Metric {name}")
        axes.plot(history.steps, history.values, "-o", color=GREEN, markersize=3.5, label="held-out data")
        if best is not None:
            step, value = history.steps[best], history.values[best]
            label = f"best {format_number(value)} at step {format_count(step)}"
            axes.plot(
                [step], [value], "*", color=RED, markersize=12, label=label, linestyle="", zorder=5, clip_on=False
            )
        panel_legend(axes)
        scale, linear_limit = scale_for_outliers([np.asarray(history.values)], share=0.5)
        value_axis(axes, f"{name} ({history.better} is better)", scale, linear_limit)

    return draw


def findings(history: RunHistory) -> DrawFunction | None:
    """Return a function that draws when each symptom was detected; a darker bar is more severe."""
    periods = history.symptom_periods()
    if not periods:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Findings (darker: more severe)", legends=False)
        names = list(dict.fromkeys(period.name for period in periods))
        min_width = max(1.0, history.step / 150)
        for period in periods:
            width = max(min_width, period.end - period.start)
            start = min(period.start, max(0.0, history.step - width))
            bar = (names.index(period.name) - 0.35, 0.7)
            axes.broken_barh([(start, width)], bar, facecolors=RED, alpha=0.3 + 0.7 * period.severity)
        axes.set_yticks(range(len(names)), [symptom_words(name, 30) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)

    return draw


def draw_curves(
    axes: "Axes", curves: dict[str, CurveSeries], colours: dict[str, str] | None = None, *, show_values: bool = True
) -> None:
    """Draw means as lines over bands from minimum to maximum; the legend has the last values."""
    spare_colours = iter(OTHER_COLOURS * len(curves))
    palette = PLAYER_COLOURS if colours is None else colours
    for name, series in curves.items():
        colour = palette.get(name) or next(spare_colours)
        reduced = series.decimated(BINS)
        label = f"{one_line(name, 34)} → {format_number(series.last)}" if show_values else one_line(name, 34)
        axes.fill_between(reduced.steps, reduced.low, reduced.high, color=colour, alpha=0.22, linewidth=0.8)
        marker = "o" if len(reduced.steps) <= 12 else None
        axes.plot(reduced.steps, reduced.mean, color=colour, label=label, marker=marker, markersize=3.5)
    panel_legend(axes)


def _draw_steps(axes: "Axes", changes: KnobHistory, end: float, colour: str, label: str | None, style: object) -> None:
    """Draw a line that is constant between changes."""
    steps = np.array([0.0, *changes.steps, max(end, *changes.steps, 0.0)])
    values = np.array([*changes.values, changes.values[-1]])
    corners = corner_positions(steps, values, BINS)
    axes.plot(steps[corners], values[corners], drawstyle="steps-post", color=colour, label=label, linestyle=style)


def _constant_knob(name: str, base: object) -> KnobHistory | None:
    value = base.get(name) if isinstance(base, dict) else None
    return KnobHistory(name, (), (float(value),), (), "") if isinstance(value, int | float) else None


def _change_summary(changes: KnobHistory) -> str:
    if not changes.by:
        return f"constant {format_number(changes.values[0])}"
    return ", ".join(f"{one_line(source, 12)} ×{format_count(times)}" for source, times in Counter(changes.by).items())


def _one_minus(changes: KnobHistory) -> KnobHistory:
    """Return the history of 1 − value, in which a "log_complement" scale is logarithmic."""
    return KnobHistory(
        changes.knob, changes.steps, tuple(1 - value for value in changes.values), changes.by, changes.why
    )


def _knob_label(name: str, range: KnobRange | None) -> str:
    prefix = "1 − " if range and range.scale == "log_complement" else ""
    unit = f" ({range.unit})" if range and range.unit else ""
    return f"{prefix}{one_line(name, 34)}{unit}"


def _axis_scale(range: KnobRange | None) -> str | None:
    return "log" if range and range.scale.startswith("log") else range.scale if range else None


def smallest_positive(values: Sequence[float] | CurveValues) -> float:
    """Return the smallest positive number; infinity if there is none."""
    return min((float(value) for value in values if value > 0), default=math.inf)


def scale_for_outliers(arrays: Sequence[CurveValues], share: float = 0.9) -> tuple[str | None, float]:
    """Return "symlog" and its linear limit if a few values are over 30 times the quantile `share`; None otherwise."""
    sizes = np.abs(np.concatenate(arrays))
    sizes = sizes[np.isfinite(sizes)]
    limit = float(np.quantile(sizes, share)) if sizes.size else 0.0
    return ("symlog", limit) if limit > 0 and float(sizes.max()) > 30 * limit else (None, 1.0)
