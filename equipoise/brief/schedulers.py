"""The brief's schedulers, which set training parameters by epoch: along a curve, or by a learned policy.

    scheduler.update(epoch, total_epochs, generator=…, discriminator=…, losses={"g": loss_g, "d": loss_d})
    noise_var = scheduler.get_parameters()["noise_var"]

`noise_var`: variance of Gaussian noise on images in [-1, 1]; `augmentation_strength`: 0 to 1; `regularization_weight`:
of a gradient penalty. The learned scheduler uses the network of `learnable:brief` (controllers/learnable.py), which was
trained on many short runs to reduce the distance to held-out data. Training it on the losses of the players would
reward a weak discriminator.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from equipoise.brief.inputs import Losses, StateDict, epoch_progress, gradient_norm, resolve_device, validate_losses
from equipoise.core import catalog
from equipoise.core.controller import AnyController, state_from_json, state_to_json
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.core.schedules import SCHEDULES
from equipoise.errors import SettingError, UnknownNameError
from equipoise.policy.files import load_policy

ParameterOptions = Mapping[str, Any]
"""Options of one parameter: `initial`, and `final` and `schedule`, or `bounds`."""
SchedulerConfig = Mapping[str, ParameterOptions]
"""Parameter -> its options."""


class AnnealedScheduler:
    """Scheduler that moves each parameter from `initial` to `final` along a linear, exponential or cosine curve."""

    def __init__(self, config: SchedulerConfig) -> None:
        """Create the scheduler.

        `config`: parameter -> {"initial": …, "final": …, "schedule": "linear" | "exponential" | "cosine"}. Raises
        SettingError for invalid values, UnknownNameError for an unknown key or curve.
        """
        self.config = {name: dict(options) for name, options in config.items()}
        for name, options in self.config.items():
            _check_keys(name, options, ("initial", "final"), ("schedule",))
        self._curves = {
            name: _curve(name, str(options.get("schedule", "linear")))(
                float(options["initial"]), float(options["final"])
            )
            for name, options in self.config.items()
        }
        self._progress = 0.0

    @staticmethod
    def create_default_config(
        schedule: Literal["linear", "exponential", "cosine"] = "cosine",
    ) -> dict[str, dict[str, object]]:
        """Return a config of the brief's three parameters, from their initial values to nearly 0.

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
        """Advance to an epoch, counted from 0. The networks are not used; losses, if given, must be finite numbers."""
        progress = epoch_progress(epoch, total_epochs)
        if losses is not None:
            validate_losses(losses, epoch)
        self._progress = progress

    def get_parameters(self) -> dict[str, float]:
        """Return the value of each parameter; before the first update, the value of the first epoch."""
        return {name: curve(self._progress) for name, curve in self._curves.items()}

    def state_dict(self) -> dict[str, object]:
        """Return the progress and the config."""
        return {"config": self.config, "progress": self._progress}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state that :meth:`state_dict` returned. Raises SettingError if it belongs to another config."""
        _check_same_config(state_dict["config"], self.config)
        self._progress = float(state_dict["progress"])


class LearnableScheduler:
    """Scheduler that sets each parameter within its bounds, by a meta-network that observes the training.

    The weights of the network do not change. With a `score` in `update`, such as a distance to held-out data, the
    scheduler learns during the run how far to follow the network (controllers/_bandit.py).
    """

    def __init__(
        self,
        config: SchedulerConfig,
        state_features: Sequence[str],
        device: str | torch.device = "cpu",
        *,
        policy: str = "brief",
    ) -> None:
        """Create the scheduler.

        `config`: parameter -> {"initial": …, "bounds": (low, high)}. `state_features`: observed features among loss_g,
        loss_d, grad_norm_g, grad_norm_d, in addition to epoch_progress. `device`: device of the networks of the GAN;
        the policy, with a few dozen weights, runs on the CPU. `policy`: the name of a shipped policy, or a file of
        `equipoise train-policy`.

        Raises UnknownNameError for a parameter, key or feature that the policy does not have, SettingError for invalid
        values.
        """
        self.device = resolve_device(device)
        loaded = load_policy(policy)
        self._heads = [head.name for head in loaded.policy.heads]
        for feature in state_features:
            if feature not in loaded.policy.feature_names:
                raise UnknownNameError("feature", feature, loaded.policy.feature_names, f"of the policy '{policy}'")
        self.config = {name: dict(options) for name, options in config.items()}
        for name, options in self.config.items():
            if name not in self._heads:
                raise UnknownNameError("parameter", name, self._heads, f"of the policy '{policy}'")
            _check_keys(name, options, ("initial", "bounds"), ())
            _check_bounds(name, options)
        self.state_features, self._digest = tuple(state_features), loaded.digest
        self._controller: AnyController = catalog.build(
            "controllers", "learnable", {"policy": policy, "features": "brief", "adapt": True}
        )
        self._knobs = AdversarialKnobs()
        self._initial = self._state = self._controller.initial(self._knobs)

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
        """Observe an epoch, counted from 0, and decide. Reads the current gradients of the networks.

        `losses`: of "g" and "d", required if a loss is a feature. `score`: lower is better. Raises SettingError for a
        loss that is missing or not finite; no parameter changes then.
        """
        progress, features = epoch_progress(epoch, total_epochs), set(self.state_features)
        has_losses = losses is not None or features & {"loss_g", "loss_d"}
        values = validate_losses(losses, epoch) if has_losses else {}
        signals = Signals(
            loss_g=values.get("g") if "loss_g" in features else None,
            loss_d=values.get("d") if "loss_d" in features else None,
            gradient_norm_g=gradient_norm(generator) if "grad_norm_g" in features else None,
            gradient_norm_d=gradient_norm(discriminator) if "grad_norm_d" in features else None,
            metrics={} if score is None else {"score": MetricReading(score, 0)},
        )
        turn = self._controller.update(self._state, Observation(epoch + 1, progress, signals, Health(), self._knobs))
        self._state, self._knobs = turn.state, self._knobs.step_towards(turn.knobs)

    def get_parameters(self) -> dict[str, float]:
        """Return the value of each parameter, within its bounds; `initial` before the first update."""
        positions = dict(zip(self._heads, self._state.positions, strict=True))
        return {name: _value_at(options, positions[name]) for name, options in self.config.items()}

    def state_dict(self) -> dict[str, object]:
        """Return the state, the config and the digest of the policy: numbers, strings, lists and dicts."""
        state, knobs = state_to_json(self._state), self._knobs.values()
        return {"config": self.config, "digest": self._digest, "state": state, "knobs": knobs}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state that :meth:`state_dict` returned. Raises SettingError if the config or the policy differ."""
        _check_same_config(state_dict["config"], self.config)
        if state_dict["digest"] != self._digest:
            raise SettingError("the state belongs to another policy; create the scheduler with that policy")
        self._state = state_from_json(self._initial, state_dict["state"])
        self._knobs = self._knobs.with_values(state_dict["knobs"])


def _value_at(options: ParameterOptions, position: float) -> float:
    """Return the value of a parameter: its low bound at position -1, its initial value at 0, its high bound at 1."""
    low, high = map(float, options["bounds"])
    initial = float(options["initial"])
    return initial + position * (high - initial if position > 0 else initial - low)


def _curve(name: str, schedule: str) -> Callable[..., Callable[[float], float]]:
    curves = ("linear", "exponential", "cosine")
    if schedule not in curves:
        raise UnknownNameError("schedule", schedule, curves, f"for '{name}'")
    return SCHEDULES[schedule]


def _check_keys(name: str, options: Mapping[str, object], needed: Sequence[str], optional: Sequence[str]) -> None:
    for key in options:
        if key not in (*needed, *optional):
            raise UnknownNameError("key", key, (*needed, *optional), f"of '{name}'")
    for key in needed:
        if key not in options:
            raise SettingError(f"'{name}' has no '{key}'; its keys are {', '.join((*needed, *optional))}")


def _check_bounds(name: str, options: ParameterOptions) -> None:
    bounds = options["bounds"]
    if len(bounds) != 2 or not bounds[0] <= options["initial"] <= bounds[1]:
        raise SettingError(f"'{name}': initial {options['initial']} must lie within bounds (low, high), not {bounds}")


def _check_same_config(saved: SchedulerConfig, config: SchedulerConfig) -> None:
    """Raise SettingError if two configs differ; compared as JSON, in which bounds are lists."""
    if json.dumps(saved, sort_keys=True) != json.dumps(config, sort_keys=True):
        raise SettingError(
            "the state belongs to a scheduler with another config; create the scheduler with that config"
        )
