"""Inputs of a training: plan, data streams, metric, and inputs of the sample grids."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.metric import Metric
from equipoise.core.requests import NO_REQUESTS, RequestSource


def never_interrupted() -> bool:
    """Return False: nothing interrupts the training."""
    return False


@runtime_checkable
class RaisingRequest(Protocol):
    """A function `interrupted` that can also raise KeyboardInterrupt when a stop is requested."""

    def raising(self) -> AbstractContextManager[None]:
        """Return a context in which a request raises KeyboardInterrupt."""


@contextmanager
def abortable(interrupted: Callable[[], bool]) -> Iterator[None]:
    """Let a request to stop raise KeyboardInterrupt in the context, if `interrupted` can; for long computations."""
    if isinstance(interrupted, RaisingRequest):
        with interrupted.raising():
            yield
    else:
        yield


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Length of the training, and intervals in steps; None means never, or no limit.

    `seconds` limits the training time, summed over resumes. Progress depends on steps alone, so that schedules do not
    depend on the speed of the machine. `accumulate`: number of batches per update. `checkpoints`: folder of the
    checkpoints. `keep_best`: whether the final weights are those with the best metric, so that each best evaluation is
    saved. `data_processes`: number of processes that read batches of data that is decoded when it is drawn; 0: this
    process reads them. `interrupted`: whether to stop now. `requests`: what a person requests during training.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    images: int | None = None
    seconds: float | None = None
    stop_at_equilibrium: bool = False
    sample_every: int | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    checkpoints: Path | None = None
    keep_best: bool = False
    data_processes: int = 0
    interrupted: Callable[[], bool] = never_interrupted
    requests: RequestSource = NO_REQUESTS

    @property
    def step_images(self) -> int:
        """The number of real samples that a step counts."""
        return self.batch_size * self.accumulate


@dataclass(frozen=True, slots=True)
class MetricEvaluation:
    """A metric and its fixed inputs. `latents`: (N, ...). `condition`: labels or inputs (N, ...), or None."""

    name: str
    metric: Metric
    statistics: Any
    latents: Tensor
    condition: Tensor | None


@dataclass(frozen=True, slots=True)
class SmallHeldOut:
    """Streams for held-out data that does not fill a training batch: all of it as one batch.

    `train`, `held_out`: streams of `size` samples per batch. Equal sizes make their logits comparable, because batch
    normalisation depends on the other samples in the batch.
    """

    train: Stream
    held_out: Stream
    size: int


@dataclass(frozen=True, slots=True)
class Streams:
    """Training batches, and held-out batches of the same size or, if there are too few for that, `small_held_out`.

    Both are None if there are too few held-out samples for a rank.
    """

    train: Stream
    held_out: Stream | None = None
    small_held_out: SmallHeldOut | None = None


class Preview(NamedTuple):
    """Fixed inputs of the sample grids. `latents`: (N, ...). `condition`: labels or inputs (N, ...), or None."""

    latents: Tensor
    condition: Tensor | None

    def first(self, count: int | None) -> "Preview":
        """Return the first `count` inputs; None for all."""
        return Preview(self.latents[:count], None if self.condition is None else self.condition[:count])
