"""Curves of a run that can be zoomed and read off, with samples on the same clock, inside one HTML file.

The charts are those of the studio: its scripts are embedded, each allowed by its digest. The page is complete without
them: the figure and the tables hold the same.
"""

import base64
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from equipoise.core.observations import Signals
from equipoise.report.formatting import one_line
from equipoise.report.run_history import KnobHistory, RunHistory, to_number
from equipoise.report.samples import representative_samples
from equipoise.report.series import CurveSeries
from equipoise.runs.artifacts import encode_png

STATIC = Path(__file__).parent.parent / "studio" / "static"
PLOT_LIBRARY = "vendor/uPlot.iife.min.js"
MODULES = ("dom.js", "clock.js", "charts.js", "report.js")
"""Modules of the page in the order of their imports."""
STYLES = ("vendor/uPlot.min.css",)
BINS = 800
KNOBS = "Knobs"
"""Group of the charts whose values hold until the next one."""
MAX_KNOBS = 24
MAX_SHEETS, MAX_SHEET_BYTES = 12, 2**21
"""Maximum number of sheets of samples on the clock, and of their bytes in total."""
COMBINED_CHARTS: dict[str, tuple[tuple[str, ...], tuple[float, float] | None]] = {
    "Ranks": (("rank_train_fake", "rank_train_held_out"), (-1, 1)),
    "D(x)": (("probability_real", "probability_fake"), (0, 1)),
    "Gradient norms": (("gradient_norm_d", "gradient_norm_g"), None),
}
"""Charts of several signals, and the range of their axis."""
SHOWN_AS_LOSSES = ("loss_g", "loss_d")


@dataclass(frozen=True, slots=True)
class Script:
    """A script of the page. `digest`: SHA-256 in base64, for the content security policy."""

    text: str

    @property
    def digest(self) -> str:
        """The source expression of a content security policy."""
        return f"sha256-{base64.b64encode(hashlib.sha256(self.text.encode()).digest()).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class InteractiveCurves:
    """What makes the page interactive: styles, scripts, and the numbers as JSON that is safe inside HTML."""

    styles: str
    scripts: tuple[Script, ...]
    data: str


def interactive_curves(history: RunHistory) -> InteractiveCurves | None:
    """Return the scripts and the numbers of a run; None for a run without curves."""
    charts = [*_charts(history)]
    if not charts:
        return None
    lines = history.events_of("sensed")
    every = max(1, len(lines) // BINS)
    values: dict[str, object] = {
        "last": history.step,
        "charts": charts,
        "clock": {
            axis: [to_number(line.get(axis), 0) for line in lines[::every]] for axis in ("step", "images", "seconds")
        },
        "findings": [
            {"from": period.start, "to": period.end, "severe": period.severity >= 2 / 3}
            for period in history.symptom_periods()
        ],
        "samples": [*_sheets(history)],
    }
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return InteractiveCurves(_styles(), _scripts(), re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", text))


@functools.cache
def _scripts() -> tuple[Script, ...]:
    """Return the plot library, and the modules of the page as one script without imports and exports."""
    parts = [
        re.sub(r"^import [^;]*;\n|^export ", "", (STATIC / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name in MODULES
    ]
    body = "\n".join(parts).strip()
    library = (STATIC / PLOT_LIBRARY).read_text(encoding="utf-8").strip()
    return Script(f"\n{library}\n"), Script(f'\n"use strict";\n{{\n{body}\n}}\n')


@functools.cache
def _styles() -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)


def _charts(history: RunHistory) -> Iterator[dict[str, object]]:
    """Yield the charts that have numbers: losses, signals, metrics, knobs that changed."""
    losses = {name.removesuffix(".total"): history.loss(name) for name in history.loss_names()}
    yield from _chart("Losses", losses)
    for title, (names, limits) in COMBINED_CHARTS.items():
        yield from _chart(title, {name: history.signal(name) for name in names}, limits)
    for metric in history.metrics():
        yield from _chart(one_line(metric.name), {one_line(metric.name): CurveSeries.of(metric.steps, metric.values)})
    yield from _chart("Reward", {"reward": history.rewards()})
    for knob in history.knob_histories()[:MAX_KNOBS]:
        yield from _chart(one_line(knob.knob), {one_line(knob.knob): _held(knob, history.step)}, group=KNOBS)
    combined = {name for names, _ in COMBINED_CHARTS.values() for name in names} | set(SHOWN_AS_LOSSES)
    for name in (field.name for field in fields(Signals) if field.name not in combined):
        yield from _chart(name, {name: history.signal(name)}, group="Signals")


def _chart(
    title: str, curves: dict[str, CurveSeries], limits: tuple[float, float] | None = None, group: str = "Training"
) -> Iterator[dict[str, object]]:
    """Yield a chart of the curves that have a value, on the union of their steps; none without any."""
    drawn = {name: curve.decimated(BINS) for name, curve in curves.items() if curve}
    if not drawn:
        return
    steps = sorted({step for curve in drawn.values() for step in curve.steps.tolist()})
    lines = []
    for name, curve in drawn.items():
        places = dict(zip(curve.steps.tolist(), zip(curve.mean, curve.low, curve.high, strict=True), strict=True))
        rows = [places.get(step, (math.nan,) * 3) for step in steps]
        line: dict[str, object] = {"label": name, "last": _column(rows, 0)}
        if (curve.low != curve.high).any():
            line |= {"min": _column(rows, 1), "max": _column(rows, 2)}
        lines.append(line)
    yield {
        "title": title,
        "group": group,
        "range": limits,
        "stepped": group == KNOBS,
        "steps": steps,
        "lines": lines,
    }


def _column(rows: Sequence[tuple[float, ...]], index: int) -> list[float | None]:
    """Return one column with five digits, which are more than a screen shows; None where there is no number."""
    return [float(f"{row[index]:.5g}") if math.isfinite(row[index]) else None for row in rows]


def _held(knob: KnobHistory, last: int) -> CurveSeries:
    """Return the values of a knob at its changes, from step 0 to the last one; each holds until the next one."""
    return CurveSeries.of([0.0, *knob.steps, float(last)], [*knob.values, knob.values[-1]])


def _sheets(history: RunHistory) -> Iterator[dict[str, object]]:
    """Yield sheets of images evenly over the run, in order, as many as fit."""
    free = MAX_SHEET_BYTES
    for samples in representative_samples(history, MAX_SHEETS):
        if samples.sheet is None or samples.are_sequences:
            continue
        png = encode_png(samples.sheet)
        free -= len(png)
        if free < 0:
            return
        source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        yield {"step": samples.step, "caption": samples.description, "source": source}
