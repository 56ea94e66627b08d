"""Rollback of a custom loop: functions that save and restore it, and the selection of a snapshot.

rollback = Rollback.of(generator, discriminator, opt_g, opt_d)          # copies in memory
rollback = Rollback(save=lambda: write(path), restore=lambda path: read(path), every=1000)
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

RECENT = 2
"""Number of snapshots in addition to the one of the start."""


class Stateful(Protocol):
    """Interface of objects with a state dict, such as networks, optimizers and schedulers."""

    def state_dict(self) -> object:
        """Return the state."""

    def load_state_dict(self, state_dict: Any, /) -> object:
        """Load a state."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Functions that save and restore a loop. `every`: minimum number of steps between two snapshots.

    `save()` returns a snapshot for `restore(snapshot)`, such as copies or a path, which must not change while training
    continues. At most three snapshots exist at a time. Learning rates and betas need not be included, because the pilot
    restores them.
    """

    save: Callable[[], object]
    restore: Callable[..., object]
    every: int = 250

    @classmethod
    def of(cls, *parts: Stateful, every: int = 250) -> Self:
        """Save objects with a state dict as copies in memory, on their device."""

        def save() -> list[object]:
            return [copy.deepcopy(part.state_dict()) for part in parts]

        def restore(snapshot: list[object]) -> None:
            for part, state in zip(parts, snapshot, strict=True):
                part.load_state_dict(copy.deepcopy(state))  # an optimizer keeps the tensors themselves

        return cls(save, restore, every)


class Snapshots:
    """Snapshots of a loop: of its start, and of the latest healthy steps. Mutable.

    Each recent snapshot is restored at most once: if the run fails again, an older one follows, finally the start.
    """

    def __init__(self, rollback: Rollback, step: int = 0) -> None:
        self.rollback = rollback
        self.start = step, rollback.save()
        self.recent: list[tuple[int, object]] = []

    def save(self, step: int) -> None:
        """Save the healthy loop, unless there is a snapshot of the last `every` steps."""
        newest = self.recent[-1][0] if self.recent else self.start[0]
        if step - newest >= self.rollback.every:
            self.recent = [*self.recent, (step, self.rollback.save())][-RECENT:]

    def restore(self, newest: int, oldest: int) -> int | None:
        """Restore the newest snapshot from step `oldest` to `newest`; return its step, None if there is none.

        Newer snapshots are discarded.
        """
        while self.recent:
            step, snapshot = self.recent.pop()
            if step < oldest:
                break
            if step <= newest:
                self.rollback.restore(snapshot)
                return step
        step, snapshot = self.start
        if not oldest <= step <= newest:
            return None
        self.rollback.restore(snapshot)
        return step
