"""Numbers and outcomes as people read them."""

import math
from collections.abc import Mapping
from typing import Any

from equipoise.report.run_history import RunHistory, MetricHistory, to_number, to_mapping

ENDINGS: Mapping[str, str] = {
    "steps": "it ran its planned length and ended {verdict}",
    "images": "it stopped at its limit of images and ended {verdict}",
    "seconds": "it stopped at its time limit and ended {verdict}",
    "equilibrium": "it stopped at equilibrium, {verdict}: the discriminator could no longer tell reals from fakes",
    "interrupted": "it was interrupted while {verdict} and can be resumed",
    "diverged": "it was stopped because it diverged",
}
"""By reason, with a place for the verdict."""
UNFINISHED = "it has not finished: it is still running, or was stopped from outside"


def format_number(value: float) -> str:
    """A number in at most four digits: 0.0123, 2e-4, 12,300."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 9.995e-4 or size >= 1e6:
        mantissa, _, exponent = f"{value:.3g}".partition("e") if size < 1e-4 else f"{value:.2e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def format_count(value: float) -> str:
    """A whole number with its thousands set off."""
    return f"{value:,.0f}"


def format_duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def one_line(text: Any, longest: int = 60) -> str:
    """Foreign text on one line, cut where it grows long, and without what cannot be drawn."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plug_name(experiment: Mapping[str, Any], key: str) -> str | None:
    """What an experiment calls its data, GAN or controller: a string, or a table with a name."""
    value = experiment.get(key)
    result = to_mapping(value).get("name", to_mapping(value).get(key)) if isinstance(value, Mapping) else value
    return one_line(result) if isinstance(result, str) and result.strip() else None


def format_length(history: RunHistory) -> str:
    """300 of 1,000 steps."""
    planned = to_number(history.started.get("steps"), 0)
    done = format_count(history.step)
    return f"{done} of {format_count(planned)} steps" if planned > history.step else f"{done} steps"


def run_state(history: RunHistory) -> str:
    """One word for how things stand: the verdict, or that there is none yet."""
    finished = history.finished
    return one_line(finished.get("verdict", "finished")) if finished else "unfinished"


def summarise_run(history: RunHistory) -> str:
    """What was trained on what, for how long, how it ended and its verdict."""
    name = plug_name(history.experiment, "model")
    model = f"The GAN {name}" if name else "A GAN"
    data = plug_name(history.experiment, "data")
    controller = plug_name(history.experiment, "controller")
    begun = f"{model} was trained{f' on {data}' if data else ''}{f' under the {controller} controller' if controller else ''}"
    spent = f"for {format_length(history)} ({format_count(history.images)} {history.noun}, {format_duration(history.seconds)})"
    parts = [f"{begun} {spent}", _ending(history)]
    best = next((text for text in map(format_best, history.measured()) if text), None)
    return "; ".join(parts) + (f"; {best}." if best else ".")


def format_best(measured: MetricHistory) -> str | None:
    """The best value of a metric in words; None if there is none."""
    if measured.best is None:
        return None
    value, step = measured.values[measured.best], measured.steps[measured.best]
    return f"its best {one_line(measured.metric)} was {format_number(value)}, after step {format_count(step)}"


def _ending(history: RunHistory) -> str:
    finished = history.finished
    if finished is None:
        return UNFINISHED
    reason = str(finished.get("reason", ""))
    ending = ENDINGS.get(reason, f"it ended {{verdict}} ({one_line(reason)})")
    return ending.replace("{verdict}", run_state(history))
