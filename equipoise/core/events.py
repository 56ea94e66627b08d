"""The events that the training loop yields. The terminal prints them, and the run folder stores them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from equipoise.core.observations import Better, Finding, Health, Override, ScalarStats, Signals, Verdict
from equipoise.core.requests import RequestAction
from equipoise.core.sampling_cost import SamplingCost

REPAIR = "repair"
"""`Turned.by` of changes made by repair; of other changes it is the name of the controller, or MANUAL."""
MANUAL = "manual"
"""`Turned.by` of changes made by a person during the run."""

FinishReason = Literal["steps", "images", "seconds", "equilibrium", "interrupted", "diverged"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run. `step`: finished steps. `images`: real samples seen up to now."""

    step: int
    images: int


@dataclass(frozen=True, slots=True)
class Started(Event):
    """A run started. `parameters`: number of weights per network. `knobs`: initial values.

    `transferred`: share of each network's weights that come from another run, in [0, 1]. `turnable`: names of the knobs
    that have an effect in this model, sorted. `adversarial_start`: the step at which adversarial training starts, after
    pre-training. `notes`: information for the user about the settings, such as how the steps follow from a time budget.
    `reals`: low, high, mean and deviation of the first batch of reals, if they use little of [-1, 1] or leave it.
    """

    steps: int
    batch_size: int
    precision: str
    parameters: Mapping[str, int]
    knobs: Mapping[str, float]
    transferred: Mapping[str, float] = field(default_factory=dict)
    turnable: tuple[str, ...] = ()
    adversarial_start: int = 0
    notes: tuple[str, ...] = ()
    reals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stepped(Event):
    """A step is finished, `seconds` after the start. Not stored in the log: its numbers are still on the device."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Sensed(Event):
    """Signals were read from the device and diagnosed. `loss`: statistics of each "phase.term" since the last reading.

    `progress`: share of the planned run, in [0, 1]. `seconds`: since the start. `reward`: of the controller's previous
    decision, for controllers that learn; else None. `held`: of the knobs that a person holds, the values that the
    controller would give them; not in the log while there are none.
    """

    progress: float
    seconds: float
    loss: Mapping[str, ScalarStats]
    signals: Signals
    health: Health
    reward: float | None = None
    held: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turned(Event):
    """A knob was changed. `by`: name of the controller, "repair" or "manual"; `why`: its reason."""

    knob: str
    before: float
    after: float
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Requested(Event):
    """A request of a person was taken; the changes that follow from it come next. Fields as of RunRequest.

    `request`: its id. `refused`: why it was not acted on; empty if it was.
    """

    action: RequestAction
    knob: str = ""
    value: float | None = None
    text: str = ""
    by: str = ""
    request: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Remedied(Event):
    """Repair acted on a finding. `rung`: rung of the symptom's ladder; 0 resets knobs to their published values.

    `restored`: step of the restored checkpoint, None without a rollback; `lost`: number of steps lost by it. `until`:
    step until which the overrides last.
    """

    finding: Finding
    rung: int
    restored: int | None
    lost: int
    overrides: tuple[Override, ...]
    until: int


@dataclass(frozen=True, slots=True)
class Evaluated(Event):
    """A metric was measured on `count` samples of the averaged generator against held-out reals, in `seconds`.

    `sampling`: time that the samples took of it, with `batch_size`, `device` and `threads`.
    """

    metric: str
    value: float
    better: Better
    count: int
    seconds: float
    sampling: SamplingCost | None = None


@dataclass(frozen=True, slots=True)
class Sampled(Event):
    """Samples were generated from the same latents or inputs as before.

    `samples`: (N, ...) float32 in the range of the data. `columns`: number of columns of the image grid, None for
    automatic. `shows`: roles of the images in a group, in order, such as input, output, truth; empty if all images are
    samples. `texts`: decoded samples of text data, else None.
    """

    samples: npt.NDArray[np.float32]
    columns: int | None = None
    shows: tuple[str, ...] = ()
    texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """A checkpoint was saved completely. `best`: whether no earlier one had a better metric."""

    checkpoint: str
    best: bool


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """Files were drawn that cannot be decoded, and replaced by others. `files`: path -> reason."""

    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The run was resumed from a checkpoint. Earlier events of later steps are superseded."""


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """The run ended. `reason`: the stopping rule that applied. `verdict`: on its health. `seconds`: training time."""

    reason: FinishReason
    verdict: Verdict
    seconds: float
