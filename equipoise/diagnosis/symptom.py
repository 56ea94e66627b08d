"""The record of a symptom: its detection, its meaning, advice, and its repair."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.adjustments import Rung
from equipoise.diagnosis.history import SignalHistory

MILD = 0.2
"""Minimum severity of a finding that is a problem. Findings of severity 0 are for information."""
HINT = 0.4
"""Severity of a finding that is reported, but does not suffice for a verdict or a repair: below SERIOUS (0.5)."""


class SeverityScale(NamedTuple):
    """Values, rising or falling, at which the severity is MILD (0.2), SERIOUS (0.5) and 1; it is linear in between.

    Repair acts from `serious` on; below it a finding is a hint.
    """

    mild: float
    serious: float
    worst: float

    def severity(self, value: float) -> float | None:
        """Return the severity of a value in [0.2, 1]; None if the value does not reach `mild` or is not a number."""
        sign = 1 if self.worst > self.mild else -1
        value, mild, serious, worst = sign * value, sign * self.mild, sign * self.serious, sign * self.worst
        if not value >= mild:
            return None
        if value < serious:
            return MILD + (SERIOUS - MILD) * (value - mild) / (serious - mild)
        return min(1.0, SERIOUS + (1 - SERIOUS) * (value - serious) / (worst - serious))


@dataclass(frozen=True, slots=True)
class Detection:
    """Result of a detector: severity and confidence in [0, 1], and the numbers from which they follow.

    `since`: the step since which the evidence shows the symptom, 0 for the start of the run. None: since the first
    reading that detected it.
    """

    severity: float
    confidence: float
    evidence: Mapping[str, float]
    since: int | None = None


Detector = Callable[[SignalHistory], Detection | None]
"""A pure function of the history up to the current reading. None: the symptom is absent, or its signals are missing."""


@dataclass(frozen=True, slots=True)
class Repair:
    """How repair responds to a symptom.

    `ladder`: the rungs, mildest first; each time the symptom is detected again, the next one is applied. An empty
    ladder means rollback only. `rolls_back`: the symptom damages the weights, so they are restored from an earlier
    checkpoint first. Without it the weights are kept, and repair waits until the symptom has persisted. `is_sudden`:
    the weights were good one step before, even early in the run, so the latest checkpoint before the symptom is
    restored. `acts_on_hints`: early in a run, a mild finding suffices for resetting knobs to their published values.
    Only for symptoms that samples and logits show directly. Symptoms relative to the first steps of the run, such as a
    gradient that has shrunk, mean little so early (a healthy WGAN-GP of benchmarks/rescue.py was repaired for that
    reason). `combines_first_rung`: the first rung is applied together with this reset.
    """

    ladder: tuple[Rung, ...]
    rolls_back: bool = True
    is_sudden: bool = False
    acts_on_hints: bool = False
    combines_first_rung: bool = False


@dataclass(frozen=True, slots=True)
class CodeChange:
    """A change of a plain PyTorch training loop: what to change, from which value to which, and the code that does it.

    `action`: a sentence in the imperative, without a full stop. `code`: valid Python with the names that
    equipoise.diagnosis.code_changes describes, of one to eight lines.
    """

    action: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A kind of problem that can be detected in a run or a log.

    `order`: position among all symptoms, in findings and in tables; of two equally severe findings repair responds to
    the earlier one. Unique. `reads`: the signals that the detector uses, by their names in Signals; a log that has
    none of them cannot show the symptom. `test` and `scales`: the test in words and formulas, and the severity scale
    of each quantity in it. `source`: literature and experiments behind the test and its thresholds. `advice`: what to
    change with the knobs of this package. `loop_advice`: changes of a plain PyTorch loop: checks first, then settings,
    then changes of losses, then those that cost computing time (equipoise.diagnosis.code_changes). `repair`: None if
    repair never acts on it. `excludes`: ids of symptoms that cannot be present at the same time; of two findings that
    exclude each other the stronger one stays. It is enough if one of the two symptoms names the other.
    """

    id: str
    order: int
    detect: Detector
    reads: tuple[str, ...]
    meaning: str
    test: str
    source: str
    advice: str
    loop_advice: tuple[CodeChange, ...]
    scales: Mapping[str, SeverityScale] = field(default_factory=dict)
    repair: Repair | None = None
    excludes: tuple[str, ...] = ()
