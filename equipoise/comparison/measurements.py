"""Measurements of the quality of a run by a metric that the run itself cannot observe, and of its cost.

Each checkpoint that is due is measured in the process of the run, without changing its random state. The cost of
measuring is not charged to the run; everything else in the process is: training, probes, live metrics, checkpoints,
rollbacks, the controller. Measurements are lines of JSON in a file next to the run folders.
"""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.comparison.plan import Task
from equipoise.core import catalog
from equipoise.core.data import Batch, DataSet, without_balance
from equipoise.core.knobs import Knobs
from equipoise.core.metric import Metric, ReferenceSet
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.core.sampling_cost import SamplingCost
from equipoise.errors import RunError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.samples import generate_samples
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.experiment.settings import Experiment, build_data
from equipoise.inference.generator import Generator, load
from equipoise.runs.artifacts import encode_npy, encode_png, make_grid, write_bytes
from equipoise.runs.run import CHECKPOINTS_FOLDER, EXPERIMENT_FILE
from equipoise.training import checkpoint

SEED = 7
"""Seed of the evaluated latents, labels and reals: the same for every arm and seed."""
GRID, POINTS = 64, 1000
"""Number of samples that are shown: images, and points or sequences."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Quality and cost of a run after a step. `value`: the reported metric, not finite if the samples were not.

    `value` is None where only the time was recorded, when a run was interrupted. `cpu`, `seconds`: CPU and wall-clock
    seconds of the run so far, without measurements. `also`: additional metrics, in the last measurement only.
    `sampling`: time that the measured samples took. `weights`: number of weights that generated them.
    """

    step: int
    value: float | None
    cpu: float
    seconds: float
    also: Mapping[str, float] = field(default_factory=dict)
    sampling: SamplingCost | None = None
    weights: int | None = None


class MeasuredSamples(NamedTuple):
    """The reported metric of samples, the time that they took, and the number of weights that generated them."""

    value: float
    cost: SamplingCost | None
    weights: int


@dataclass(frozen=True, slots=True, eq=False)
class ReportedMetric:
    """The reported metric of a task, with the held-out reals that `count` samples are compared with."""

    metric: Metric
    statistics: object
    reals: Batch
    count: int

    def of_samples(self, samples: Tensor) -> float:
        """Return the metric of samples (N, ...) in the range of the data; NaN if any of them is not finite."""
        return float(self.metric.value(self.statistics, samples)) if samples.isfinite().all() else math.nan

    def of_generator(self, generator: Generator, sampling: Sampling = DEFAULT_SAMPLING) -> MeasuredSamples:
        """Measure samples from a generator."""
        result = generate_samples(Path(), generator, self.count, SEED, self.reals.condition, sampling)
        return MeasuredSamples(self.of_samples(result.samples), result.cost, count_weights(generator.model))

    def of_run(self, folder: Path, sampling: Sampling = DEFAULT_SAMPLING) -> MeasuredSamples:
        """Measure the last saved averaged generator in a run folder. Keeps the global random state."""
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
            return self.of_generator(load(folder), sampling)


def count_weights(model: Model[Knobs]) -> int:
    """Return the number of weights of the networks that samples are generated with."""
    return sum(weight.numel() for name in model.averaged for weight in model.networks[name].parameters())


def write_uncurated_samples(folder: Path, path: Path, sampling: Sampling) -> None:
    """Write the first samples of a run to a file, GRID images as PNG, other samples as an array (N, ...).

    `path`: without suffix. Nothing is written for sentences.
    """
    generator = load(folder)
    if generator.spec.vocabulary is not None:
        return
    samples = generator.sample(GRID if generator.spec.is_image else POINTS, seed=SEED, sampling=sampling).numpy()
    content = encode_png(make_grid(samples)) if generator.spec.is_image else encode_npy(samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path.with_name(f"{path.name}.{'png' if generator.spec.is_image else 'npy'}"), content)


def build_reported_metric(task: Task, experiment: Experiment, count: int) -> ReportedMetric:
    """Build the reported metric of a task: `count` samples against the same number of held-out reals, if available."""
    data: DataSet = without_balance(build_data(experiment))
    metric: Metric = catalog.build("metrics", task.reported.name, task.reported.options)
    available = data.count("held_out")
    reals: Batch = data.stream("held_out", count if available is None else min(count, available), SEED).batch(0)
    return ReportedMetric(metric, metric.statistics(ReferenceSet(reals.real, reals.condition)), reals, count)


def evaluate_additional_metrics(
    task: Task, folder: Path, count: int, sampling: Sampling = DEFAULT_SAMPLING
) -> dict[str, float]:
    """Return the additional metrics of a task for the last samples of a run; NaN for one without a value."""
    if not task.also:
        return {}
    request = EvaluationRequest(samples=folder, metrics=task.also, count=count, seed=SEED, sampling=sampling)
    return {row.metric: math.nan if row.value is None else row.value for row in evaluate(request).rows}


class CostClock:
    """Clock of the CPU and wall-clock seconds of this process since its construction. Mutable: can be set and
    paused."""

    def __init__(self) -> None:
        self.set(0.0, 0.0)

    def set(self, cpu: float, seconds: float) -> None:
        """Continue from these values."""
        self._cpu, self._seconds = cpu - time.process_time(), seconds - time.monotonic()

    def read(self) -> tuple[float, float]:
        """Return CPU seconds and wall-clock seconds."""
        return self._cpu + time.process_time(), self._seconds + time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[tuple[float, float]]:
        """Context manager that pauses the clock; yields the reading at its start."""
        reading = self.read()
        yield reading
        self.set(*reading)


def append_measurement(path: Path, measurement: Measurement) -> None:
    """Append a measurement to a file, after removing an incomplete last line of a killed process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = dataclasses.asdict(measurement)
    line["value"] = None if measurement.value is None else _to_json(measurement.value)
    line["also"] = {name: _to_json(value) for name, value in measurement.also.items()}
    with path.open("ab") as file:
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(json.dumps(line, allow_nan=False).encode() + b"\n")


def read_measurements(path: Path) -> list[Measurement]:
    """Read all measurements in order of steps. Of two with the same step (the run was resumed), the later one
    counts."""
    result = {}
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, 1):
        if line.endswith(b"\n"):
            try:
                measurement = _parse_measurement(line)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise RunError(f"{path}, line {number}, is not a measurement; delete that line") from error
            result[measurement.step] = measurement
    return [result[step] for step in sorted(result)]


def restore_last_measured(path: Path, measured: Path) -> Measurement | None:
    """Return the last measurement that has a checkpoint, and delete newer checkpoints, whose cost is unknown.

    `path`: a run folder; `measured`: its measurements. Returns None, and deletes the run, if it has to restart: the
    process was killed before the first measurement.
    """
    by_step = {measurement.step: measurement for measurement in read_measurements(measured)}
    checkpoints = checkpoint.find(path / CHECKPOINTS_FOLDER) if (path / EXPERIMENT_FILE).exists() else []
    while checkpoints:
        step = int(checkpoints[-1].name.removeprefix("step-"))
        if step in by_step:
            return by_step[step]
        shutil.rmtree(checkpoints.pop())
    shutil.rmtree(path, ignore_errors=True)
    return None


def _parse_measurement(line: bytes) -> Measurement:
    values = json.loads(line)
    value = None if values["value"] is None else float(values["value"])
    also = {name: float(number) for name, number in values["also"].items()}
    cost = values.get("sampling")
    sampling = None if cost is None else SamplingCost(**cost)
    return Measurement(**{**values, "value": value, "also": also, "step": int(values["step"]), "sampling": sampling})


def _to_json(value: float) -> float | str:
    """Convert a number to JSON; one that is not finite becomes a string."""
    return value if math.isfinite(value) else repr(value)
