"""The brief's agent: PPO on learning rate and beta1, asked every 50 batches of a loop of one's own.

The policy is that of the controller `ppo` (controllers/ppo.py): trained beforehand with Stable-Baselines3 over many
short runs, and learning on within this one if it is asked to. State: epoch progress, FID, both losses. Actions: a
learning rate within 1e-4 to 3e-4, beta1 within 0.3 to 0.7. Reward: policy/reward.py, which owns up to its traps.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.brief.told import number
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Controller, ControllerState, Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.policy.files import read
from equipoise.policy.reward import reward

EVERY = 50
"""Batches between two decisions."""


class Hyperparameters(NamedTuple):
    """What the agent decides, for the optimizers of both players."""

    learning_rate: float
    beta1: float


class PPOHyperparameterOptimizer:
    """Watches every batch, decides every 50, and tells what each decision has earned."""

    def __init__(self, total_batches: int, *, policy: str = "ppo", learn: bool = True, seed: int = 0) -> None:
        """`total_batches`: of the whole training. `policy`: a shipped one by its name, or a file. `learn`: go on
        learning; `seed` is of its exploration. Raises SettingError for a policy that is not there or another kind."""
        if total_batches < 1:
            raise SettingError(f"total_batches = {total_batches}: it must be at least 1")
        self.total_batches, self._digest = total_batches, read(policy).digest
        options = {"policy": policy, "learn": learn, "seed": seed}
        self._controller: Controller = catalog.build("controllers", "ppo", options)
        self._knobs = AdversarialKnobs(lr_g=2e-4, lr_d=2e-4, beta1=0.5)
        self._state: ControllerState = self._controller.initial(self._knobs)
        self._batch = 0
        self.rewards: list[float] = []

    @property
    def hyperparameters(self) -> Hyperparameters:
        """What was decided last; 2e-4 and 0.5 before that, as the brief begins."""
        return Hyperparameters(self._knobs.lr_g, self._knobs.beta1)

    def update(
        self,
        *,
        loss_g: Tensor | float,
        loss_d: Tensor | float,
        fid: float | None = None,
        diversity: float | None = None,
        optimizers: tuple[Optimizer, ...] = (),
    ) -> Hyperparameters | None:
        """Count a batch; after every 50th decide, write it to the optimizers and give it back, else None.

        `fid`: a distance, lower is better, as new as there is. `diversity`: of fakes relative to reals, see
        :func:`calculate_diversity_score`. Raises SettingError for a loss that is missing or not finite.
        """
        batch = self._batch + 1
        when = f"batch {batch}"
        paid_g, paid_d = number(loss_g, "loss_g", when), number(loss_d, "loss_d", when)
        self._batch = batch
        if batch % EVERY:
            return None
        metrics = {} if fid is None else {"fid": MetricReading(number(fid, "fid", when), 0)}
        signals = Signals(loss_g=paid_g, loss_d=paid_d, diversity=diversity, metrics=metrics)
        progress = min(1.0, batch / self.total_batches)
        seen = Observation(batch, progress, signals, Health(), self._knobs)
        turn = self._controller.update(self._state, seen)
        self._state, self._knobs = turn.state, self._knobs.clamped(turn.knobs)
        if turn.reward is not None:
            self.rewards.append(turn.reward)
        _write(self.hyperparameters, optimizers)
        return self.hyperparameters

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers; numbers, strings, lists and mappings."""
        values = {"state": self._state, "knobs": self._knobs.values(), "batch": self._batch, "rewards": self.rewards}
        memory: dict[str, Any] = json.loads(json.dumps(values))
        return {"digest": self._digest, **memory}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave. Raises SettingError if that was of another policy or `learn`."""
        if state_dict["digest"] != self._digest:
            raise SettingError("the state is that of another policy than this agent follows; make it with that one")
        learns = "learning" in state_dict["state"]
        if learns != ("learning" in self._state):
            raise SettingError(f"the state is that of an agent with learn={learns}; make it so")
        self._state, self._knobs = state_dict["state"], self._knobs.with_values(state_dict["knobs"])
        self._batch, self.rewards = int(state_dict["batch"]), list(state_dict["rewards"])


def _write(chosen: Hyperparameters, optimizers: tuple[Optimizer, ...]) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = chosen.learning_rate
            if "betas" in group:
                group["betas"] = (chosen.beta1, group["betas"][1])


def calculate_rewards(
    fid_before: float | None, fid: float | None, loss_g: float, loss_d: float, diversity: float, progress: float
) -> float:
    """What a decision has earned: FID improvement, loss balance and diversity, by weights that move with progress."""
    metrics = {} if fid is None else {"fid": MetricReading(fid, 0)}
    return reward(fid_before, Signals(loss_g=loss_g, loss_d=loss_d, diversity=diversity, metrics=metrics), progress)


def calculate_diversity_score(fake: Tensor, real: Tensor) -> float:
    """Variance of pixels across a batch of fakes (N, ...), relative to that of reals: 1 is as various as they are.

    Noise is various, too: a score for display, and for the brief's reward.
    """
    spread = [torch.var(batch.detach().float(), dim=0, correction=0).mean().item() for batch in (fake, real)]
    return spread[0] / spread[1] if spread[1] > 0 else 0.0
