"""Selection of the weights that a rollback loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from equipoise.errors import CheckpointError
from equipoise.training import checkpoint
from equipoise.training.state import TrainingState


@dataclass(slots=True)
class RollbackPoints:
    """Weights that a rollback can load: the initial ones, and checkpoints written while the run was healthy.

    Each checkpoint is used once. If the run fails again from there, an older one is used, and finally the initial
    weights. `initial`: tensors by name; None if a resumed run no longer has them. `steps`: steps of the checkpoints.
    """

    initial: Mapping[str, Tensor] | None = None
    steps: list[int] = field(default_factory=list)

    def take(self, folder: Path | None, newest: int, oldest: int) -> tuple[int, Mapping[str, Tensor]] | None:
        """Return step and tensors of the newest rollback point from `oldest` to `newest`; None if there is none.

        It and all newer points are removed. Checkpoints that are damaged or contain non-finite weights are skipped:
        they may have been written before the divergence was detected.
        """
        while self.steps:
            step = self.steps.pop()
            path = folder / checkpoint.folder_name(step) if folder else None
            if step < oldest:
                break
            if step > newest or path is None or not path.exists():
                continue
            try:
                tensors = checkpoint.read(path).tensors
            except CheckpointError:
                continue
            if all(value.isfinite().all() for value in tensors.values() if value.is_floating_point()):
                return step, tensors
        return None if self.initial is None or oldest > 0 else (0, self.initial)


def initial_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Return a copy of all tensors of the state, on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in state.tensors().items()}
