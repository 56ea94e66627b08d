"""Going back to weights that were sound: what a run has that it can go back to, and the choice among it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from equipoise.errors import CheckpointError
from equipoise.training import checkpoint
from equipoise.training.state import TrainingState


@dataclass(slots=True)
class Sound:
    """Weights to go back to: those of the start, and checkpoints that were written while the run was healthy.

    A checkpoint is gone back to once only. If the run fails from there again, an older one is taken, in the end the
    weights of the start. `start`: tensors by name, None if a run that is resumed cannot have them again.
    """

    start: Mapping[str, Tensor] | None = None
    steps: list[int] = field(default_factory=list)

    def before(self, folder: Path | None, since: int, oldest: int) -> tuple[int, Mapping[str, Tensor]] | None:
        """The step and the tensors of the newest sound weights from `oldest` to `since`; None if there are none.

        Whatever is newer than they are is sound no more. Damaged checkpoints are passed over, and those of weights
        that are no numbers: they may have been written before anybody looked.
        """
        while self.steps:
            step = self.steps.pop()
            path = folder / checkpoint.name_of(step) if folder else None
            if step < oldest:
                break
            if step > since or path is None or not path.exists():
                continue
            try:
                tensors = checkpoint.read(path).tensors
            except CheckpointError:
                continue
            if all(value.isfinite().all() for value in tensors.values() if value.is_floating_point()):
                return step, tensors
        return None if self.start is None or oldest > 0 else (0, self.start)


def start_of(state: TrainingState) -> dict[str, Tensor]:
    """The tensors of a run that has not begun, on the CPU and apart from those that are trained."""
    return {name: value.detach().to("cpu", copy=True) for name, value in state.tensors().items()}
