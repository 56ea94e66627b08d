"""Readings in, findings out: each symptom a pure function of what is remembered, each threshold with its source.

    history = History()
    for step, progress, signals in readings:
        health, history = diagnose(history, step, progress, signals)

A symptom whose evidence is missing says nothing. At each reading only the past is known, so a live run, its log read
again, and a log of somebody else's are judged alike.
"""

import dataclasses
from collections.abc import Mapping

from equipoise.core.observations import Finding, Health, Signals
from equipoise.diagnosis import balance, quality
from equipoise.diagnosis.collapse import collapse
from equipoise.diagnosis.forgetting import discriminator_forgetting
from equipoise.diagnosis.history import History, remember
from equipoise.diagnosis.sign import Look

SYMPTOMS: Mapping[str, Look] = {
    "discriminator_overpowering": balance.discriminator_overpowering,
    "vanishing_generator_gradient": balance.vanishing_generator_gradient,
    "collapse": collapse,
    "mode_collapse": quality.mode_collapse,
    "mode_dropping": quality.mode_dropping,
    "discriminator_overfitting": quality.discriminator_overfitting,
    "memorisation": quality.memorisation,
    "discriminator_forgetting": discriminator_forgetting,
    "dead_discriminator": balance.dead_discriminator,
    "oscillation": balance.oscillation,
    "plateau": quality.plateau,
    "equilibrium": balance.equilibrium,
}
"""All but divergence, which the reading itself tells."""
NAMES = ("divergence", *SYMPTOMS)


def diagnose(history: History, step: int, progress: float, signals: Signals) -> tuple[Health, History]:
    """All that can be found after one more reading, and the history with it in.

    `step` rises from reading to reading; `progress`: 0 to 1. A finding's `since` is the step at which it was first
    found, and has been found at every reading since, or from which the evidence says that it has been so.
    """
    history = remember(history, step, progress, signals)
    findings = [*divergence(history, step, signals)]
    for name, look in SYMPTOMS.items():
        if sign := look(history):
            since = history.since.get(name, step) if sign.since is None else sign.since
            findings.append(Finding(name, sign.severity, sign.evidence, since, sign.confidence))
    history = dataclasses.replace(history, since={finding.symptom: finding.since for finding in findings})
    return Health(tuple(findings)), history


def divergence(history: History, step: int, signals: Signals) -> tuple[Finding, ...]:
    """A loss or a gradient that is not finite: nothing that follows can be trusted."""
    if signals.non_finite == 0:
        return ()
    since = history.since.get("divergence", step)
    return (Finding("divergence", severity=1.0, evidence={"non_finite": signals.non_finite}, since=since),)
