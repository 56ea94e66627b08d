"""What a loop of one's own tells of a step, checked and put into a record."""

from collections.abc import Mapping

import torch
from torch import Tensor

from equipoise.base import PhaseRecord, StepRecord
from equipoise.errors import SettingError

Number = Tensor | float
Told = Mapping[str, Number | None]
"""By name: losses are numbers, logits tensors of any shape, samples tensors (N, ...); None for what is not told."""


def record(step: int, images: int, told: Told, gradients: Mapping[str, Mapping[str, Tensor]]) -> StepRecord:
    """The record of step number `step`, `images` reals before it. `gradients`: norms by player, as in PhaseRecord.

    Raises SettingError for what is of another kind than it should be.
    """
    tensors = {name: _tensor(name, value) for name, value in told.items() if isinstance(value, Tensor)}
    home = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
    losses = {name: _number(name, told.get(name), home) for name in ("loss_g", "loss_d")}
    logits = {name: _logits(name, told.get(name)) for name in ("logit_real", "logit_fake", "logit_held_out")}
    real, held_out = logits["logit_real"], logits["logit_held_out"]
    phases = {
        "discriminator": PhaseRecord(
            total=losses["loss_d"],
            gradient_norms=gradients.get("discriminator", {}),
            logit_real=real,
            logit_fake=logits["logit_fake"],
        ),
        "generator": PhaseRecord(total=losses["loss_g"], gradient_norms=gradients.get("generator", {})),
    }
    finite = [loss.isfinite() for loss in losses.values() if loss is not None]
    return StepRecord(
        step,
        images + (0 if real is None else len(real)),
        phases,
        probe_train=None if held_out is None else real,
        probe_held_out=held_out,
        non_finite=~torch.stack(finite).all() if finite else None,
        real=tensors.get("real"),
        fake=tensors.get("fake"),
    )


def _tensor(name: str, value: Tensor) -> Tensor:
    if value.numel() == 0:
        raise SettingError(f"{name} is an empty tensor; leave it out where there is nothing to tell")
    return value.detach()


def _number(name: str, value: Number | None, home: torch.device) -> Tensor | None:
    """A loss as a scalar on the device of what else was told."""
    if value is None:
        return None
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(())
    if isinstance(value, int | float):
        return torch.tensor(float(value), device=home)
    kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
    raise SettingError(f"{name} must be one number, not {kind}; take the mean over the batch")


def _logits(name: str, value: Number | None) -> Tensor | None:
    """Logits as they came, those of one sample as (1,)."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise SettingError(f"{name} must be a tensor of logits, one or more a sample, not {type(value).__name__}")
    return value.detach().reshape(1) if value.dim() == 0 else value.detach()
