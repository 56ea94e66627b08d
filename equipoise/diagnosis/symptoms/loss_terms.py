"""The symptom of a generator that follows its discriminator alone, although its loss has another term."""

import statistics

from equipoise.diagnosis.adjustments import Adjustment
from equipoise.diagnosis.code_changes import BALANCE_TERMS
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import Detection, Repair, SeverityScale, Symptom

ADVERSARIAL_SHARE = SeverityScale(0.6, 0.95, 0.999)
"""Ratios of the two gradients of 1.5, 19 and 999. The share rises by itself as a student comes close to its teacher,
so that below 0.95 it is a hint, on which repair only resets knobs that are far from their published values. Measured
on digits of 16 pixels, in one run each: 0.05 to 0.47 from step 11 to 91 with the published weights (0.64 at step 200
of another); 0.53 to 0.74 with 30 times the adversarial weight; 0.42 to 0.69 from step 21 to 41 with 30 times the
weight of the head, whose fake score does not follow the student."""
READINGS = 5
"""Readings whose median is taken: in the first step of a student, both scores agree up to guidance, and the share does
not mean anything yet."""


def detect_adversarial_dominance(history: SignalHistory) -> Detection | None:
    """Detect an adversarial term that gives nearly all of the gradient at the generator's samples."""
    shares = history.last("adversarial_share", READINGS)
    if len(shares) < READINGS:
        return None
    share = statistics.median(shares)
    severity = ADVERSARIAL_SHARE.severity(share)
    return None if severity is None else Detection(severity, 0.7, {"adversarial_share": share})


ADVERSARIAL_DOMINANCE = Symptom(
    id="adversarial_dominance",
    order=95,
    detect=detect_adversarial_dominance,
    reads=("adversarial_share",),
    meaning="the generator follows its discriminator alone: the other term of its loss, such as what it is to learn "
    "from a teacher, has almost no part in its gradient",
    test="median of five values of `adversarial_share`; distill measures one in every fifth step",
    scales={"adversarial_share": ADVERSARIAL_SHARE},
    source="Esser 2021 (VQGAN), eq. 7, balances both gradients; the thresholds are ratios of 1.5, 19 and 999, chosen "
    "on one run of distill with its published weights and one with 30 times the adversarial weight",
    advice="reduce adversarial_weight to a tenth; if the discriminator alone is wanted, turn the other term off "
    "(matching_weight 0)",
    loop_advice=(BALANCE_TERMS,),
    repair=Repair(((Adjustment("adversarial_weight", "multiply", 0.1),),), acts_on_hints=True),
)
