"""Results of runs of the suite: one record per JSON line, found again by task, settings and seed."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from equipoise.comparison.suite.episode import EpisodeCurve

Endpoint = Literal["selected", "last"]
ENDPOINTS: tuple[Endpoint, ...] = ("selected", "last")
"""The generator that the run keeps, with the best live metric (early stopping), and the one at the end."""
RunArray = npt.NDArray[np.float64]
"""One value per run, (T, S): T tasks, S seeds. NaN: the run does not exist. Infinity: it diverged."""


class SuiteLine(TypedDict):
    """A line of the results; None: not finite. A file has more keys, which statistics do not need."""

    task: str
    arm: str
    seed: int
    settings: Mapping[str, object]
    selected: float | None
    last: float | None
    diverged: bool
    cpu: float
    steps: Sequence[int]
    distances: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """One run. `settings`: sorted JSON. `selected`, `last`: distances to the test reals, infinite if there is none.

    `cpu`: seconds of processor time. `distances`: to the test reals at `steps`.
    """

    task: str
    arm: str
    settings: str
    seed: int
    selected: float
    last: float
    diverged: bool
    cpu: float
    steps: tuple[int, ...]
    distances: tuple[float, ...]

    @classmethod
    def of(cls, line: SuiteLine) -> "SuiteRecord":
        """Read a line."""
        return cls(
            task=line["task"],
            arm=line["arm"],
            settings=settings_text(line["settings"]),
            seed=line["seed"],
            selected=_finite(line["selected"]),
            last=_finite(line["last"]),
            diverged=line["diverged"],
            cpu=line["cpu"],
            steps=tuple(line["steps"]),
            distances=tuple(_finite(value) for value in line["distances"]),
        )

    @classmethod
    def of_curve(
        cls, task: str, arm: str, settings: Mapping[str, object], seed: int, curve: EpisodeCurve
    ) -> "SuiteRecord":
        """Build the record of a run that was just trained."""
        return cls(
            task=task,
            arm=arm,
            settings=settings_text(settings),
            seed=seed,
            selected=curve.selected,
            last=curve.last,
            diverged=curve.diverged,
            cpu=curve.cpu,
            steps=tuple(evaluation.step for evaluation in curve.evaluations),
            distances=tuple(_finite(evaluation.distance) for evaluation in curve.evaluations),
        )

    def value(self, endpoint: Endpoint) -> float:
        """Return the distance of an endpoint."""
        return self.selected if endpoint == "selected" else self.last


def settings_text(settings: Mapping[str, object]) -> str:
    """Return settings as JSON text; settings of equal content have equal text."""
    return json.dumps(settings, sort_keys=True)


class SuiteRecords:
    """All records. Runs of equal task, settings and seed are equal, under whichever name of an arm they ran."""

    def __init__(self, records: Iterable[SuiteRecord]) -> None:
        self._records = {(record.task, record.settings, record.seed): record for record in records}

    @classmethod
    def of_lines(cls, lines: Iterable[SuiteLine]) -> "SuiteRecords":
        """Read lines; of runs that are given twice the last one counts."""
        return cls(SuiteRecord.of(line) for line in lines)

    def all(self) -> list[SuiteRecord]:
        """Return all records."""
        return list(self._records.values())

    def find(self, task: str, settings: str, seed: int) -> SuiteRecord | None:
        """Return the record of a run, None if it does not exist."""
        return self._records.get((task, settings, seed))

    def runs(self, tasks: Sequence[str], settings: str, seeds: Sequence[int]) -> list[SuiteRecord]:
        """Return the existing records of these tasks and seeds, task by task."""
        records = (self.find(task, settings, seed) for task in tasks for seed in seeds)
        return [record for record in records if record]

    def distances(self, tasks: Sequence[str], settings: str, seeds: Sequence[int], endpoint: Endpoint) -> RunArray:
        """Return distances (T, S)."""
        rows = [[self.find(task, settings, seed) for seed in seeds] for task in tasks]
        return _array([[record.value(endpoint) if record else math.nan for record in row] for row in rows], seeds)

    def cpu(self, tasks: Sequence[str], settings: str, seeds: Sequence[int]) -> RunArray:
        """Return seconds of processor time (T, S)."""
        rows = [[self.find(task, settings, seed) for seed in seeds] for task in tasks]
        return _array([[record.cpu if record else math.nan for record in row] for row in rows], seeds)

    def seeds(self, task: str, settings: str) -> list[int]:
        """Return the seeds of the existing runs of a task, in order."""
        return sorted(seed for name, text, seed in self._records if name == task and text == settings)


def _array(rows: Sequence[Sequence[float]], seeds: Sequence[int]) -> RunArray:
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(seeds))


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.inf
