"""The environment as it is trained in: each episode the next of its tasks, and every reward kept for the record."""

from typing import Any

import gymnasium

from equipoise.meta.environment import GanTraining, Info
from equipoise.meta.paused import Vector


class Rewarded(gymnasium.Wrapper[Vector, Vector, Vector, Vector]):
    """As what it wraps. `earned`: the reward of each decision so far."""

    def __init__(self, env: GanTraining) -> None:
        super().__init__(env)
        self.earned: list[float] = []
        self._count = len(env.instance_set)
        self._next = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, Info]:
        """Begin the next task; after the last comes the first."""
        number = self._next % self._count
        self._next += 1
        return self.env.reset(seed=seed, options={**(options or {}), "instance": number})

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, Info]:
        """One decision, its reward kept."""
        seen, earned, terminated, truncated, info = self.env.step(action)
        self.earned.append(float(earned))
        return seen, float(earned), terminated, truncated, info
