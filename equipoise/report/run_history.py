"""A run's lines, read once and asked often. Lines of other versions, with fields missing or odd, do no harm."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from equipoise.report.series import StepSeries
from equipoise.runs.run_folder import Line, Run


@dataclass(frozen=True)
class KnobHistory:
    """All turns of one knob, in order. `values` starts with where it stood before the first one."""

    knob: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    by: tuple[str, ...]
    why: str
    """the reason given for the last turn"""


@dataclass(frozen=True)
class SymptomPeriod:
    """A symptom, over the readings in a row that found it."""

    name: str
    since: float
    until: float
    severity: float
    """the worst of them, 0 to 1"""
    evidence: Mapping[str, Any]
    """that of the last reading"""


@dataclass(frozen=True)
class RemedyRecord:
    """What was done about a finding: weights gone back to those of a step, or None; knobs held, and until when."""

    step: float
    symptom: str
    restored: float | None
    held: Mapping[str, float]
    until: float


@dataclass(frozen=True)
class MetricHistory:
    """All values of one metric, in order; `best` and `last` are positions, None if no value is finite."""

    metric: str
    better: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    count: int

    @property
    def last(self) -> int | None:
        """The last finite value."""
        return max(self._finite(), default=None)

    @property
    def best(self) -> int | None:
        """The first of the best finite values."""
        sign = -1 if self.better == "higher" else 1
        return min(self._finite(), key=lambda position: sign * self.values[position], default=None)

    def _finite(self) -> list[int]:
        return [position for position, value in enumerate(self.values) if math.isfinite(value)]


@dataclass(frozen=True)
class RunHistory:
    """A run as it went."""

    run: Run
    experiment: Mapping[str, Any]
    lines: Sequence[Line]

    def named(self, event: str) -> list[Line]:
        """The lines of one kind."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def started(self) -> Line:
        """The first line of the run; empty if there is none."""
        return next(iter(self.named("started")), {})

    @property
    def finished(self) -> Line | None:
        """How the run ended; None while it runs, and after a kill or a resume that came later."""
        for line in reversed(self.lines):
            if line["event"] == "finished":
                return line
            if line["event"] in ("sensed", "resumed"):
                return None
        return None

    @cached_property
    def step(self) -> int:
        """The last step that anything is known of."""
        return int(max((to_number(line["step"], 0) for line in self.lines), default=0))

    @cached_property
    def images(self) -> int:
        """Reals seen up to then."""
        return int(max((to_number(line.get("images"), 0) for line in self.lines), default=0))

    @property
    def noun(self) -> str:
        """What reals are called here: sentences where samples are kept as texts, else images."""
        texts = any(str(line.get("samples", "")).endswith(".txt") for line in self.named("sampled"))
        return "sentences" if texts else "images"

    @property
    def seconds(self) -> float:
        """Seconds of training, as far as the lines tell."""
        return max(
            (to_number(line.get("seconds"), 0) for line in self.named("sensed") + self.named("finished")), default=0
        )

    def images_at(self, step: float) -> float:
        """Reals seen after `step`, between what the lines tell of."""
        known = {to_number(line["step"], 0): to_number(line.get("images"), 0) for line in self.lines}
        steps = sorted(known)
        return float(np.interp(step, steps, [known[one] for one in steps])) if steps else 0.0

    def loss(self, name: str) -> StepSeries:
        """The readings of one "phase.term", with their lowest and highest."""
        lines = [line for line in self.named("sensed") if name in to_mapping(line.get("loss"))]
        readings = [to_mapping(line["loss"][name]) for line in lines]
        steps = [to_number(line["step"]) for line in lines]
        mean, low, high = ([to_number(reading.get(key)) for reading in readings] for key in ("mean", "min", "max"))
        return StepSeries.of(steps, mean, low, high)

    def losses(self) -> list[str]:
        """The names of all totals, in the order in which they were first read."""
        names = {name: None for line in self.named("sensed") for name in to_mapping(line.get("loss"))}
        return [name for name in names if name.endswith(".total")]

    def signal(self, name: str) -> StepSeries:
        """One signal, where it was to be had."""
        lines = [line for line in self.named("sensed") if name in to_mapping(line.get("signals"))]
        return StepSeries.of([to_number(line["step"]) for line in lines], [to_number(line["signals"][name]) for line in lines])

    def rewards(self) -> StepSeries:
        """What the controller's decisions have earned, where it is paid."""
        lines = [line for line in self.named("sensed") if line.get("reward") is not None]
        return StepSeries.of([to_number(line["step"]) for line in lines], [to_number(line["reward"]) for line in lines])

    def turns(self) -> list[KnobHistory]:
        """The knobs that moved, each with its turns, in the order of their first turn."""
        result: dict[str, list[Line]] = {}
        for line in self.named("turned"):
            result.setdefault(str(line.get("knob")), []).append(line)
        return [
            KnobHistory(
                knob,
                tuple(to_number(line["step"], 0) for line in lines),
                (to_number(lines[0].get("from")), *(to_number(line.get("to")) for line in lines)),
                tuple(str(line.get("by", "")) for line in lines),
                str(lines[-1].get("why", "")),
            )
            for knob, lines in result.items()
        ]

    def measured(self) -> list[MetricHistory]:
        """The metrics, in the order of their first evaluation."""
        result: dict[str, list[Line]] = {}
        for line in self.named("evaluated"):
            result.setdefault(str(line.get("metric")), []).append(line)
        return [
            MetricHistory(
                metric,
                str(lines[-1].get("better", "lower")),
                tuple(to_number(line["step"], 0) for line in lines),
                tuple(to_number(line.get("value")) for line in lines),
                int(to_number(lines[-1].get("count"), 0)),
            )
            for metric, lines in result.items()
        ]

    def symptoms(self) -> list[SymptomPeriod]:
        """What was found, in order of time; readings in a row that found the same are one."""
        done: list[SymptomPeriod] = []
        going: dict[str, SymptomPeriod] = {}
        for line in self.named("sensed"):
            now = {str(finding.get("symptom")): finding for finding in findings_of(line)}
            done += [going.pop(name) for name in list(going) if name not in now]
            for name, finding in now.items():
                going[name] = _continued(going.get(name), name, finding, to_number(line["step"], 0))
        return sorted((*done, *going.values()), key=lambda symptom: symptom.since)

    def remedies(self) -> list[RemedyRecord]:
        """What was done about findings, in order."""
        return [
            RemedyRecord(
                to_number(line["step"], 0),
                str(to_mapping(line.get("finding")).get("symptom")),
                None if line.get("restored") is None else to_number(line["restored"]),
                {str(one.get("knob")): to_number(one.get("value")) for one in _tables(line.get("overrides"))},
                to_number(line.get("until"), to_number(line["step"], 0)),
            )
            for line in self.named("remedied")
        ]


def read_history(run: Run) -> RunHistory:
    """Read a run folder. Raises RunError if it is none, or is damaged."""
    return RunHistory(run, run.experiment(), run.lines())


def to_number(value: Any, otherwise: float = math.nan) -> float:
    """A number as JSON or a log has it; `otherwise` for what is no finite number."""
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return result if math.isfinite(result) else otherwise


def to_mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def findings_of(line: Line) -> list[Mapping[str, Any]]:
    """What a sensed line has found."""
    return _tables(to_mapping(line.get("health")).get("findings"))


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _continued(earlier: SymptomPeriod | None, name: str, finding: Mapping[str, Any], step: float) -> SymptomPeriod:
    since = earlier.since if earlier else to_number(finding.get("since"), step)
    severity = max(to_number(finding.get("severity"), 0), earlier.severity if earlier else 0)
    return SymptomPeriod(name, since, step, min(1, max(0, severity)), to_mapping(finding.get("evidence")))
