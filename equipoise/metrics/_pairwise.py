"""What metrics share that compare each sample with the one real that it should be."""

from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError


def figure(each: Tensor, draws: Bootstrap) -> MetricResult:
    """The mean of distances (N,) float64, and of those of drawn pairs."""
    return MetricResult(
        each.mean().item(), draws.weights(len(each), 1).double() @ each / len(each) if draws.count else None
    )


def as_many(real: Tensor, fake: Tensor) -> Tensor:
    """The reals (N, ...) that samples (N, ...) are compared with: the first of them, if there are more.

    Raises DataError if there are fewer, or none.
    """
    if not 0 < len(fake) <= len(real):
        raise DataError(f"each sample is compared with its own real: {len(fake)} samples, {len(real)} reals")
    return real[: len(fake)]
