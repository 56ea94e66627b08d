"""What one training step did, as tensors on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """What the last repeat of one phase did in a step: tensors on the device, all optional.

    `total` and `terms`: scalars. `gradient_norms` and `update_ratios` (|change| / |weights|): scalars by network.
    `logit_real`, `logit_fake`: (B,) what the discriminator said.
    """

    total: Tensor | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    gradient_norms: Mapping[str, Tensor] = field(default_factory=dict)
    update_ratios: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step did: made by the training step, or by a loop of one's own.

    `probe_train`, `probe_held_out`: logits of the discriminator, after the step, on reals that it trains on and on
    reals that it does not. `non_finite`: a 0-dim bool, whether a loss, a gradient or a logit was not finite. `real`,
    `fake`, `held_out`: (N, ...) samples of the same shape, to be compared now and then.
    """

    step: int
    images: int
    phases: Mapping[str, PhaseRecord] = field(default_factory=dict)
    probe_train: Tensor | None = None
    probe_held_out: Tensor | None = None
    non_finite: Tensor | None = None
    real: Tensor | None = None
    fake: Tensor | None = None
    held_out: Tensor | None = None
