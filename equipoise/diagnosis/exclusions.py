"""Reconciliation of findings that exclude each other: of two, the stronger one stays.

A generator cannot overpower a discriminator that overpowers it; a metric that never improved has nothing to lose by a
collapse; what begins with values that are not finite follows from the divergence.
"""

from collections.abc import Sequence

from equipoise.core.observations import Finding
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.diagnosis.symptoms.data import DATA_OUT_OF_RANGE
from equipoise.diagnosis.symptoms.stability import DIVERGENCE


def reconcile(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings of a reading without those that a stronger one excludes, in the same order.

    Stronger: more severe, then more confident, then earlier in the order of symptoms. A divergence excludes all
    findings that began with it or later, apart from that of the data, which may be its cause.
    """
    remaining: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: (-finding.severity, -finding.confidence)):
        if not any(_excludes(other, finding) for other in remaining):
            remaining.append(finding)
    return tuple(finding for finding in findings if finding in remaining)


def _excludes(stronger: Finding, weaker: Finding) -> bool:
    if stronger.symptom == DIVERGENCE.id:
        return weaker.since >= stronger.since and weaker.symptom != DATA_OUT_OF_RANGE.id
    return (
        weaker.symptom in SYMPTOMS[stronger.symptom].excludes or stronger.symptom in SYMPTOMS[weaker.symptom].excludes
    )
