"""The brief's schedulers: parameters of training by epoch, along a curve or by a policy that watches the game.

    scheduler.update(epoch, total_epochs, generator=…, discriminator=…, losses={"g": loss_g, "d": loss_d})
    noise_var = scheduler.get_parameters()["noise_var"]

`noise_var`: variance of Gaussian noise on images in [-1, 1]; `augmentation_strength`: 0 to 1; `regularization_weight`:
of a gradient penalty. The learning one follows the network of `learnable:brief` (controllers/learnable.py), trained
beforehand over many short runs on the distance to held-out data. Going down the gradient of the players' own losses
would teach it to blind the discriminator.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from equipoise.brief.told import Losses, device_of, gradient_norm, losses_of, progress_of
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Controller, ControllerState, Health, MetricReading, Observation, Signals
from equipoise.core.schedules import SCHEDULES
from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.files import read

Config = Mapping[str, Mapping[str, Any]]
"""Parameter -> how it is scheduled."""


class AnnealedScheduler:
    """Each parameter from `initial` to `final` along a curve of the epochs: linear, exponential or cosine."""

    def __init__(self, config: Config) -> None:
        """`config`: parameter -> {"initial": …, "final": …, "schedule": "linear" | "exponential" | "cosine"}.

        Raises SettingError for what cannot be, UnknownNameError for a key or curve that there is not.
        """
        self.config = {name: dict(one) for name, one in config.items()}
        for name, one in self.config.items():
            _check_keys(name, one, ("initial", "final"), ("schedule",))
        self._curves = {
            name: _curve(name, str(one.get("schedule", "linear")))(float(one["initial"]), float(one["final"]))
            for name, one in self.config.items()
        }
        self._progress = 0.0

    @staticmethod
    def create_default_config(schedule: Literal["linear", "exponential", "cosine"] = "cosine") -> dict[str, Any]:
        """The brief's three parameters, from its initial values down to nearly nothing: an exponential needs an end.

        >>> AnnealedScheduler.create_default_config()["noise_var"]
        {'initial': 1.0, 'final': 0.001, 'schedule': 'cosine'}
        """
        ends = {"noise_var": (1.0, 1e-3), "augmentation_strength": (0.5, 1e-2), "regularization_weight": (5.0, 0.1)}
        return {
            name: {"initial": initial, "final": final, "schedule": schedule} for name, (initial, final) in ends.items()
        }

    def update(
        self,
        epoch: int,
        total_epochs: int,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        losses: Losses | None = None,
    ) -> None:
        """Move on to an epoch, from 0. What else is told is not used; losses that are told must be numbers."""
        progress = progress_of(epoch, total_epochs)
        if losses is not None:
            losses_of(losses, epoch)
        self._progress = progress

    def get_parameters(self) -> dict[str, float]:
        """Every parameter's value; before the first update that of the first epoch."""
        return {name: curve(self._progress) for name, curve in self._curves.items()}

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, and its config."""
        return {"config": self.config, "progress": self._progress}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave. Raises SettingError if that was of another config."""
        _check_same(state_dict["config"], self.config)
        self._progress = float(state_dict["progress"])


class LearnableScheduler:
    """Each parameter within its bounds, by a meta-network that sees how the game goes.

    The network is not trained here: it adapts by what it sees. Given a `score` to `update`, such as a distance to
    held-out data, it also finds out within the run how far it is to be trusted (controllers/_adapting.py).
    """

    def __init__(
        self,
        config: Config,
        state_features: Sequence[str],
        device: str | torch.device = "cpu",
        *,
        policy: str = "brief",
    ) -> None:
        """`config`: parameter -> {"initial": …, "bounds": (low, high)}. `state_features`: what it may see of
        loss_g, loss_d, grad_norm_g, grad_norm_d; epoch_progress, its clock, it sees in any case. `device`: where the
        networks are; the policy, of a few dozen weights, runs on the CPU. `policy`: a shipped one by its name, or a
        file of `equipoise train-policy`.

        Raises UnknownNameError for a parameter, key or feature that the policy does not know, SettingError for what
        cannot be.
        """
        self.device = device_of(device)
        known = read(policy)
        self._heads = [head.name for head in known.policy.heads]
        for feature in state_features:
            if feature not in known.policy.names:
                raise UnknownNameError(f"feature of the policy '{policy}'", feature, known.policy.names)
        self.config = {name: dict(one) for name, one in config.items()}
        for name, one in self.config.items():
            if name not in self._heads:
                raise UnknownNameError(f"parameter of the policy '{policy}'", name, self._heads)
            _check_keys(name, one, ("initial", "bounds"), ())
            _check_bounds(name, one)
        self.state_features, self._digest = tuple(state_features), known.digest
        self._controller: Controller = catalog.build(
            "controllers", "learnable", {"policy": policy, "features": "brief", "adapt": True}
        )
        self._knobs = AdversarialKnobs()
        self._state: ControllerState = self._controller.initial(self._knobs)

    def update(
        self,
        epoch: int,
        total_epochs: int,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        losses: Losses | None = None,
        *,
        score: float | None = None,
    ) -> None:
        """See how the game stands in an epoch, from 0, and move. Gradients are read from the networks as they are.

        `losses`: of "g" and "d", for features that are losses. `score`: lower is better. Raises SettingError for a
        loss that is missing or not finite; nothing moves then.
        """
        progress, seen = progress_of(epoch, total_epochs), set(self.state_features)
        told = losses_of(losses, epoch) if losses is not None or seen & {"loss_g", "loss_d"} else {}
        signals = Signals(
            loss_g=told.get("g") if "loss_g" in seen else None,
            loss_d=told.get("d") if "loss_d" in seen else None,
            gradient_norm_g=gradient_norm(generator) if "grad_norm_g" in seen else None,
            gradient_norm_d=gradient_norm(discriminator) if "grad_norm_d" in seen else None,
            metrics={} if score is None else {"score": MetricReading(score, 0)},
        )
        turn = self._controller.update(self._state, Observation(epoch + 1, progress, signals, Health(), self._knobs))
        self._state, self._knobs = turn.state, self._knobs.clamped(turn.knobs)

    def get_parameters(self) -> dict[str, float]:
        """Every parameter's value, within its bounds; `initial` before the first update."""
        positions = dict(zip(self._heads, self._state["positions"], strict=True))
        return {name: _placed(one, positions[name]) for name, one in self.config.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers, its config, and the digest of its policy; numbers, strings, lists and mappings."""
        memory = json.loads(json.dumps({"state": self._state, "knobs": self._knobs.values()}))
        return {"config": self.config, "digest": self._digest, **memory}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave. Raises SettingError for another config or another policy."""
        _check_same(state_dict["config"], self.config)
        if state_dict["digest"] != self._digest:
            raise SettingError("the state is that of another policy than this scheduler follows; make it with that one")
        self._state, self._knobs = state_dict["state"], self._knobs.with_values(state_dict["knobs"])


def _placed(one: Mapping[str, Any], position: float) -> float:
    """A parameter at a position of the policy: its low bound at -1, its initial value at 0, its high bound at 1."""
    low, high = map(float, one["bounds"])
    initial = float(one["initial"])
    return initial + position * (high - initial if position > 0 else initial - low)


def _curve(name: str, schedule: str) -> Any:
    curves = ("linear", "exponential", "cosine")
    if schedule not in curves:
        raise UnknownNameError(f"schedule of '{name}'", schedule, curves)
    return SCHEDULES[schedule]


def _check_keys(name: str, one: Mapping[str, Any], needed: Sequence[str], may: Sequence[str]) -> None:
    for key in one:
        if key not in (*needed, *may):
            raise UnknownNameError(f"key of '{name}'", key, (*needed, *may))
    for key in needed:
        if key not in one:
            raise SettingError(f"'{name}' has no '{key}'; it takes {', '.join((*needed, *may))}")


def _check_bounds(name: str, one: Mapping[str, Any]) -> None:
    bounds = one["bounds"]
    if len(bounds) != 2 or not bounds[0] <= one["initial"] <= bounds[1]:
        raise SettingError(f"'{name}': initial {one['initial']} must lie within bounds (low, high), not {bounds}")


def _check_same(theirs: Config, mine: Config) -> None:
    """Bounds come back from JSON as lists."""
    if json.dumps(theirs, sort_keys=True) != json.dumps(mine, sort_keys=True):
        raise SettingError("the state is that of a scheduler with another config; make it with the same one")
