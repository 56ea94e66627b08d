"""Training by several processes: rank 0 observes, decides and writes; the others take the same steps.

After a step at which something is due, or a process wishes to stop, the processes synchronize: rank 0 sends one message
after the other, and the last one is the outcome, which holds the knobs of the next steps. In between, only gradients
are exchanged.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.events import FinishReason
from equipoise.core.knobs import Knobs
from equipoise.core.model import AnyBatch
from equipoise.core.world import World
from equipoise.errors import CheckpointError
from equipoise.training.checkpoint import Checkpoint
from equipoise.training.load_ahead import load_ahead
from equipoise.training.state import TrainingState
from equipoise.training.step import run_step

if TYPE_CHECKING:
    from equipoise.training.loop import Training

RANKS = "ranks"
"""Key of a checkpoint's values: `size`, the number of processes, and `own`, the values of those after rank 0."""


@dataclass(frozen=True, slots=True)
class RankStream:
    """The batches of one process: every `size`-th of a stream, so that all processes together read the whole stream."""

    stream: Stream
    world: World

    def batch(self, index: int) -> AnyBatch:
        """Return the share of this process of whole batch number `index`, on the CPU."""
        return self.stream.batch(index * self.world.size + self.world.rank)


def own_stream(stream: Stream, world: World) -> Stream:
    """Return the batches of this process; the same stream if there is one process."""
    return stream if world.size == 1 else RankStream(stream, world)


def is_sync_point(training: "Training") -> bool:
    """Whether the processes synchronize after this step.

    With one process after every step, since there is nothing to exchange.
    """
    state, plan = training.state, training.plan
    stops = state.stop.is_set()
    intervals = (plan.sample_every, plan.evaluate_every, plan.save_every)
    is_due = training.pilot.is_due(state.step) or any(every and state.step % every == 0 for every in intervals)
    is_over = state.step >= plan.steps or (plan.images is not None and state.images >= plan.images)
    return state.world.size == 1 or stops or is_due or is_over


def share_outcome(training: "Training", reason: FinishReason | None) -> None:
    """Send the outcome of a synchronization: why the run ends, or None, and the knobs."""
    if training.state.world.size > 1:
        knobs = training.pilot.knobs.values()
        training.state.world.share_text(json.dumps({"message": "outcome", "reason": reason, "knobs": knobs}))


def share_rollback(state: TrainingState, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Let all processes restore the weights that rank 0 restores; return those of rank 0."""
    if state.world.size == 1:
        return tensors
    state.world.share_text(json.dumps({"message": "rollback", "rolled_back_images": state.rolled_back_images}))
    return own_tensors(state.world.share_tensors(tensors), 0)


def gather_states(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return what a checkpoint holds of the processes after rank 0: tensors by path, and JSON values."""
    if state.world.size == 1:
        return {}, {}
    state.world.share_text(json.dumps({"message": "states"}))
    return collect_states(state)


def collect_states(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return what gather_states returns; every process calls it, the others after the message of rank 0."""
    tensors = state.world.gather_tensors(state.own_tensors())
    values = state.world.gather_texts(json.dumps(state.own_values()))
    paths = {f"rank/{rank}/{name}": value for rank, own in enumerate(tensors[1:], 1) for name, value in own.items()}
    return paths, {RANKS: {"size": state.world.size, "own": [json.loads(text) for text in values[1:]]}}


def of_rank(saved: Checkpoint, world: World, *, reseed: bool) -> Checkpoint:
    """Return a checkpoint as one process restores it: with its own random state and buffers.

    Raises CheckpointError if it was saved by another number of processes, unless `reseed`: then the random state is not
    restored, and processes that the run did not have take the buffers of rank 0.
    """
    ranks = saved.values.get(RANKS, {"size": 1, "own": []})
    if ranks["size"] != world.size and not reseed:
        raise CheckpointError(
            f"this checkpoint is of {ranks['size']} process{'es' * (ranks['size'] > 1)}, and the run would have "
            f"{world.size}; give --devices {ranks['size']}, or --reseed to continue with new random numbers"
        )
    values = {name: value for name, value in saved.values.items() if name != RANKS}
    if 0 < world.rank < ranks["size"]:
        values |= ranks["own"][world.rank - 1]
    return dataclasses.replace(saved, tensors=own_tensors(saved.tensors, world.rank), values=values)


def own_tensors(tensors: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint as one process restores them."""
    prefix = f"rank/{rank}/"
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    others = {name: value for name, value in tensors.items() if not name.startswith("rank/")}
    if any(name.startswith("memory/") for name in own):  # all of them: a pool may not exist in every process
        others = {name: value for name, value in others.items() if not name.startswith("memory/")}
    return {**others, **own}


def follow(training: "Training") -> FinishReason:
    """Take the steps of a process after rank 0 until rank 0 ends the run; return the reason."""
    state, plan = training.state, training.plan
    reason, knobs = _synchronize(training)
    share = partial(own_stream, world=state.world)
    with load_ahead(training.streams.train, state.device, plan.data_processes, share) as stream:
        while reason is None:
            state.stop.is_requested = plan.interrupted()
            run_step(state, stream, knobs, state.step / plan.steps)
            if is_sync_point(training):
                reason, knobs = _synchronize(training)
    return reason


def _synchronize(training: "Training") -> tuple[FinishReason | None, Knobs]:
    """Follow the messages of rank 0 until the outcome; return it."""
    state = training.state
    while True:
        message = json.loads(state.world.share_text(""))
        match message["message"]:
            case "states":
                collect_states(state)
            case "rollback":
                state.rolled_back_images = message["rolled_back_images"]
                state.roll_back(own_tensors(state.world.share_tensors({}), state.world.rank), "the rollback")
            case _:
                reason = cast(FinishReason | None, message["reason"])
                return reason, training.pilot.knobs.with_values(message["knobs"])
