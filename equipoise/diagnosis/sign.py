"""What a look at a run says of one symptom, before it is known since when."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.history import History

MILD = 0.2
"""The severity at which a symptom begins to be told."""


@dataclass(frozen=True, slots=True)
class Sign:
    """How severe and how sure, each 0 to 1, and by what evidence.

    `since`: the step from which it has been so, if the evidence says it; 0 for since the run began. None: since it was
    first found.
    """

    severity: float
    confidence: float
    evidence: Mapping[str, float]
    since: int | None = None


Look = Callable[[History], Sign | None]
"""A symptom: a pure function of what is remembered, the last reading included. None: no such thing is seen."""


def graded(value: float, mild: float, serious: float, worst: float) -> float | None:
    """Severity on two straight lines: MILD at `mild`, SERIOUS at `serious`, 1 at `worst`; None short of `mild`.

    The three rise or fall together. A value that is no number is short of everything.
    """
    sign = 1 if worst > mild else -1
    value, mild, serious, worst = sign * value, sign * mild, sign * serious, sign * worst
    if not value >= mild:
        return None
    if value < serious:
        return MILD + (SERIOUS - MILD) * (value - mild) / (serious - mild)
    return min(1.0, SERIOUS + (1 - SERIOUS) * (value - serious) / (worst - serious))
