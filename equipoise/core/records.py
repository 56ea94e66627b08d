"""Results of one training step, as tensors on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """Results of the last repeat of a phase in one step: tensors on the device, all optional.

    `total` and `terms`: scalars. `gradient_norms` and `update_ratios` (|change| / |weights|): scalars by network.
    `logit_real`, `logit_fake`: (B,) outputs of the discriminator.
    """

    total: Tensor | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    gradient_norms: Mapping[str, Tensor] = field(default_factory=dict)
    update_ratios: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Results of one step, from the training step or from a custom training loop.

    `probe_train`, `probe_held_out`: logits of the discriminator, after the step, for training and for held-out data.
    `non_finite`: a 0-dim bool, whether a loss, gradient or logit was not finite. `real`, `fake`, `held_out`:
    (N, ...) samples of the same shape, to be compared with each other.
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
