"""Panels of the progress figure: each a function that draws one thing of a run's history onto axes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from equipoise.core.knobs import AdversarialKnobs, Range
from equipoise.report.plot_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY, panel_legend, panel_title, value_axis
from equipoise.report.run_history import RunHistory, MetricHistory, KnobHistory
from equipoise.report.series import StepSeries, corner_positions
from equipoise.report.formatting import format_count, one_line, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 500
"""Shares into which a long run is divided along a panel, about one a pixel."""
PLAYERS = {"discriminator": ORANGE, "generator": BLUE}
OTHERS = (GREEN, PURPLE, SKY, GREY)
MARKS = ("o", "^", "s", "D")
RANGES = AdversarialKnobs.ranges()

Drawing = Callable[["Axes"], None]


def losses(history: RunHistory) -> Drawing | None:
    """The totals of both players, or of every phase that there is: mean and range."""
    result = {name.removesuffix(".total"): history.loss(name) for name in history.losses()}
    if not any(result.values()):
        result = {"discriminator": history.signal("loss_d"), "generator": history.signal("loss_g")}
    result = {name: series for name, series in result.items() if series}
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Losses: mean and range")
        _lines(axes, result)
        shown = list(result.values())
        value_axis(axes, "loss, as trained", *_wild([s.low for s in shown] + [s.high for s in shown]))

    return draw


def ranks(history: RunHistory) -> Drawing | None:
    """How surely the discriminator tells what it trains on from fakes, and from what it has not seen."""
    result = {
        "from fakes": history.signal("rank_train_fake"),
        "from held-out (overfitting)": history.signal("rank_train_held_out"),
    }
    colours = {"from fakes": ORANGE, "from held-out (overfitting)": PURPLE}
    result = {name: series for name, series in result.items() if series}
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "How surely D tells its training reals")
        axes.axhline(0, color=GREY, linewidth=0.8)
        _lines(axes, result, colours, values=False)
        value_axis(axes, "rank (0 not at all, 1 always)")
        lowest = min(float(np.nanmin(series.low)) for series in result.values())
        axes.set_ylim(min(-0.25, lowest - 0.05), 1.05)

    return draw


def probabilities(history: RunHistory) -> Drawing | None:
    """D(x) and D(G(z)), where the loss makes them probabilities."""
    result = {"D(x)": history.signal("probability_real"), "D(G(z))": history.signal("probability_fake")}
    result = {name: series for name, series in result.items() if series}
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "What D takes for real")
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        _lines(axes, result, {"D(x)": ORANGE, "D(G(z))": BLUE})
        value_axis(axes, "mean probability")
        axes.set_ylim(-0.03, 1.03)

    return draw


def gradients(history: RunHistory) -> Drawing | None:
    """The gradient norms of both players."""
    result = {
        "discriminator": history.signal("gradient_norm_d"),
        "generator": history.signal("gradient_norm_g"),
    }
    result = {name: series for name, series in result.items() if series}
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Gradients")
        _lines(axes, result)
        value_axis(axes, "gradient norm (L2)", "log", min(_positive(series.mean) for series in result.values()))

    return draw


def learning_rates(history: RunHistory) -> Drawing | None:
    """Where the learning rates of both players stood."""
    turns = {one.knob: one for one in history.turns()}
    base = history.started.get("knobs", {})
    result = {name: turns.get(name) or _untouched(name, base) for name in ("lr_d", "lr_g")}
    shown = [one for one in result.values() if one]
    if not shown:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Learning rates")
        for one in shown:
            player = "generator" if one.knob == "lr_g" else "discriminator"
            style = (0, (4, 3)) if one.knob == "lr_g" else "-"
            _steps(axes, one, history.step, PLAYERS[player], f"{player[0].upper()}{_turned(one)}", style)
        panel_legend(axes)
        value_axis(axes, "learning rate (no unit)", "log", min(_positive(one.values) for one in shown))

    return draw


def rewards(history: RunHistory) -> Drawing | None:
    """What each decision of a controller that is paid has earned."""
    result = history.rewards()
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Reward of each decision")
        axes.axhline(0, color=GREY, linewidth=0.8)
        _lines(axes, {"reward": result}, {"reward": PURPLE})
        value_axis(axes, "reward (no unit)")

    return draw


def knob(history: RunHistory, turns: KnobHistory) -> Drawing:
    """One knob that moved, and who moved it."""
    range = RANGES.get(turns.knob)

    def draw(axes: "Axes") -> None:
        panel_title(axes, f"Knob {one_line(turns.knob, 34)}")
        shown = _complements(turns) if range and range.scale == "log_complement" else turns
        _steps(axes, shown, history.step, INK, None, "-")
        people = Counter(turns.by)
        for (who, times), mark, colour in zip(people.items(), MARKS, (RED, BLUE, GREEN, PURPLE), strict=False):
            at = [position for position, name in enumerate(turns.by) if name == who]
            x, y = [turns.steps[position] for position in at], [shown.values[position + 1] for position in at]
            label = f"turned by {one_line(who, 20)} ×{format_count(times)}"
            axes.plot(x, y, mark, color=colour, markersize=3.5 if len(x) < 40 else 2, label=label, linestyle="")
        panel_legend(axes)
        value_axis(axes, _knob_label(turns.knob, range), _scale(range), _positive(shown.values))

    return draw


def metric(measured: MetricHistory) -> Drawing:
    """A metric, its best value marked."""

    def draw(axes: "Axes") -> None:
        name, best = one_line(measured.metric, 30), measured.best
        panel_title(axes, f"Metric {name}")
        axes.plot(measured.steps, measured.values, "-o", color=GREEN, markersize=3.5, label="held-out data")
        if best is not None:
            at, value = measured.steps[best], measured.values[best]
            label = f"best {format_number(value)} at step {format_count(at)}"
            axes.plot([at], [value], "*", color=RED, markersize=12, label=label, linestyle="", zorder=5)
        panel_legend(axes)
        scale, usual = _wild([np.asarray(measured.values)], share=0.5)
        value_axis(axes, f"{name} ({measured.better} is better)", scale, usual)

    return draw


def findings(history: RunHistory) -> Drawing | None:
    """When each symptom was found, the darker the more severe."""
    result = history.symptoms()
    if not result:
        return None

    def draw(axes: "Axes") -> None:
        panel_title(axes, "Findings: the darker, the more severe", legends=False)
        names = list(dict.fromkeys(symptom.name for symptom in result))
        least = max(1.0, history.step / 150)
        for symptom in result:
            width = max(least, symptom.until - symptom.since)
            start = min(symptom.since, max(0.0, history.step - width))
            bar = (names.index(symptom.name) - 0.35, 0.7)
            axes.broken_barh([(start, width)], bar, facecolors=RED, alpha=0.3 + 0.7 * symptom.severity)
        axes.set_yticks(range(len(names)), [one_line(name.replace("_", " "), 30) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)

    return draw


def _lines(
    axes: "Axes", result: dict[str, StepSeries], colours: dict[str, str] | None = None, *, values: bool = True
) -> None:
    """Mean lines over bands from lowest to highest, each with its last value in the legend."""
    spare = iter(OTHERS * len(result))
    chosen = PLAYERS if colours is None else colours
    for name, series in result.items():
        colour = chosen.get(name) or next(spare)
        drawn = series.decimated(COLUMNS)
        label = f"{one_line(name, 34)} → {format_number(series.last)}" if values else one_line(name, 34)
        axes.fill_between(drawn.steps, drawn.low, drawn.high, color=colour, alpha=0.22, linewidth=0.8)
        mark = "o" if len(drawn.steps) <= 12 else None
        axes.plot(drawn.steps, drawn.mean, color=colour, label=label, marker=mark, markersize=3.5)
    panel_legend(axes)


def _steps(axes: "Axes", turns: KnobHistory, end: float, colour: str, label: str | None, style: object) -> None:
    """A line that stays where it is until a turn."""
    steps = np.array([0.0, *turns.steps, max(end, *turns.steps, 0.0)])
    values = np.array([*turns.values, turns.values[-1]])
    kept = corner_positions(steps, values, COLUMNS)
    axes.plot(steps[kept], values[kept], drawstyle="steps-post", color=colour, label=label, linestyle=style)


def _untouched(name: str, base: object) -> KnobHistory | None:
    value = base.get(name) if isinstance(base, dict) else None
    return KnobHistory(name, (), (float(value),), (), "") if isinstance(value, int | float) else None


def _turned(turns: KnobHistory) -> str:
    if not turns.by:
        return f": constant {format_number(turns.values[0])}"
    return ": " + ", ".join(f"{one_line(who, 12)} ×{format_count(times)}" for who, times in Counter(turns.by).items())


def _complements(turns: KnobHistory) -> KnobHistory:
    """1 - value: what such a knob's logarithmic scale is one of."""
    return KnobHistory(turns.knob, turns.steps, tuple(1 - value for value in turns.values), turns.by, turns.why)


def _knob_label(name: str, range: Range | None) -> str:
    inverted = "1 − " if range and range.scale == "log_complement" else ""
    return f"{inverted}{one_line(name, 34)} ({(range.unit if range else '') or 'no unit'})"


def _scale(range: Range | None) -> str | None:
    return "log" if range and range.scale.startswith("log") else range.scale if range else None


def _positive(values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """The smallest positive number; infinite if there is none."""
    return min((float(value) for value in values if value > 0), default=math.inf)


def _wild(
    parts: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]], share: float = 0.9
) -> tuple[str | None, float]:
    """A scale for numbers of which a few are far larger than `share` of them, and up to where it is linear."""
    sizes = np.abs(np.concatenate(parts))
    sizes = sizes[np.isfinite(sizes)]
    usual = float(np.quantile(sizes, share)) if sizes.size else 0.0
    return ("symlog", usual) if usual > 0 and float(sizes.max()) > 30 * usual else (None, 1.0)
