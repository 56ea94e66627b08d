"""Exact copies of a training in memory, and training up to a given step, so that several copies share one budget."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from equipoise.core.events import Event
from equipoise.core.observations import Verdict
from equipoise.pilot.pilot import Pilot
from equipoise.training.checkpoint import CheckpointValues
from equipoise.training.loop import BestValue, Training, train
from equipoise.training.rollback import RollbackPoints


@dataclass(frozen=True)
class TrainingSnapshot:
    """Everything of a training that changes: as in a checkpoint, with a copy of the pilot, whose state is immutable.

    `tensors`, `values`: of the training state, with the random generators and the position in the stream.
    """

    tensors: Mapping[str, Tensor]
    values: CheckpointValues
    pilot: Pilot
    best: BestValue
    verdict: Verdict
    restorable: bool
    pending: bool
    rollback_points: RollbackPoints

    @property
    def step(self) -> int:
        """Number of steps of the copied training."""
        return int(self.values["step"])


def take_snapshot(training: Training) -> TrainingSnapshot:
    """Return a copy of a training that does not change while the training continues."""
    points = training.rollback_points
    return TrainingSnapshot(
        tensors={name: value.detach().clone() for name, value in training.state.tensors().items()},
        values=copy.deepcopy(training.state.values()),
        pilot=copy.copy(training.pilot),
        best=copy.copy(training.best),
        verdict=training.verdict,
        restorable=training.restorable,
        pending=training.pending,
        rollback_points=RollbackPoints(points.initial, list(points.steps)),
    )


def load_snapshot(training: Training, snapshot: TrainingSnapshot) -> None:
    """Restore a training from a snapshot of itself or of one with the same networks; it continues bit-identically.

    The snapshot can be loaded any number of times.
    """
    tensors = {name: value.clone() for name, value in snapshot.tensors.items()}  # an optimizer keeps the tensors
    training.state.restore(tensors, snapshot.values, f"step {snapshot.step}")
    training.pilot = copy.copy(snapshot.pilot)
    training.best = copy.copy(snapshot.best)
    training.verdict, training.restorable = snapshot.verdict, snapshot.restorable
    training.pending = snapshot.pending
    points = snapshot.rollback_points
    training.rollback_points = RollbackPoints(points.initial, list(points.steps))


def train_until(training: Training, step: int) -> Iterator[Event]:
    """Train until a number of steps, or to the end of the plan; training on from there equals training without a stop.

    The evaluation of the last step is included.
    """
    state, plan = training.state, training.plan
    training.plan = dataclasses.replace(plan, interrupted=lambda: state.step >= step)
    try:
        yield from train(training)
    finally:
        training.plan = plan
