"""Estimates of the time and memory of a run before it is started."""

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from equipoise.core.events import Stepped
from equipoise.experiment.assembly import check_schedules
from equipoise.experiment.completion import complete
from equipoise.experiment.memory_errors import memory_errors
from equipoise.experiment.resources import check_cores, check_devices, check_memory
from equipoise.experiment.settings import Experiment
from equipoise.experiment.shared_measurement import training_to_measure
from equipoise.experiment.start import transfer_weights
from equipoise.experiment.time_budget import set_steps
from equipoise.training.loop import Training, train
from equipoise.training.timing import mean_step_seconds


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """Estimate from a few steps. `seconds`: of the whole run. `memory`: peak memory of the process so far, in bytes.

    `experiment`: all settings of the run, with the steps that follow from a time budget. `parameters`: number of
    weights of each network.
    """

    seconds: float
    memory: int
    experiment: Experiment
    parameters: Mapping[str, int] = field(default_factory=dict)


def estimate(experiment: Experiment, steps: int = 4, *, reserved: float = 0.0) -> RunEstimate:
    """Estimate a run by training a few steps in memory, without the first, which is slower.

    The limits `images` and `seconds` of the experiment are taken into account. `reserved`: seconds of a time budget
    that the report takes.
    """
    experiment = complete(experiment)
    check_devices(experiment)
    check_cores(experiment)
    check_memory(experiment)
    with memory_errors(experiment):
        return _measure(set_steps(experiment, reserved=reserved), steps)


def _measure(experiment: Experiment, steps: int) -> RunEstimate:
    """Estimate a run whose steps are known."""
    with training_to_measure(experiment) as measured:
        training = measured.training
        check_schedules(training)
        if experiment.start_from:
            transfer_weights(training.state, experiment.start_from)
        plan = training.plan
        step_seconds = _step_seconds(training, steps)
    total = plan.steps if not plan.images else min(plan.steps, math.ceil(plan.images / experiment.step_images))
    parameters = {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in training.state.trained_networks.items()
    }
    return RunEstimate(min(step_seconds * total, plan.seconds or math.inf), peak_memory(), experiment, parameters)


def _step_seconds(training: Training, steps: int) -> float:
    """Return the mean duration of a few steps; with readings if the training has one process."""
    if training.state.world.size > 1:
        return mean_step_seconds(training, steps)
    training.plan = dataclasses.replace(
        training.plan, steps=steps, images=None, seconds=None, sample_every=None, evaluate_every=None
    )
    ends = [event.seconds for event in train(training) if isinstance(event, Stepped)]
    return (ends[-1] - ends[0]) / max(1, len(ends) - 1)


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes; 0 on Windows, where it cannot be read."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
