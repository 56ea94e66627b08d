"""The brief's agent: a PPO policy that sets learning rate and beta1 every 50 batches of a custom loop.

The policy is the one of the controller `ppo` (controllers/ppo.py): it was trained with Stable-Baselines3 on many short
runs, and continues to learn during the run unless `learn` is false. State: epoch progress, FID, both losses. Actions: a
learning rate within 1e-4 to 3e-4, beta1 within 0.3 to 0.7. Reward: policy/reward.py, with its known weaknesses.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.brief.inputs import StateDict, finite_number
from equipoise.core import catalog
from equipoise.core.controller import AnyController, state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError
from equipoise.policy.files import load_policy
from equipoise.policy.reward import reward

EVERY = 50
"""Number of batches between two decisions."""


class Hyperparameters(NamedTuple):
    """A decision of the agent, for the optimizers of both players."""

    learning_rate: float
    beta1: float


class PPOHyperparameterOptimizer:
    """Agent that observes every batch, decides every 50 batches, and records the reward of each decision.

    `rewards`: rewards of the decisions so far.
    """

    def __init__(self, total_batches: int, *, policy: str = "ppo", learn: bool = True, seed: int = 0) -> None:
        """Create an agent for a training of `total_batches`.

        `policy`: the name of a shipped policy, or a file. `learn`: continue learning. `seed`: seed of the exploration.
        Raises SettingError for a policy that does not exist or is of another kind.
        """
        if total_batches < 1:
            raise SettingError(f"total_batches = {total_batches}: it must be at least 1")
        self.total_batches, self._digest = total_batches, load_policy(policy).digest
        options = {"policy": policy, "learn": learn, "seed": seed}
        self._controller: AnyController = catalog.build("controllers", "ppo", options)
        self._learn = learn
        self._knobs = AdversarialKnobs(lr_g=2e-4, lr_d=2e-4, beta1=0.5)
        self._initial = self._state = self._controller.initial(self._knobs)
        self._batch = 0
        self.rewards: list[float] = []

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The last decision; before the first decision 2e-4 and 0.5, the initial values of the brief."""
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
        """Record a batch; after every 50th, decide, write the decision to the optimizers and return it. Otherwise None.

        `fid`: the latest distance, lower is better. `diversity`: of fakes relative to reals, see
        :func:`calculate_diversity_score`. Raises SettingError for a loss that is missing or not finite.
        """
        batch = self._batch + 1
        when = f"batch {batch}"
        value_g, value_d = finite_number(loss_g, "loss_g", when), finite_number(loss_d, "loss_d", when)
        self._batch = batch
        if batch % EVERY:
            return None
        metrics = {} if fid is None else {"fid": MetricReading(finite_number(fid, "fid", when), 0)}
        signals = Signals(loss_g=value_g, loss_d=value_d, diversity=diversity, metrics=metrics)
        progress = min(1.0, batch / self.total_batches)
        turn = self._controller.update(self._state, Observation(batch, progress, signals, Health(), self._knobs))
        self._state, self._knobs = turn.state, self._knobs.step_towards(turn.knobs)
        if turn.reward is not None:
            self.rewards.append(turn.reward)
        _write(self.hyperparameters, optimizers)
        return self.hyperparameters

    def state_dict(self) -> dict[str, object]:
        """Return the state of the agent: numbers, strings, lists and dicts."""
        return {
            "digest": self._digest,
            "state": state_to_json(self._state),
            "knobs": self._knobs.values(),
            "batch": self._batch,
            "rewards": list(self.rewards),
        }

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state that :meth:`state_dict` returned. Raises SettingError if the policy or `learn` differ."""
        if state_dict["digest"] != self._digest:
            raise SettingError("the state belongs to another policy; create the agent with that policy")
        saved_learn = state_dict["state"].get("learning") is not None
        if saved_learn != self._learn:
            raise SettingError(f"the state belongs to an agent with learn={saved_learn}; create the agent with it")
        self._state = state_from_json(self._initial, state_dict["state"])
        self._knobs = self._knobs.with_values(state_dict["knobs"])
        self._batch, self.rewards = int(state_dict["batch"]), list(state_dict["rewards"])


def _write(decision: Hyperparameters, optimizers: tuple[Optimizer, ...]) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = decision.learning_rate
            if "betas" in group:
                group["betas"] = (decision.beta1, group["betas"][1])


def calculate_rewards(
    fid_before: float | None, fid: float | None, loss_g: float, loss_d: float, diversity: float, progress: float
) -> float:
    """Return the reward of a decision: FID improvement, loss balance and diversity, weighted by progress."""
    metrics = {} if fid is None else {"fid": MetricReading(fid, 0)}
    return reward(fid_before, Signals(loss_g=loss_g, loss_d=loss_d, diversity=diversity, metrics=metrics), progress)


def calculate_diversity_score(fake: Tensor, real: Tensor) -> float:
    """Return the pixel variance across a batch of fakes (N, ...), relative to that of reals: 1 is equal diversity.

    Noise has a high score, too: use the score only for display and for the reward of the brief.
    """
    variances = [torch.var(batch.detach().float(), dim=0, correction=0).mean().item() for batch in (fake, real)]
    return variances[0] / variances[1] if variances[1] > 0 else 0.0
