"""Duration of the parts of a run, measured on a training that is not used afterwards.

Of a training of several processes, process 0 measures, and announces each step to the others, which take it, too.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.core.world import ALONE
from equipoise.pilot.pilot import DENSE_STEPS
from equipoise.runs.artifacts import write_samples
from equipoise.training import outputs
from equipoise.training.evaluation_cost import COST_SAMPLES, evaluate_few
from equipoise.training.loop import Training, save
from equipoise.training.state import TrainingState
from equipoise.training.step import run_step

Clock = Callable[[], float]
"""A function that returns seconds: time.monotonic, or time.process_time for CPU seconds of this process."""

PERIOD = 8
"""The default interval of lazy penalties, in steps."""
MAX_STEPS = 400
"""Largest number of steps that are measured."""


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Seconds of the parts of a run. `start`: step at which adversarial training starts, after pre-training.

    `pretraining`, `step`: one step without a reading, before and after `start`. `early_reading`: what a reading among
    the first steps adds; `reading`: what one with a probe adds. `sampling`, `evaluation`, `saving`: each time.
    """

    start: int
    pretraining: float
    step: float
    early_reading: float
    reading: float
    sampling: float
    evaluation: float
    saving: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """Steps between two readings, samples, evaluations and checkpoints. `keep_best`: each evaluation is saved, too."""

    sense: int
    sample: int
    evaluate: int
    save: int
    keep_best: bool


def run_seconds(costs: RunCosts, steps: int, every: Intervals) -> float:
    """Return the seconds that a run of `steps` steps takes."""
    readings, evaluations = steps // every.sense, math.ceil(steps / every.evaluate)
    early = min(steps, DENSE_STEPS) - min(steps, DENSE_STEPS) // every.sense
    saves = math.ceil(steps / every.save) + evaluations * every.keep_best
    return (
        costs.pretraining * min(steps, costs.start)
        + costs.step * max(0, steps - costs.start)
        + costs.early_reading * early
        + costs.reading * readings
        + costs.sampling * (1 + math.ceil(steps / every.sample))
        + costs.evaluation * evaluations
        + costs.saving * saves
    )


def steps_within(costs: RunCosts, every: Callable[[int], Intervals], available: float, limit: int) -> int:
    """Return the largest number of steps, from 1 to `limit`, whose run takes at most `available` seconds.

    `every`: the intervals of a run by its number of steps.
    """
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if run_seconds(costs, middle, every(middle)) <= available else (low, middle - 1)
    return low


def measure_costs(training: Training, seconds: float, clock: Clock = time.monotonic) -> RunCosts:
    """Measure the parts of a run in about `seconds` of a clock; slow parts take longer: each is run at least once.

    Steps are taken and the pilot changes knobs, so pass a training that is not used afterwards.
    """
    start = max(0, training.state.model.adversarial_start)
    pretraining = _step_seconds(training, seconds / 2, clock) if start else 0.0
    training.state.step = start
    steps = _durations_of_steps(training, seconds / 4 if start else seconds / 2, clock)
    with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
        return RunCosts(
            start,
            pretraining,
            sum(steps) / len(steps),
            early_reading=max(0.0, _reading_seconds(training, clock, with_probe=False, repeats=3) - steps[-1]),
            reading=max(0.0, _reading_seconds(training, clock, with_probe=True) - steps[-1]),
            sampling=_second_duration(lambda: write_samples(Path(folder), outputs.sample_grid(training)), clock),
            evaluation=_evaluation_seconds(training, seconds, clock),
            saving=_saving_seconds(training, Path(folder) / "checkpoints", clock),
        )


def mean_step_seconds(training: Training, steps: int) -> float:
    """Return the mean duration of `steps` steps without readings, after one warm-up step."""
    _take_step(training)
    _wait_for_device(training)
    begin = time.monotonic()
    for _ in range(steps):
        _take_step(training)
    _wait_for_device(training)
    return (time.monotonic() - begin) / steps


@contextmanager
def alone(state: TrainingState) -> Iterator[None]:
    """Let process 0 take steps in the context without the others, and forget their number and buffers afterwards.

    So that conditions of phases stay the same in all processes. With one process the context has no effect.
    """
    if state.world.size == 1:
        yield
        return
    world, memory, counts = state.world, state.memory, (state.step, state.images, state.draws)
    state.world = ALONE
    try:
        yield
    finally:
        state.world, state.memory = world, memory
        state.step, state.images, state.draws = counts


END = -1
"""What process 0 announces instead of a step at the end of a measurement."""


def take_announced_steps(training: Training) -> None:
    """Take the steps that process 0 measures, as one of the other processes, until the measurement ends."""
    state, plan, knobs = training.state, training.plan, training.pilot.knobs
    while True:
        step, *values = _announced(state, [0.0] * (1 + len(knobs.values())))
        if step == END:
            return
        state.step = int(step)
        knobs = knobs.with_values(dict(zip(knobs.values(), values, strict=True)))
        run_step(state, training.streams.train, knobs, state.step / plan.steps)


def end_announced_steps(state: TrainingState) -> None:
    """End the measurement for the other processes."""
    _announced(state, [END, *[0.0] * len(state.model.knobs.values())])


def _announced(state: TrainingState, numbers: Sequence[float]) -> list[float]:
    """Return the numbers of process 0; the others give zeros."""
    return state.world.add(torch.tensor(numbers, dtype=torch.float64)).tolist()


def _duration(function: Callable[[], object], clock: Clock) -> float:
    begin = clock()
    function()
    return clock() - begin


def _second_duration(function: Callable[[], object], clock: Clock) -> float:
    """Return the duration of the second call; the first one is a warm-up."""
    function()
    return _duration(function, clock)


def _take_step(training: Training, *, measure: bool = False, with_probe: bool = False) -> None:
    """Take one step as the loop does; `measure`: with a reading."""
    state, knobs = training.state, training.pilot.knobs
    progress = state.step / training.plan.steps
    if state.world.size > 1:
        _announced(state, [state.step, *knobs.values().values()])
    record = run_step(state, training.streams.train, knobs, progress, measure=measure)
    if with_probe:
        record = outputs.add_probe(training, record)
    if measure:
        training.pilot.observe(record)


def _step_seconds(training: Training, seconds: float, clock: Clock) -> float:
    """Return the mean duration of a step, measured for about `seconds` after one warm-up step.

    Whole periods of lazy penalties are counted, unless the steps are too slow for one.
    """
    _take_step(training)
    _wait_for_device(training)
    begin, count = clock(), 0
    while True:
        _take_step(training)
        count += 1
        is_whole = count < PERIOD or count % PERIOD == 0
        if (clock() - begin >= seconds and is_whole) or count >= MAX_STEPS:
            _wait_for_device(training)
            return (clock() - begin) / count


def _durations_of_steps(training: Training, seconds: float, clock: Clock) -> list[float]:
    """Return the duration of a step at each share of the run at which the model is to be timed."""
    state, shares = training.state, training.state.model.measured_at
    start, durations = state.step, []
    for share in shares:
        state.step = start + round(share * (training.plan.steps - start))
        durations.append(_step_seconds(training, seconds / len(shares), clock))
    return durations


def _wait_for_device(training: Training) -> None:
    """Wait until the device has finished what was launched: a step returns before its kernels have run."""
    if training.state.device.type == "cuda":
        torch.cuda.synchronize(training.state.device)


def _reading_seconds(training: Training, clock: Clock, *, with_probe: bool, repeats: int = 1) -> float:
    """Return the mean duration of a step with a reading, after one warm-up step."""

    def take() -> None:
        if with_probe:  # the next step is one with a probe
            sense_every = training.pilot.sense_every
            training.state.step = (training.state.step // sense_every + 1) * sense_every - 1
        _take_step(training, measure=True, with_probe=with_probe)

    take()
    return sum(_duration(take, clock) for _ in range(repeats)) / repeats


def _evaluation_seconds(training: Training, seconds: float, clock: Clock) -> float:
    """Return the duration of an evaluation; of a slow one, estimated from a few samples."""
    evaluation = training.evaluation
    if evaluation is None:
        return 0.0
    evaluate_few(training, evaluation)
    few = _duration(lambda: evaluate_few(training, evaluation), clock) * len(evaluation.latents) / COST_SAMPLES
    if few > seconds / 2:
        return few
    return _duration(lambda: outputs.measure_metric(training, evaluation), clock)


def _saving_seconds(training: Training, folder: Path, clock: Clock) -> float:
    """Return the duration of a checkpoint, without what it holds of other processes: their random states."""
    with alone(training.state):
        return _duration(lambda: save(training, folder), clock)
