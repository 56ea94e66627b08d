"""Cost of evaluations relative to training, in operations instead of seconds, so that it is reproducible."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from equipoise.core.metric import FeatureMetric
from equipoise.training import probe
from equipoise.training.loop import Training
from equipoise.training.plan import MetricEvaluation
from equipoise.training.step import run_step

MAX_SHARE = 0.05
"""Largest share of the time of a run that evaluations may take."""
COST_SAMPLES = 16
"""Number of samples for which the cost is counted; the cost of all samples is proportional."""
LOW_PRECISION = 2.0
"""Factor by which arithmetic in bf16 or fp16, as in training, is cheaper than in fp32, as in feature networks."""
CALL = 2_000_000
"""Cost of one kernel call, including Python and autograd, in operations: 40 µs at 50 operations per nanosecond.

Fitted to two sizes of DCGAN and two metrics on one core. In small networks, calls dominate.
"""


def choose_evaluate_every(training: Training, evaluation: MetricEvaluation, evaluations: int) -> int:
    """Return the number of steps between two evaluations.

    There are `evaluations` of them in the run, or fewer if they would take more than MAX_SHARE. The function trains two
    steps, so pass a training that is not used afterwards.
    """
    return max(1, training.plan.steps // evaluations, smallest_interval(training, evaluation))


def smallest_interval(training: Training, evaluation: MetricEvaluation) -> int:
    """Return the number of steps between two evaluations that take MAX_SHARE of the time.

    Calls and the arithmetic of matrix products and convolutions are counted in one training step and one evaluation.
    The first of two steps, with its lazy penalties, is not counted.
    """
    plan, state = training.plan, training.state
    factor = 1.0 if state.precision == "fp32" else LOW_PRECISION

    shares = state.model.measured_at
    middle = shares[len(shares) // 2]

    def train() -> None:
        run_step(state, training.streams.train, training.pilot.knobs, max(middle, state.step / plan.steps))

    train()
    step = count_operations(train)
    cost, samples = count_operations(lambda: evaluate_few(training, evaluation)), len(evaluation.latents)
    operations = factor * cost.operations * samples / COST_SAMPLES
    evaluation_cost = operations + CALL * cost.calls * math.ceil(samples / probe.GENERATION_BATCH)
    return round(evaluation_cost / (MAX_SHARE * (step.operations + CALL * step.calls)))


def count_operations(function: Callable[[], object]) -> "OperationCounter":
    """Count the operations of a function call, backward passes included."""
    counter = OperationCounter()
    with counter:
        function()
    return counter


class OperationCounter(TorchDispatchMode):
    """Counter of kernel `calls` and of floating-point `operations`, from torch's table of formulas.

    FlopCounterMode uses the same table, but its module hooks do not support autograd.grad, which gradient penalties
    need.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.calls = self.operations = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        named = kwargs or {}
        count_flops = flop_registry.get(func.overloadpacket)
        if count_flops is None:
            with self:  # composite operators, such as convolutions under inference_mode
                result = func.decompose(*args, **named)
            if result is not NotImplemented:
                return result
            self.calls += 1
            return func(*args, **named)
        result = func(*args, **named)
        self.operations += count_flops(*args, **named, out_val=result)
        self.calls += 1
        return result


def evaluate_few(training: Training, evaluation: MetricEvaluation) -> None:
    """Generate COST_SAMPLES samples and compute their features, as the metric does."""
    condition = None if evaluation.condition is None else evaluation.condition[:COST_SAMPLES]
    samples = probe.generate_samples(training.state, evaluation.latents[:COST_SAMPLES], condition)
    if isinstance(evaluation.metric, FeatureMetric):
        with torch.no_grad():
            evaluation.metric.features(samples)
