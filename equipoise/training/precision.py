"""Number formats of forward passes. Weights, optimizers and averages stay in float32."""

from typing import Literal, cast, get_args

import torch

from equipoise.errors import SettingError

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
NumberFormat = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(name: str, device: torch.device, mixed: bool) -> NumberFormat:
    """Resolve "auto" to the low precision that the device has matrix units for, else fp32.

    `mixed`: whether the model tolerates low precision. Raises SettingError for an unknown name.
    """
    if name not in get_args(PrecisionName):
        raise SettingError(f"there is no precision '{name}'; choose one of {', '.join(get_args(PrecisionName))}")
    if name != "auto":
        return cast(NumberFormat, name)
    if not mixed:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16"
    return "fp32"


def autocast(precision: NumberFormat, device: torch.device) -> torch.autocast:
    """Return the autocast context for forward passes; it is disabled for fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def make_scaler(precision: NumberFormat, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaler that fp16 needs; it is disabled for other formats."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
