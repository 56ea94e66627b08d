"""What a run will take, of time and memory, told before it is begun."""

import dataclasses
import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from equipoise.core.events import Stepped
from equipoise.experiment.launch import assemble, transfer_weights
from equipoise.experiment.settings import Experiment
from equipoise.training.loop import train


@dataclass(frozen=True, slots=True)
class Estimate:
    """A first guess, from a few steps: seconds for the whole run, and the most memory taken so far, in bytes."""

    seconds: float
    memory: int


def estimate(experiment: Experiment, steps: int = 4) -> Estimate:
    """Train a few steps in memory and see what they take; the first is left out, for it warms up.

    A run that images or seconds will end takes no longer than these.
    """
    training = assemble(experiment, None)
    if experiment.start_from:
        transfer_weights(training.state, Path(experiment.start_from))
    plan = training.plan
    training.plan = dataclasses.replace(
        plan, steps=steps, images=None, seconds=None, sample_every=None, evaluate_every=None
    )
    ends = [event.seconds for event in train(training) if isinstance(event, Stepped)]
    each = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
    total = min(plan.steps, math.ceil(plan.images / plan.batch_size)) if plan.images else plan.steps
    return Estimate(min(each * total, plan.seconds or math.inf), peak_memory())


def peak_memory() -> int:
    """The most memory that this process has taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
