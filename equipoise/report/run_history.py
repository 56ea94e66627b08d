"""The events of a run by topic, for reports. Missing and malformed fields are tolerated."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from equipoise.core.sampling_cost import SamplingCost
from equipoise.report.series import CurveSeries
from equipoise.runs.manual_control import HoldPeriod, hold_periods
from equipoise.runs.run import DATA_FILE, EventLine, Run

JsonObject = Mapping[str, Any]
"""A JSON object whose values are not validated yet: read them with :func:`to_number` and :func:`to_mapping`."""


@dataclass(frozen=True)
class KnobHistory:
    """All changes of one knob, in order. `values` begins with the value before the first change."""

    knob: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    by: tuple[str, ...]
    """the controller, person or repair that made each change"""
    why: str
    """the reason of the last change"""


@dataclass(frozen=True)
class SymptomPeriod:
    """Consecutive readings that detected the same symptom, from step `start` to step `end`."""

    name: str
    start: float
    end: float
    severity: float
    """highest severity in the period, 0 to 1"""
    evidence: JsonObject
    """evidence at the last reading of the period"""


@dataclass(frozen=True)
class RemedyRecord:
    """One application of a remedy: a rollback to `restored_step` (None: no rollback) and `overrides` until a step."""

    step: float
    symptom: str
    restored_step: float | None
    overrides: Mapping[str, float]
    until: float


@dataclass(frozen=True)
class MetricHistory:
    """All values of one metric, in order. `better` is "lower" or "higher"; `sample_count`: samples per evaluation."""

    name: str
    better: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    sample_count: int

    @property
    def last_index(self) -> int | None:
        """Index of the last finite value; None if there is none."""
        return max(self._finite_indices(), default=None)

    @property
    def best_index(self) -> int | None:
        """Index of the first of the best finite values; None if there is none."""
        sign = -1 if self.better == "higher" else 1
        return min(self._finite_indices(), key=lambda index: sign * self.values[index], default=None)

    def _finite_indices(self) -> list[int]:
        return [index for index, value in enumerate(self.values) if math.isfinite(value)]


@dataclass(frozen=True)
class RunHistory:
    """The experiment and the events of a run."""

    run: Run
    experiment: JsonObject
    lines: Sequence[EventLine]

    def events_of(self, kind: str) -> list[EventLine]:
        """Return the lines of one kind of event, such as "sensed"."""
        return [line for line in self.lines if line["event"] == kind]

    @property
    def started(self) -> EventLine:
        """The "started" line; empty if there is none."""
        return next(iter(self.events_of("started")), {})

    @property
    def finished(self) -> EventLine | None:
        """The "finished" line; None for a run that is still running, was killed, or was resumed afterwards."""
        for line in reversed(self.lines):
            if line["event"] == "finished":
                return line
            if line["event"] in ("sensed", "resumed"):
                return None
        return None

    @cached_property
    def step(self) -> int:
        """The last step that any event mentions."""
        return int(max((to_number(line["step"], 0) for line in self.lines), default=0))

    @cached_property
    def images(self) -> int:
        """Number of real samples seen up to the last step."""
        return int(max((to_number(line.get("images"), 0) for line in self.lines), default=0))

    @property
    def sample_noun(self) -> str:
        """Noun for the samples: "sentences" if they were saved as text, "sequences" by their shape, else "images"."""
        texts = any(str(line.get("samples", "")).endswith(".txt") for line in self.events_of("sampled"))
        shape = self.data_record.get("shape")
        is_sequence = isinstance(shape, list) and len(shape) == 2
        return "sentences" if texts else "sequences" if is_sequence else "images"

    @cached_property
    def data_record(self) -> JsonObject:
        """What the run records on its data, in data.json; empty for runs of earlier versions."""
        try:
            return to_mapping(json.loads((self.run.folder / DATA_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return {}

    @property
    def sampling_cost(self) -> SamplingCost | None:
        """Time that the samples of the last evaluation took; None if the run has recorded none."""
        lines = [to_mapping(line.get("sampling")) for line in self.events_of("evaluated")]
        values = next((line for line in reversed(lines) if line), {})
        count = to_number(values.get("count"), 0)
        if count < 1:
            return None
        return SamplingCost(
            count=int(count),
            seconds=to_number(values.get("seconds")),
            cpu_seconds=to_number(values.get("cpu_seconds")),
            batch_size=int(to_number(values.get("batch_size"), 0)),
            device=str(values.get("device", "unknown")),
            threads=int(to_number(values.get("threads"), 0)),
        )

    @property
    def seconds(self) -> float:
        """Seconds of training according to the events."""
        lines = self.events_of("sensed") + self.events_of("finished")
        return max((to_number(line.get("seconds"), 0) for line in lines), default=0)

    def images_at(self, step: float) -> float:
        """Return the number of real samples seen up to `step`, interpolated between the events."""
        images = {to_number(line["step"], 0): to_number(line.get("images"), 0) for line in self.lines}
        steps = sorted(images)
        return float(np.interp(step, steps, [images[known_step] for known_step in steps])) if steps else 0.0

    def loss(self, name: str) -> CurveSeries:
        """Return the means, minima and maxima of a loss term, named "phase.term", at each reading."""
        lines = [line for line in self.events_of("sensed") if name in to_mapping(line.get("loss"))]
        readings = [to_mapping(line["loss"][name]) for line in lines]
        steps = [to_number(line["step"]) for line in lines]
        mean, low, high = ([to_number(reading.get(key)) for reading in readings] for key in ("mean", "min", "max"))
        return CurveSeries.of(steps, mean, low, high)

    def loss_names(self) -> list[str]:
        """Return the names of all totals, in the order of their first reading."""
        names = {name: None for line in self.events_of("sensed") for name in to_mapping(line.get("loss"))}
        return [name for name in names if name.endswith(".total")]

    def signal(self, name: str) -> CurveSeries:
        """Return the values of a signal at the readings where it is available."""
        lines = [line for line in self.events_of("sensed") if name in to_mapping(line.get("signals"))]
        return CurveSeries.of(
            [to_number(line["step"]) for line in lines], [to_number(line["signals"][name]) for line in lines]
        )

    def rewards(self) -> CurveSeries:
        """Return the rewards of the controller's decisions; empty for a controller without rewards."""
        lines = [line for line in self.events_of("sensed") if line.get("reward") is not None]
        steps = [to_number(line["step"]) for line in lines]
        return CurveSeries.of(steps, [to_number(line["reward"]) for line in lines])

    def knob_histories(self) -> list[KnobHistory]:
        """Return the history of each knob that changed, in the order of their first change."""
        changes: dict[str, list[EventLine]] = {}
        for line in self.events_of("turned"):
            changes.setdefault(str(line.get("knob")), []).append(line)
        return [
            KnobHistory(
                knob,
                tuple(to_number(line["step"], 0) for line in lines),
                (to_number(lines[0].get("from")), *(to_number(line.get("to")) for line in lines)),
                tuple(str(line.get("by", "")) for line in lines),
                str(lines[-1].get("why", "")),
            )
            for knob, lines in changes.items()
        ]

    def hold_periods(self) -> list[HoldPeriod]:
        """Return the periods in which a person held a knob, in order of their start."""
        return hold_periods(self.events_of("requested"))

    def metrics(self) -> list[MetricHistory]:
        """Return the history of each metric, in the order of their first evaluation."""
        evaluations: dict[str, list[EventLine]] = {}
        for line in self.events_of("evaluated"):
            evaluations.setdefault(str(line.get("metric")), []).append(line)
        return [
            MetricHistory(
                metric,
                str(lines[-1].get("better", "lower")),
                tuple(to_number(line["step"], 0) for line in lines),
                tuple(to_number(line.get("value")) for line in lines),
                int(to_number(lines[-1].get("count"), 0)),
            )
            for metric, lines in evaluations.items()
        ]

    def symptom_periods(self) -> list[SymptomPeriod]:
        """Return the periods of all detected symptoms, in order of their start."""
        ended: list[SymptomPeriod] = []
        current: dict[str, SymptomPeriod] = {}
        for line in self.events_of("sensed"):
            by_name = {str(finding.get("symptom")): finding for finding in findings_of(line)}
            ended += [current.pop(name) for name in list(current) if name not in by_name]
            for name, finding in by_name.items():
                current[name] = _extend(current.get(name), name, finding, to_number(line["step"], 0))
        return sorted((*ended, *current.values()), key=lambda period: period.start)

    def remedies(self) -> list[RemedyRecord]:
        """Return the remedies that were applied, in order."""
        return [
            RemedyRecord(
                to_number(line["step"], 0),
                str(to_mapping(line.get("finding")).get("symptom")),
                None if line.get("restored") is None else to_number(line["restored"]),
                {str(item.get("knob")): to_number(item.get("value")) for item in _to_mappings(line.get("overrides"))},
                to_number(line.get("until"), to_number(line["step"], 0)),
            )
            for line in self.events_of("remedied")
        ]


def read_history(run: Run) -> RunHistory:
    """Read a run folder. Raises RunError if it is not a run, or is damaged."""
    return RunHistory(run, run.experiment(), run.lines())


def to_number(value: Any, default: float = math.nan) -> float:
    """Convert a JSON value to a finite number; return `default` if that is not possible."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return result if math.isfinite(result) else default


def to_mapping(value: object) -> JsonObject:
    """Return the value if it is a JSON object, an empty object otherwise."""
    return value if isinstance(value, Mapping) else {}


def findings_of(line: EventLine) -> list[JsonObject]:
    """Return the findings of a "sensed" line."""
    return _to_mappings(to_mapping(line.get("health")).get("findings"))


def _to_mappings(value: object) -> list[JsonObject]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _extend(period: SymptomPeriod | None, name: str, finding: JsonObject, step: float) -> SymptomPeriod:
    """Extend the period of a symptom to `step`, or begin one."""
    start = period.start if period else to_number(finding.get("since"), step)
    severity = max(to_number(finding.get("severity"), 0), period.severity if period else 0)
    return SymptomPeriod(name, start, step, min(1, max(0, severity)), to_mapping(finding.get("evidence")))
