"""Validation of the values that a custom loop passes for one step, and their conversion to a StepRecord."""

from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.errors import SettingError

Number = Tensor | float
StepValues = Mapping[str, Number | None]
"""Name -> value: losses are numbers, logits tensors of any shape, samples tensors (N, ...); None if not passed."""

GradientNorms = Mapping[str, Mapping[str, Tensor]]
"""Player -> gradient norms, as in PhaseRecord."""


def step_record(step: int, images: int, values: StepValues, gradients: GradientNorms) -> StepRecord:
    """Build the record of step number `step`, with `images` reals seen before it.

    Raises SettingError for a value of the wrong kind.
    """
    device = _device_of(values, gradients)
    norms = {player: {name: norm.to(device) for name, norm in by_name.items()} for player, by_name in gradients.items()}
    losses = {name: _loss(name, values.get(name), device) for name in ("loss_g", "loss_d")}
    logits = {name: _logits(name, values.get(name), device) for name in ("logit_real", "logit_fake", "logit_held_out")}
    real, held_out = logits["logit_real"], logits["logit_held_out"]
    phases = {
        "discriminator": PhaseRecord(
            total=losses["loss_d"],
            gradient_norms=norms.get("discriminator", {}),
            logit_real=real,
            logit_fake=logits["logit_fake"],
        ),
        "generator": PhaseRecord(losses["loss_g"], _shares(values, device), norms.get("generator", {})),
    }
    # Gradients are not checked: overflows in fp16 are common, and a GradScaler skips them.
    finite = [value.isfinite().all() for value in (*losses.values(), *logits.values()) if value is not None]
    return StepRecord(
        step,
        images + (0 if real is None else len(real)),
        phases,
        probe_train=None if held_out is None else real,
        probe_held_out=held_out,
        non_finite=~torch.stack(finite).all() if finite else None,
        real=_samples("real", values.get("real")),
        fake=_samples("fake", values.get("fake")),
    )


def _shares(values: StepValues, device: torch.device) -> dict[str, Tensor]:
    """Return the share of the adversarial gradient, if it was passed."""
    share = _loss("adversarial_share", values.get("adversarial_share"), device)
    return {} if share is None else {"adversarial_share": share}


def _device_of(values: StepValues, gradients: GradientNorms) -> torch.device:
    """Return the device for the statistics: that of the gradients, otherwise that of the first tensor."""
    tensors = [norm for norms in gradients.values() for norm in norms.values()]
    tensors += [value for value in values.values() if isinstance(value, Tensor)]
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _loss(name: str, value: Number | None, device: torch.device) -> Tensor | None:
    """Convert a loss, or a share, to a scalar tensor."""
    if value is None:
        return None
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(()).to(device)
    if isinstance(value, Real):
        return torch.tensor(float(value), device=device)
    raise SettingError(f"{name} must be one number, not {_describe(value)}; take the mean over the batch")


def _logits(name: str, value: Number | None, device: torch.device) -> Tensor | None:
    """Return logits in their own shape; a scalar becomes (1,)."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise SettingError(f"{name} must be a tensor of logits, one or more per sample, not {_describe(value)}")
    value = _not_empty(name, value).to(device)
    return value.reshape(1) if value.dim() == 0 else value


def _samples(name: str, value: Number | None) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dim() == 0:
        raise SettingError(f"{name} must be a tensor of samples (N, ...), not {_describe(value)}")
    return _not_empty(name, value)


def _not_empty(name: str, value: Tensor) -> Tensor:
    if value.numel() == 0:
        raise SettingError(f"{name} is an empty tensor; omit it in steps without values")
    return value.detach()


def _describe(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
