"""Manual control of a run as its log has it: which knobs a person held, when, and at which values."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from equipoise.core.requests import MAX_NAME
from equipoise.runs.run import EventLine, Run


@dataclass(frozen=True, slots=True)
class HoldPeriod:
    """A person held a knob at a value from step `start` to step `end`; None: until the end of the log. `by`: sender."""

    knob: str
    value: float
    start: int
    end: int | None = None
    by: str = ""

    def __str__(self) -> str:
        until = "to the end" if self.end is None else f"to step {self.end:,}"
        return f"{self.knob} was held at {self.value:g} from step {self.start:,} {until}"


def hold_periods(lines: Iterable[EventLine]) -> list[HoldPeriod]:
    """Return the periods in which a person held a knob, in order of their start. Malformed lines are ignored.

    `lines`: of the whole log, or those of the event `requested`.
    """
    ended: list[HoldPeriod] = []
    current: dict[str, HoldPeriod] = {}
    for line in lines:
        knob, value, step = line.get("knob"), line.get("value"), line.get("step")
        is_change = line.get("event") == "requested" and line.get("action") in ("turn", "release")
        if not is_change or line.get("refused") or not isinstance(knob, str) or not isinstance(step, int):
            continue
        if (period := current.pop(knob, None)) is not None:
            ended.append(replace(period, end=step))
        if line["action"] == "turn" and isinstance(value, int | float):
            current[knob] = HoldPeriod(knob[:MAX_NAME], float(value), step, by=str(line.get("by", ""))[:MAX_NAME])
    return sorted((*ended, *current.values()), key=lambda period: period.start)


def check_repeatable(folder: Path) -> Path:
    """Return the folder of a run whose requests are to be repeated. Raises RunError if it is not a run."""
    Run(folder).experiment()
    return folder
