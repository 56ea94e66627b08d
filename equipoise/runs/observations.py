"""Reading the observations, signals and overrides of a run from its events, to replay or diagnose it."""

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter

from equipoise.core.knobs import Knobs
from equipoise.core.observations import (
    Finding,
    Health,
    MetricReading,
    Observation,
    Override,
    SignalReading,
    Signals,
)
from equipoise.runs.run import Run

_SIGNALS = TypeAdapter(Signals)
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_OVERRIDES = TypeAdapter(tuple[Override, ...])


def read_observations(run: Run, knobs: Knobs) -> Iterator[Observation]:
    """Yield the observation of the controller at each reading. `knobs`: of the run's model, with any values.

    Raises RunError for a log line whose fields have wrong types.
    """
    run.check_types()
    changes: dict[str, float] = {}
    turnable: frozenset[str] | None = None
    for line in run.lines():
        match line["event"]:
            case "started":
                knobs = knobs.with_values(line["knobs"])
                turnable = frozenset(line["turnable"]) if line.get("turnable") else None
            case "sensed":
                knobs, changes = knobs.with_values(changes), {}
                signals, health = parse_signals(line["signals"]), parse_health(line["health"])
                yield Observation(line["step"], line["progress"], signals, health, knobs, turnable)
            case "turned":
                changes[line["knob"]] = line["to"]


def read_signals(run: Run) -> Iterator[SignalReading]:
    """Yield the signals of each reading, in order; then the metrics evaluated after the last reading, if any.

    Raises RunError for a log line whose fields have wrong types.
    """
    run.check_types()
    last = SignalReading(0, 0.0, Signals())
    for line in run.lines("sensed"):
        last = SignalReading(line["step"], line["progress"], parse_signals(line["signals"]))
        yield last
    evaluated = [line for line in run.lines("evaluated") if line["step"] >= last.step]
    if evaluated:
        metrics = {line["metric"]: MetricReading(float(line["value"]), 0, line["better"]) for line in evaluated}
        yield SignalReading(evaluated[-1]["step"], last.progress, Signals(metrics=metrics))


def read_rollbacks(run: Run) -> frozenset[int]:
    """Return the steps after whose reading weights of an earlier step were restored: a new history starts there."""
    return frozenset(line["step"] for line in run.lines("remedied") if line.get("restored") is not None)


def read_overrides(run: Run) -> dict[int, tuple[Override, ...]]:
    """Return step -> the overrides of the remedy that was applied at that step."""
    return {line["step"]: _OVERRIDES.validate_python(line["overrides"]) for line in run.lines("remedied")}


def parse_signals(values: Mapping[str, object]) -> Signals:
    """Return signals from the JSON values of an event, where numbers that are not finite are strings."""
    return _SIGNALS.validate_python(values)


def parse_health(values: Mapping[str, object]) -> Health:
    """Return the health from the JSON values of an event."""
    return Health(_FINDINGS.validate_python(values["findings"]), str(values.get("missing", "")))
