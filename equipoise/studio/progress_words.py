"""When a running training reads next, and how long it still takes, in words."""

import time
from collections.abc import Sequence

from equipoise.errors import RunError
from equipoise.report.formatting import format_count, format_duration
from equipoise.runs.run_index import LiveRun
from equipoise.runs.run_rows import RunRow

EVERY_STEP_UP_TO, DEFAULT_INTERVAL = 100, 50
"""When a run reads, as equipoise.pilot has it, whose import takes seconds."""
RECENT = 20
"""Number of the last readings over which the time of a step is measured."""


def describe_progress(run: LiveRun, row: RunRow, *, now: float | None = None) -> dict[str, str]:
    """Return `next`, when a request is taken, and `left`, the time to the last step; "" for what is not known.

    `now`: seconds since 1970. A run takes requests at each reading.
    """
    if row.state != "running":
        return {"next": "", "left": ""}
    with run.log.lock:
        steps, seconds = list(run.log.readings.steps[-RECENT:]), list(run.log.readings.seconds[-RECENT:])
    if len(steps) < 2 or steps[-1] <= steps[0] or seconds[-1] <= seconds[0]:
        return {"next": "at the run's next reading", "left": ""}
    per_step = (seconds[-1] - seconds[0]) / (steps[-1] - steps[0])
    reading = _next_reading(run, steps)
    elapsed = max(0.0, (time.time() if now is None else now) - row.updated)
    wait = per_step * (reading - row.step) - elapsed
    remaining = per_step * max(0, (row.steps or row.step) - row.step)
    return {
        "next": f"at step {format_count(reading)}, {_about(wait)}",
        "left": f"about {format_duration(_rounded(remaining))} left" if remaining > 1 else "",
    }


def _next_reading(run: LiveRun, steps: Sequence[int]) -> int:
    """Return the step of the reading after those at `steps`, which are at least two."""
    if steps[-1] < EVERY_STEP_UP_TO:
        return steps[-1] + 1
    try:
        chosen = run.run.experiment().get("sense_every")
    except RunError:
        chosen = None
    observed = steps[-1] - steps[-2] if steps[-2] >= EVERY_STEP_UP_TO else DEFAULT_INTERVAL
    every = chosen if isinstance(chosen, int) and chosen > 0 else observed
    return (steps[-1] // every + 1) * every


def _about(seconds: float) -> str:
    return "in a moment" if seconds < 2 else f"in about {format_duration(_rounded(seconds))}"


def _rounded(seconds: float) -> float:
    """Round to what an estimate is worth: whole seconds, tens of seconds, minutes."""
    unit = 1 if seconds < 20 else 10 if seconds < 600 else 60
    return float(max(unit, unit * round(seconds / unit)))
