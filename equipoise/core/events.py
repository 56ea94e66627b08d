"""What the training loop yields. The terminal prints events, a run folder keeps them, a test takes twenty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from equipoise.core.observations import Finding, Health, Override, ScalarStats, Signals, Verdict

REPAIR = "repair"
"""Who turned a knob, where it was no controller."""

FinishReason = Literal["steps", "images", "seconds", "equilibrium", "interrupted", "diverged"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `step` counts finished steps, `images` the reals seen up to then."""

    step: int
    images: int


@dataclass(frozen=True, slots=True)
class Started(Event):
    """A run begins. `parameters` counts weights by network; `knobs` is where they stand.

    `taken_over`: the share of each network's weights that stem from another run, from 0 to 1. `turnable`: the knobs
    that act for this GAN, sorted. `begins`: the step from which on it is a game; there is none if the run ends before.
    """

    steps: int
    batch_size: int
    precision: str
    parameters: Mapping[str, int]
    knobs: Mapping[str, float]
    transferred: Mapping[str, float] = field(default_factory=dict)
    turnable: tuple[str, ...] = ()
    adversarial_start: int = 0


@dataclass(frozen=True, slots=True)
class Stepped(Event):
    """A step is done. Not kept in the log: its numbers are still on the device."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Sensed(Event):
    """Numbers were read from the device. `loss` has a reading for each "phase.term" since the last time.

    `reward`: what the controller's last decision has earned, if it is paid.
    """

    progress: float
    seconds: float
    loss: Mapping[str, ScalarStats]
    signals: Signals
    health: Health
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Turned(Event):
    """A knob was turned."""

    knob: str
    before: float
    after: float
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Remedied(Event):
    """Something was done about a finding, on a `rung` of its ladder: 0 pulls knobs back to their published values.

    `restored`: the step whose weights were gone back to, None if they were kept; `lost`: the steps that this cost.
    """

    finding: Finding
    rung: int
    restored: int | None
    lost: int
    overrides: tuple[Override, ...]
    until: int


@dataclass(frozen=True, slots=True)
class Evaluated(Event):
    """A metric was measured on `count` samples of the averaged generator against held-out reals."""

    metric: str
    value: float
    better: Literal["lower", "higher"]
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """The same latents, or inputs, once more. `samples`: (N, ...) float32 in the data's range; `columns` of a grid.

    `shows`: what each group of images holds, in order, such as input, output, truth; empty where all are samples.
    `texts`: the samples as they are read; None where they are no text.
    """

    samples: npt.NDArray[np.float32]
    columns: int | None = None
    shows: tuple[str, ...] = ()
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """A checkpoint is whole on the disk. `best`: no earlier one had a better metric."""

    checkpoint: str
    best: bool


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The run goes on from a checkpoint; events of later steps that stand before this one no longer count."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The run has ended, for `reason`, with this verdict on its health."""

    reason: FinishReason
    verdict: Verdict
    seconds: float
