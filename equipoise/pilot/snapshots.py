"""Going back in a loop of one's own: what it keeps of itself while it is healthy, and the choice among it.

rollback = Rollback.of(generator, discriminator, opt_g, opt_d)          # copies in memory
rollback = Rollback(save=lambda: write(path), restore=lambda path: read(path), every=1000)
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

KEPT = 2
"""Snapshots kept beside that of the start."""


class Stateful(Protocol):
    """A network, an optimizer, a scheduler: whatever can say and take back what it holds."""

    def state_dict(self) -> Any:
        """What it holds."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Hold this."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """How a loop is kept and put back. `every`: healthy steps between two snapshots.

    `save()` gives back whatever `restore(kept)` needs: copies, a path. It must not change when training goes on.
    Three are kept at a time. Learning rates and betas need not be among it: they stay where they are turned to.
    """

    save: Callable[[], Any]
    restore: Callable[[Any], None]
    every: int = 250

    @classmethod
    def of(cls, *parts: Stateful, every: int = 250) -> Self:
        """Of networks, optimizers and the like, by copies in memory, on the device where they are."""

        def save() -> list[Any]:
            return [copy.deepcopy(part.state_dict()) for part in parts]

        def restore(kept: list[Any]) -> None:
            for part, state in zip(parts, kept, strict=True):
                part.load_state_dict(copy.deepcopy(state))  # an optimizer takes the tensors themselves

        return cls(save, restore, every)


class Snapshots:
    """What a loop can go back to: how it was at the start, and the last times that it was healthy. Mutable.

    One is gone back to once only: if the run fails from there again, an older one is taken, in the end the start.
    """

    def __init__(self, rollback: Rollback, step: int = 0) -> None:
        self.rollback = rollback
        self.start = step, rollback.save()
        self.kept: list[tuple[int, Any]] = []

    def keep(self, step: int) -> None:
        """The loop is healthy: keep it, if it was not kept of late."""
        newest = self.kept[-1][0] if self.kept else self.start[0]
        if step - newest >= self.rollback.every:
            self.kept = [*self.kept, (step, self.rollback.save())][-KEPT:]

    def go_back(self, since: int, oldest: int) -> int | None:
        """Put back the newest from `oldest` to `since`: its step, None if there is none. What is newer is dropped."""
        while self.kept:
            step, kept = self.kept.pop()
            if step < oldest:
                break
            if step <= since:
                self.rollback.restore(kept)
                return step
        step, kept = self.start
        if not oldest <= step <= since:
            return None
        self.rollback.restore(kept)
        return step
