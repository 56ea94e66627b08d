"""What a pilot reads from the optimizers of a loop, and writes to them: learning rates, betas, gradients."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.errors import SettingError
from equipoise.knobs import Knobs

LEARNING_RATES = {"generator": "lr_g", "discriminator": "lr_d"}

Players = Mapping[str, Optimizer]
"""The optimizers of a loop, by "generator" and "discriminator"."""
Setting = tuple[float, tuple[float, float] | None]
"""What one group of parameters is set to: its learning rate, and its betas if it has any."""


def knobs_of(optimizers: Players) -> Knobs:
    """The base of a loop of one's own: what its optimizers are set to. Raises SettingError for other names."""
    unknown = set(optimizers) - LEARNING_RATES.keys()
    if unknown:
        raise SettingError(f"optimizers are called 'generator' and 'discriminator', not '{min(unknown)}'")
    values = {}
    for player, optimizer in optimizers.items():
        group = optimizer.param_groups[0]
        values[LEARNING_RATES[player]] = float(group["lr"])
        if "betas" in group:
            values["beta1"], values["beta2"] = map(float, group["betas"])
    return Knobs().with_values(values)


def turnable(optimizers: Players) -> frozenset[str]:
    """The knobs that optimizers have."""
    betas = {"beta1", "beta2"} if any("betas" in o.param_groups[0] for o in optimizers.values()) else set()
    return frozenset({LEARNING_RATES[player] for player in optimizers} | betas)


def write(optimizers: Players, changes: Mapping[str, tuple[float, float]]) -> None:
    """Hand what was turned (knob -> before, after) to the optimizers, and nothing else: what their owner does stays.

    A group whose learning rate is not that of the knob (a second group, a scheduler of torch) keeps its ratio to it.
    """
    for player, optimizer in optimizers.items():
        before, after = changes.get(LEARNING_RATES[player], (1.0, 1.0))
        for group in optimizer.param_groups:
            if group["lr"] == before:
                group["lr"] = after
            else:
                group["lr"] *= after / before
            if "betas" in group:
                pairs = zip(("beta1", "beta2"), group["betas"], strict=True)
                group["betas"] = tuple(changes[name][1] if name in changes else kept for name, kept in pairs)


def settings(optimizers: Players) -> dict[str, list[Setting]]:
    """What every group of every optimizer is set to, to be put back."""
    return {
        player: [(float(group["lr"]), group.get("betas")) for group in optimizer.param_groups]
        for player, optimizer in optimizers.items()
    }


def put_back(optimizers: Players, kept: Mapping[str, Sequence[Setting]]) -> None:
    """What :func:`settings` gave, also by way of JSON: weights that are gone back to were trained at other rates.

    Raises SettingError for optimizers with other groups than those.
    """
    for player, optimizer in optimizers.items():
        groups, told = optimizer.param_groups, kept.get(player, ())
        if len(groups) != len(told):
            raise SettingError(
                f"the optimizer of the {player} has {len(groups)} groups of parameters, what is restored {len(told)}; "
                "make it as it was"
            )
        for group, (lr, betas) in zip(groups, told, strict=True):
            group["lr"] = lr
            if betas is not None:
                group["betas"] = tuple(betas)


def gradient_norm(optimizers: Players, player: str) -> dict[str, Tensor]:
    """The Euclidean norm of a player's gradient as it is now, by its name; nothing if it has none."""
    groups = optimizers[player].param_groups if player in optimizers else []
    gradients = [weight.grad for group in groups for weight in group["params"] if weight.grad is not None]
    return {player: torch.nn.utils.get_total_norm(gradients)} if gradients else {}
