"""Reading and writing of torch optimizers: learning rates, betas, gradients."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.core.knobs import Knobs
from equipoise.errors import SettingError
from equipoise.pilot.state import CoupledBetas, SavedOptimizerSettings

LEARNING_RATES = {"generator": "lr_g", "discriminator": "lr_d"}
BETAS = ("beta1", "beta2")

Optimizers = Mapping[str, Optimizer]
"""The optimizers of a loop, by "generator" and "discriminator"."""


def optimizer_values(optimizers: Optimizers) -> dict[str, float]:
    """Return knob -> current value, each from the first group of its optimizer; betas from the last optimizer.

    With a torch scheduler, the learning rate is the initial one, which the scheduler multiplies by its factor. Raises
    SettingError for optimizers with other names.
    """
    unknown = set(optimizers) - LEARNING_RATES.keys()
    if unknown:
        raise SettingError(f"optimizers must be named 'generator' and 'discriminator', not '{min(unknown)}'")
    values = {}
    for player, optimizer in optimizers.items():
        group = optimizer.param_groups[0]
        values[LEARNING_RATES[player]] = float(group.get("initial_lr", group["lr"]))
        values |= dict(zip(BETAS, map(float, group.get("betas", ())), strict=False))
    return values


def with_optimizer_values(knobs: Knobs, optimizers: Optimizers) -> Knobs:
    """Return knobs with the current values of the optimizers, clamped to their ranges."""
    ranges = knobs.ranges()
    return knobs.with_values({name: ranges[name].clamp(value) for name, value in optimizer_values(optimizers).items()})


def turnable_knobs(optimizers: Optimizers, turnable: frozenset[str] | None) -> frozenset[str]:
    """Return the knobs that can be changed: `turnable`, by default those of the optimizers, without those out of
    range."""
    names = optimizer_values(optimizers) if turnable is None else turnable
    return frozenset(names) - _out_of_range(optimizers)


def check_in_range(optimizers: Optimizers, names: Iterable[str]) -> None:
    """Raise SettingError for the first of `names` whose value in the optimizers is out of range."""
    values, out_of_range = optimizer_values(optimizers), _out_of_range(optimizers)
    for name in names:
        if name in out_of_range:
            raise SettingError(
                f"{name} = {values[name]:g} is outside its range: {Knobs.ranges()[name]}; "
                "set the optimizer within it, or use a controller that does not change this knob"
            )


def coupled_betas(optimizers: Optimizers) -> CoupledBetas:
    """Return the betas of every group that equal their knob and are therefore changed with it."""
    knobs = optimizer_values(optimizers)
    return {
        player: [
            [name for name, beta in zip(BETAS, group.get("betas", ()), strict=False) if beta == knobs[name]]
            for group in optimizer.param_groups
        ]
        for player, optimizer in optimizers.items()
    }


def write(optimizers: Optimizers, changes: Mapping[str, tuple[float, float]], coupled: CoupledBetas) -> None:
    """Write changed knobs (knob -> before, after) to the optimizers, and nothing else.

    The learning rate of a group that differs from the knob (a second group, a torch scheduler) keeps its ratio to it. A
    beta that differed from the knob at the start does not change.
    """
    for player, optimizer in optimizers.items():
        before, after = changes.get(LEARNING_RATES[player], (1.0, 1.0))
        new_groups: list[list[str]] = [[]] * (len(optimizer.param_groups) - len(coupled[player]))
        for group, names in zip(optimizer.param_groups, [*coupled[player], *new_groups], strict=True):
            if group["lr"] == before:
                group["lr"] = after
            else:
                group["lr"] *= after / before
            if "betas" in group:
                group["betas"] = tuple(
                    changes[name][1] if name in changes and name in names else beta
                    for name, beta in zip(BETAS, group["betas"], strict=True)
                )


def settings(optimizers: Optimizers) -> SavedOptimizerSettings:
    """Return the learning rate and betas of every group, for :func:`restore_settings`."""
    return {
        player: [(float(group["lr"]), group.get("betas")) for group in optimizer.param_groups]
        for player, optimizer in optimizers.items()
    }


def restore_settings(optimizers: Optimizers, saved: SavedOptimizerSettings) -> None:
    """Write the settings that :func:`settings` returned. Raises SettingError for optimizers with another number of
    groups."""
    for player, optimizer in optimizers.items():
        groups, settings = optimizer.param_groups, saved.get(player, ())
        if len(groups) != len(settings):
            raise SettingError(
                f"the optimizer of the {player} has {len(groups)} parameter groups, the saved state {len(settings)}; "
                "create it with the same groups"
            )
        for group, (lr, betas) in zip(groups, settings, strict=True):
            group["lr"] = lr
            if betas is not None:
                group["betas"] = tuple(betas)


def gradient_norm(optimizers: Optimizers, player: str) -> dict[str, Tensor]:
    """Return player -> Euclidean norm of its current gradient, a scalar; empty without gradients."""
    groups = optimizers[player].param_groups if player in optimizers else []
    gradients = [weight.grad for group in groups for weight in group["params"] if weight.grad is not None]
    return {player: torch.nn.utils.get_total_norm(gradients)} if gradients else {}


def _out_of_range(optimizers: Optimizers) -> frozenset[str]:
    """Return the knobs whose value in the optimizers is out of range, which cannot be changed."""
    ranges = Knobs.ranges()
    return frozenset(name for name, value in optimizer_values(optimizers).items() if not ranges[name].contains(value))
