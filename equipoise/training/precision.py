"""In which numbers the networks compute. Weights, optimizers and averages stay in float32."""

from typing import Literal, cast, get_args

import torch

from equipoise.errors import SettingError

Choice = Literal["auto", "fp32", "bf16", "fp16"]
Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(choice: str, device: torch.device, mixed: bool) -> Precision:
    """What "auto" means here: the low precision that this device has matrix units for, else fp32.

    `mixed`: whether the GAN bears low precision at all. Raises SettingError for a name that does not exist.
    """
    if choice not in get_args(Choice):
        raise SettingError(f"there is no precision '{choice}'; there is: {', '.join(get_args(Choice))}")
    if choice != "auto":
        return cast(Precision, choice)
    if not mixed:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16"
    return "fp32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which forward passes run."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """The loss scaler that fp16 needs; for the others it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
