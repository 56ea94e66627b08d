"""Time budgets: setting the number of steps of a run from a measurement before it starts.

The run itself does not depend on time: with the same number of steps, the same seed gives the same bytes, and schedules
are complete when the run ends (docs/decisions/0017-time-budget.md).
"""

import dataclasses
import math
import time

from equipoise.experiment.assembly import EVALUATIONS
from equipoise.experiment.completion import (
    SAVE_EVERY,
    build_unresolved_data,
    default_sample_every,
    with_resolved_controller,
)
from equipoise.experiment.settings import Experiment, require
from equipoise.experiment.shared_measurement import training_to_measure
from equipoise.pilot.pilot import SENSE_EVERY
from equipoise.training.compilation import compile_generators
from equipoise.training.evaluation_cost import smallest_interval
from equipoise.training.loop import Training
from equipoise.training.timing import Intervals, alone, measure_costs, steps_within

MEASURING_SHARE = 0.05
"""Share of the budget for the measurement."""
MAX_MEASURING = 15.0
"""Largest number of seconds for the measurement, unless single parts of the run are slower."""
OVERHEAD_SHARE = 0.5
"""Largest share of the budget that preparation and report may take from training."""
STEPS_PER_EVALUATION = 4
"""Training steps between two sample grids, per sampling step of a diffusion model: one of 80 samples costs as much as
0.4 training steps of batch size 64, so that grids take a tenth of the time."""
MANY_STEPS = 10**9


def set_steps(experiment: Experiment, *, begin: float | None = None, reserved: float = 0.0) -> Experiment:
    """Set the number of steps of a completed experiment with a time budget; other experiments are returned unchanged.

    `begin`: time.monotonic() when the budget began; default: now. `reserved`: seconds for the report after the run.
    Both are subtracted from the budget, up to half of it. The limit of images is respected, too.
    """
    if experiment.steps is not None or experiment.budget is None:
        return experiment
    begin = time.monotonic() if begin is None else begin
    budget = experiment.budget
    # The measured training is long, so that schedules barely change during the measurement.
    with training_to_measure(dataclasses.replace(experiment, steps=MANY_STEPS, budget=None)) as measured:
        training = measured.training
        with alone(training.state):
            smallest = smallest_interval(training, training.evaluation) if training.evaluation else 1
        if experiment.compile:
            compile_generators(training.state)
        costs = measure_costs(training, min(MAX_MEASURING, MEASURING_SHARE * budget))
    overhead = time.monotonic() - begin + measured.start_seconds + reserved
    available = budget - min(overhead, OVERHEAD_SHARE * budget)
    limit = MANY_STEPS
    if experiment.images is not None:
        limit = math.ceil(experiment.images / experiment.step_images)
    steps = steps_within(
        costs, lambda steps: _intervals(_with_steps(experiment, training, steps, smallest)), available, limit
    )
    data = build_unresolved_data(require(experiment.data, "data")).resolve()
    return with_resolved_controller(_with_steps(experiment, training, steps, smallest), data)


def _with_steps(experiment: Experiment, training: Training, steps: int, smallest: int) -> Experiment:
    """Return the experiment with `steps`, and the intervals that depend on them."""
    every = experiment.evaluate_every
    if every is None and training.evaluation is not None:
        every = max(1, steps // EVALUATIONS, smallest)
    evaluations = training.state.model.preview_sampling.steps or 0
    sample_every = experiment.sample_every or max(default_sample_every(steps), STEPS_PER_EVALUATION * evaluations)
    return dataclasses.replace(experiment, steps=steps, sample_every=sample_every, evaluate_every=every)


def _intervals(experiment: Experiment) -> Intervals:
    return Intervals(
        sense=experiment.sense_every or SENSE_EVERY,
        sample=require(experiment.sample_every, "sample_every"),
        evaluate=experiment.evaluate_every or MANY_STEPS,
        save=experiment.save_every or SAVE_EVERY,
        keep_best=experiment.keep == "best",
    )
