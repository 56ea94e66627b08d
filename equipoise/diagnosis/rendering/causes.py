"""The likely cause of each finding, in one sentence from its evidence, or which causes a log cannot tell apart.

A finding that began while one of its causes lasted is called its consequence; otherwise its evidence decides.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from equipoise.core.observations import Finding
from equipoise.diagnosis.rendering.cause_rules import CAUSE_RULES, UNKNOWN_QUALITY, Onset

CAUSES: Mapping[str, tuple[str, ...]] = {
    "divergence": ("data_out_of_range",),
    "discriminator_overpowering": ("data_out_of_range", "divergence", "discriminator_overfitting"),
    "vanishing_generator_gradient": ("data_out_of_range", "divergence", "discriminator_overpowering"),
    "collapse": (
        *("data_out_of_range", "divergence", "discriminator_forgetting", "mode_collapse"),
        *("discriminator_overpowering", "discriminator_overfitting", "vanishing_generator_gradient", "oscillation"),
        *("generator_overpowering", "saturated_loss"),
    ),
    "never_learned": (
        *("data_out_of_range", "divergence", "generator_overpowering", "discriminator_overpowering"),
        *("saturated_loss", "dead_discriminator"),
    ),
    "saturated_loss": ("divergence", "discriminator_overpowering"),
    "mode_collapse": ("data_out_of_range", "divergence", "discriminator_overpowering", "dead_discriminator"),
    "mode_dropping": ("data_out_of_range", "divergence", "discriminator_overpowering", "mode_collapse"),
    "memorisation": ("discriminator_overfitting",),
    "dead_discriminator": ("data_out_of_range", "divergence", "discriminator_forgetting"),
    "plateau": ("collapse",),
}
"""Symptom -> symptoms of which it is a known consequence, those closest to the first cause first."""


class RunExtent(NamedTuple):
    """The first step of a log, and the planned length of the run or else the last step of the log, in `unit`s."""

    first: int
    length: int
    unit: str


def likely_cause(
    finding: Finding, others: Sequence[tuple[Finding, int | None]], run: RunExtent, *, has_metric: bool = False
) -> str:
    """Return a sentence on the likely cause of a finding, without a full stop; "" if nothing is known about it.

    `others`: the other findings of the run with the steps at which they ended, None for the end of the log.
    `run`: first and last step. `has_metric`: whether the log has a metric, so that the quality of the samples is known.
    """
    for symptom in CAUSES.get(finding.symptom, ()):
        for other, until in others:
            if other.symptom == symptom and other.since <= finding.since and (until is None or until >= finding.since):
                began = "" if symptom == "data_out_of_range" else f", which began at {run.unit} {other.since:,}"
                return f"a consequence of {symptom}{began}: correct that first"
    onset = Onset(finding.since, finding.since / max(1, run.length), run.unit, finding.since <= run.first)
    rule = CAUSE_RULES.get(finding.symptom)
    sentence = rule(finding.evidence, onset) if rule else ""
    return sentence.removesuffix(UNKNOWN_QUALITY) if has_metric else sentence
