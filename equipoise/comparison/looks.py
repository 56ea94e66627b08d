"""Looks at a run from outside: how good its samples are by a metric that the run itself never sees.

A look follows every checkpoint that is due, in the process of the run, and leaves its random numbers alone. What
looking costs is not charged to the run; everything else that the process does is: training, probes, live metrics,
checkpoints, rollbacks, the controller. Looks are lines of JSON in a file beside the run's folder.
"""

import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.comparison.plan import Task
from equipoise.core import catalog
from equipoise.core.data import Batch
from equipoise.core.metric import Metric, ReferenceSet
from equipoise.evaluation import evaluate as evaluation
from equipoise.evaluation import samples as specimens
from equipoise.evaluation import subject as judged
from equipoise.experiment.settings import Experiment, data_of
from equipoise.inference.generator import Generator, load

SEED = 7
"""Of latents, labels and reals that are judged: the same for every arm and seed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen after a step. `value`: of the reported metric, not finite if the samples were not.

    `value` is None where only the time was taken, when a run was interrupted. `cpu`, `seconds`: what the run had taken
    up to then, of the processor and of the clock, looks left out. `also`: further metrics, at the last look only.
    """

    step: int
    value: float | None
    cpu: float
    seconds: float
    also: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """The reported metric of a task, and the held-out reals that `count` samples are compared with."""

    metric: Metric
    statistics: Any
    reals: Batch
    count: int

    def of_samples(self, samples: Tensor) -> float:
        """The metric of samples (N, ...) in the range of the data; not a number if they hold one that is not finite."""
        return float(self.metric.value(self.statistics, samples)) if samples.isfinite().all() else math.nan

    def of_generator(self, generator: Generator) -> float:
        """The metric of samples that a generator makes."""
        made = specimens.of_run(Path(), generator, self.count, SEED, self.reals.condition)
        return self.of_samples(made.samples)

    def of_run(self, folder: Path) -> float:
        """The metric of the averaged generator in a run folder, as it was last saved. Draws no random numbers."""
        with torch.random.fork_rng(devices=[]):
            return self.of_generator(load(folder))


def judge_of(task: Task, experiment: Experiment, count: int) -> Judge:
    """The judge of a task: `count` samples beside as many held-out reals, or all there are."""
    data, metric = data_of(experiment), metric_of(task)
    available = data.count("held_out")
    reals: Batch = data.stream("held_out", count if available is None else min(count, available), SEED).batch(0)
    return Judge(metric, metric.statistics(ReferenceSet(reals.real, reals.condition)), reals, count)


def metric_of(task: Task) -> Metric:
    """The metric that is reported of a task."""
    metric: Metric = catalog.build("metrics", task.reported.name, task.reported.options)
    return metric


def further(task: Task, folder: Path, count: int) -> dict[str, float]:
    """The values of the task's further metrics, of the last samples of a run."""
    if not task.also:
        return {}
    asked = judged.Asked(samples=folder, metrics=task.also, count=count, seed=SEED)
    return {row.metric: row.value for row in evaluation.evaluate(asked).rows}


class Clock:
    """CPU seconds of this process, and seconds, since it began; mutable, for it can be set and stopped."""

    def __init__(self) -> None:
        self.set(0.0, 0.0)

    def set(self, cpu: float, seconds: float) -> None:
        """Go on from here."""
        self._cpu, self._seconds = cpu - time.process_time(), seconds - time.monotonic()

    def read(self) -> tuple[float, float]:
        """CPU seconds and seconds."""
        return self._cpu + time.process_time(), self._seconds + time.monotonic()

    @contextmanager
    def stopped(self) -> Iterator[tuple[float, float]]:
        """What is done within is not counted; the reading at which it was stopped."""
        reading = self.read()
        yield reading
        self.set(*reading)


def record(path: Path, look: Look) -> None:
    """Append a look; a last line that a kill cut short is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = dataclasses.asdict(look)
    line["value"] = None if look.value is None else _plain(look.value)
    line["also"] = {name: _plain(value) for name, value in look.also.items()}
    with path.open("ab") as file:
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(json.dumps(line, allow_nan=False).encode() + b"\n")


def recorded(path: Path) -> list[Look]:
    """All looks by step; of two after the same step the later one, for the run was gone back to before it."""
    result = {}
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if line.endswith(b"\n"):
            values = json.loads(line)
            value = None if values["value"] is None else float(values["value"])
            also = {name: float(other) for name, other in values["also"].items()}
            result[values["step"]] = Look(**{**values, "value": value, "also": also})
    return [result[step] for step in sorted(result)]


def _plain(value: float) -> float | str:
    """A number as JSON has it."""
    return value if math.isfinite(value) else repr(value)
