"""What a loop of one's own tells of a step, checked and put into a record."""

from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from equipoise.core.records import PhaseRecord, StepRecord
from equipoise.errors import SettingError

Number = Tensor | float
Told = Mapping[str, Number | None]
"""By name: losses are numbers, logits tensors of any shape, samples tensors (N, ...); None for what is not told."""

Gradients = Mapping[str, Mapping[str, Tensor]]
"""Norms by player, as in PhaseRecord."""


def record(step: int, images: int, told: Told, gradients: Gradients) -> StepRecord:
    """The record of step number `step`, `images` reals before it.

    Raises SettingError for what is of another kind than it should be.
    """
    home = _home(told, gradients)
    norms = {player: {name: norm.to(home) for name, norm in one.items()} for player, one in gradients.items()}
    losses = {name: _number(name, told.get(name), home) for name in ("loss_g", "loss_d")}
    logits = {name: _logits(name, told.get(name), home) for name in ("logit_real", "logit_fake", "logit_held_out")}
    real, held_out = logits["logit_real"], logits["logit_held_out"]
    phases = {
        "discriminator": PhaseRecord(
            total=losses["loss_d"],
            gradient_norms=norms.get("discriminator", {}),
            logit_real=real,
            logit_fake=logits["logit_fake"],
        ),
        "generator": PhaseRecord(total=losses["loss_g"], gradient_norms=norms.get("generator", {})),
    }
    # Not gradients: those that overflow in fp16 are met as a matter of course, and skipped by a GradScaler.
    finite = [value.isfinite().all() for value in (*losses.values(), *logits.values()) if value is not None]
    return StepRecord(
        step,
        images + (0 if real is None else len(real)),
        phases,
        probe_train=None if held_out is None else real,
        probe_held_out=held_out,
        non_finite=~torch.stack(finite).all() if finite else None,
        real=_samples("real", told.get("real")),
        fake=_samples("fake", told.get("fake")),
    )


def _home(told: Told, gradients: Gradients) -> torch.device:
    """Where all numbers of a step are gathered: by the gradients, else by what is told first as a tensor."""
    tensors = [norm for norms in gradients.values() for norm in norms.values()]
    tensors += [value for value in told.values() if isinstance(value, Tensor)]
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _number(name: str, value: Number | None, home: torch.device) -> Tensor | None:
    """A loss as a scalar."""
    if value is None:
        return None
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(()).to(home)
    if isinstance(value, Real):
        return torch.tensor(float(value), device=home)
    raise SettingError(f"{name} must be one number, not {_kind(value)}; take the mean over the batch")


def _logits(name: str, value: Number | None, home: torch.device) -> Tensor | None:
    """Logits as they came, those of one sample as (1,)."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise SettingError(f"{name} must be a tensor of logits, one or more a sample, not {_kind(value)}")
    value = _filled(name, value).to(home)
    return value.reshape(1) if value.dim() == 0 else value


def _samples(name: str, value: Number | None) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dim() == 0:
        raise SettingError(f"{name} must be a tensor of samples (N, ...), not {_kind(value)}")
    return _filled(name, value)


def _filled(name: str, value: Tensor) -> Tensor:
    if value.numel() == 0:
        raise SettingError(f"{name} is an empty tensor; leave it out where there is nothing to tell")
    return value.detach()


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
