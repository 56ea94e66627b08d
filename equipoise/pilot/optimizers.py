"""What a pilot reads from the optimizers of a loop, and writes to them: learning rates, betas, gradients."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from equipoise.core.knobs import Knobs
from equipoise.errors import SettingError

LEARNING_RATES = {"generator": "lr_g", "discriminator": "lr_d"}
BETAS = ("beta1", "beta2")

Players = Mapping[str, Optimizer]
"""The optimizers of a loop, by "generator" and "discriminator"."""
Setting = tuple[float, tuple[float, float] | None]
"""What one group of parameters is set to: its learning rate, and its betas if it has any."""

Following = Mapping[str, Sequence[Sequence[str]]]
"""By player, the betas of each group that are turned with their knob."""


def standing(optimizers: Players) -> dict[str, float]:
    """Knob -> where optimizers stand, each by its first group. Where betas differ, the last one's are the knob's.

    Where a scheduler of torch is at work, the learning rate is the one that it began from: its knob is what the
    scheduler's factor multiplies. Raises SettingError for optimizers by other names.
    """
    unknown = set(optimizers) - LEARNING_RATES.keys()
    if unknown:
        raise SettingError(f"optimizers are called 'generator' and 'discriminator', not '{min(unknown)}'")
    values = {}
    for player, optimizer in optimizers.items():
        group = optimizer.param_groups[0]
        values[LEARNING_RATES[player]] = float(group.get("initial_lr", group["lr"]))
        values |= dict(zip(BETAS, map(float, group.get("betas", ())), strict=False))
    return values


def knobs_of(optimizers: Players, knobs: Knobs) -> Knobs:
    """The same knobs, but for those that optimizers have: what they are set to, or what lies nearest to it in range."""
    ranges = knobs.ranges()
    return knobs.with_values({name: ranges[name].clamp(value) for name, value in standing(optimizers).items()})


def stuck(optimizers: Players) -> frozenset[str]:
    """The knobs of optimizers that stand out of range: they are left alone."""
    ranges = Knobs.ranges()
    return frozenset(name for name, value in standing(optimizers).items() if not ranges[name].contains(value))


def check_free(optimizers: Players, names: Iterable[str]) -> None:
    """Raise SettingError for the first of `names` of knobs that stands out of range."""
    values, left_alone = standing(optimizers), stuck(optimizers)
    for name in names:
        if name in left_alone:
            raise SettingError(
                f"{name} = {values[name]:g} is outside its range: {Knobs.ranges()[name]}; "
                "beside this optimizer it can be left alone, but not turned"
            )


def following(optimizers: Players) -> Following:
    """What of every group is turned with the knob: betas that stand where it stands. Players may differ in them."""
    knobs = standing(optimizers)
    return {
        player: [
            [name for name, beta in zip(BETAS, group.get("betas", ()), strict=False) if beta == knobs[name]]
            for group in optimizer.param_groups
        ]
        for player, optimizer in optimizers.items()
    }


def write(optimizers: Players, changes: Mapping[str, tuple[float, float]], followers: Following) -> None:
    """Hand what was turned (knob -> before, after) to the optimizers, and nothing else: what their owner does stays.

    A group whose learning rate is not that of the knob (a second group, a scheduler of torch) keeps its ratio to it,
    one whose beta was not the knob's at the start keeps its beta.
    """
    for player, optimizer in optimizers.items():
        before, after = changes.get(LEARNING_RATES[player], (1.0, 1.0))
        added: list[list[str]] = [[]] * (len(optimizer.param_groups) - len(followers[player]))  # since the start
        for group, turned in zip(optimizer.param_groups, [*followers[player], *added], strict=True):
            if group["lr"] == before:
                group["lr"] = after
            else:
                group["lr"] *= after / before
            if "betas" in group:
                pairs = zip(BETAS, group["betas"], strict=True)
                group["betas"] = tuple(
                    changes[name][1] if name in changes and name in turned else kept for name, kept in pairs
                )


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
