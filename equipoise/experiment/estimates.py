"""Estimates of the time and memory of a run before it is started."""

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from equipoise.core.events import Stepped
from equipoise.experiment.assembly import assemble
from equipoise.experiment.launch import transfer_weights
from equipoise.experiment.settings import Experiment
from equipoise.training.loop import train


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """Estimate from a few steps. `seconds`: of the whole run. `memory`: peak memory of the process so far, in bytes."""

    seconds: float
    memory: int


def estimate(experiment: Experiment, steps: int = 4) -> RunEstimate:
    """Estimate a run by training a few steps in memory, without the first, which is slower.

    The limits `images` and `seconds` of the experiment are taken into account.
    """
    training = assemble(experiment, None)
    if experiment.start_from:
        transfer_weights(training.state, Path(experiment.start_from))
    plan = training.plan
    training.plan = dataclasses.replace(
        plan, steps=steps, images=None, seconds=None, sample_every=None, evaluate_every=None
    )
    ends = [event.seconds for event in train(training) if isinstance(event, Stepped)]
    step_seconds = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
    total = min(plan.steps, math.ceil(plan.images / plan.batch_size)) if plan.images else plan.steps
    return RunEstimate(min(step_seconds * total, plan.seconds or math.inf), peak_memory())


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes; 0 on Windows, where it cannot be read."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
