"""What measuring costs beside training, in arithmetic rather than seconds, so that every machine measures as often."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from equipoise.core.metric import FeatureMetric
from equipoise.training import probe
from equipoise.training.loop import Evaluation, Training
from equipoise.training.step import run_step

SHARE = 0.05
"""Of the time of a run, what its metric may take."""
PRICED = 16
"""Samples that an evaluation is priced by; the others cost as much."""
LOW_PRECISION = 2.0
"""Times that arithmetic in bf16 or fp16, as in training, is cheaper than in fp32, as in features."""
CALL = 2_000_000
"""Operations that one core could have done in the time that a call of a kernel takes, with what Python and autograd do
about it: 40 µs at 50 a nanosecond, fitted to two sizes of DCGAN and two metrics. Small networks cost their calls."""


def evaluate_every(training: Training, evaluation: Evaluation, evaluations: int) -> int:
    """Steps between two evaluations: so many that there are `evaluations`, or more, so that they take SHARE at most.

    Counts calls, and the arithmetic of matrix products and convolutions, in a training step and in an evaluation. It
    trains two steps: give it a training of its own. The dearer first step, with its lazy penalties, is not counted.
    """
    plan, state = training.plan, training.state
    dear = 1.0 if state.precision == "fp32" else LOW_PRECISION

    def train() -> None:
        run_step(state, training.streams.train, training.pilot.knobs, state.step / plan.steps)

    train()
    step = counted(train)
    each, samples = counted(lambda: _measure(training, evaluation)), len(evaluation.latents)
    measuring = dear * each.operations * samples / PRICED + CALL * each.calls * math.ceil(samples / probe.PIECE)
    wanted = max(1, plan.steps // evaluations)
    return max(wanted, round(measuring / (SHARE * (step.operations + CALL * step.calls))))


def counted(work: Callable[[], object]) -> "Counting":
    """What a piece of work comes to, backward passes included."""
    counting = Counting()
    with counting:
        work()
    return counting


class Counting(TorchDispatchMode):
    """Counts `calls` of kernels, and adds up the floating-point `operations` that torch's own table gives for each.

    FlopCounterMode reads the same table; its hooks on modules do not bear autograd.grad, which gradient penalties need.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.calls = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        price = flop_registry.get(func.overloadpacket)
        if price is None:
            with self:  # what is made of other operations, as convolutions are under inference_mode
                result = func.decompose(*args, **named)
            if result is not NotImplemented:
                return result
            self.calls += 1
            return func(*args, **named)
        result = func(*args, **named)
        self.operations += price(*args, **named, out_val=result)
        self.calls += 1
        return result


def _measure(training: Training, evaluation: Evaluation) -> None:
    """Make a few samples and look at them as the metric does."""
    condition = evaluation.condition
    made = probe.samples(training.state, evaluation.latents[:PRICED], None if condition is None else condition[:PRICED])
    if isinstance(evaluation.metric, FeatureMetric):
        with torch.no_grad():
            evaluation.metric.features(made)
