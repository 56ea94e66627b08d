"""The changes of a training loop that a finding recommends, with the numbers of the run: checkpoint, rates, clip."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from equipoise.core.observations import Finding
from equipoise.diagnosis.code_changes import (
    BCE_WITH_LOGITS,
    DOUBLE_LR_OF_D,
    GRADIENT_PENALTY,
    HALVE_BOTH_LRS,
    HALVE_LR_OF_G,
    KEEP_BEST,
    QUARTER_LR_OF_D,
    STOP_AT_NAN,
)
from equipoise.diagnosis.history import MetricPoint
from equipoise.diagnosis.symptom import CodeChange
from equipoise.diagnosis.symptoms import SYMPTOMS

RATE_CHANGES: Mapping[CodeChange, tuple[tuple[str, ...], float]] = {
    QUARTER_LR_OF_D: (("lr_d",), 0.25),
    DOUBLE_LR_OF_D: (("lr_d",), 2.0),
    HALVE_LR_OF_G: (("lr_g",), 0.5),
    HALVE_BOTH_LRS: (("lr_d", "lr_g"), 0.5),
}
"""Change -> the learning rates that it multiplies, and by what."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log shows of the run: the unit of its steps, the best measurement of each metric, and learning rates.

    `learning_rates`: the last ones, "lr_d" and "lr_g" of the players, "lr" of both. `first`: the first step.
    """

    unit: str = "step"
    best: Mapping[str, MetricPoint] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    first: int = -1


def recommend_changes(finding: Finding, facts: LogFacts) -> tuple[CodeChange, ...]:
    """Return the changes of a training loop for a finding, with the numbers of the run where the log shows them."""
    changes = SYMPTOMS[finding.symptom].loop_advice
    if finding.symptom == "saturated_loss":
        unsuitable = GRADIENT_PENALTY if "clipped_probability" in finding.evidence else BCE_WITH_LOGITS
        changes = tuple(change for change in changes if change is not unsuitable)
    return tuple(_adapt(change, finding, facts) for change in changes)


def _adapt(change: CodeChange, finding: Finding, facts: LogFacts) -> CodeChange:
    """Return a change with the numbers of the run; the change itself if the log has none."""
    if change in RATE_CHANGES:
        return _with_rates(change, facts)
    if change is KEEP_BEST and facts.best:
        return _load_best(finding, facts)
    if change is BCE_WITH_LOGITS and finding.evidence.get("clipped_probability"):
        clip = f"{finding.evidence['clipped_probability']:.1g}"
        action = (
            f"Compute the loss from logits: the logarithm of a probability that is clipped at {clip} has no gradient"
        )
        return dataclasses.replace(change, action=action)
    if change is STOP_AT_NAN and finding.since > 0:
        action = f"{change.action} ({facts.unit} {finding.since:,})"
        return dataclasses.replace(change, action=action)
    return change


def _with_rates(change: CodeChange, facts: LogFacts) -> CodeChange:
    """Replace the example in parentheses by the learning rates of the log."""
    names, factor = RATE_CHANGES[change]
    rates = [rate for name in names if (rate := facts.learning_rates.get(name, facts.learning_rates.get("lr")))]
    if len(rates) < len(names):
        return change
    values = ", ".join(dict.fromkeys(f"{_format_rate(rate)} -> {_format_rate(factor * rate)}" for rate in rates))
    return dataclasses.replace(change, action=re.sub(r"\(.*\)$", f"({values})", change.action))


def _format_rate(rate: float) -> str:
    """Format a learning rate as in code: 2e-4."""
    mantissa, _, exponent = f"{rate:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _load_best(finding: Finding, facts: LogFacts) -> CodeChange:
    """Return the advice to load the best checkpoint, by the metric that the finding is about or else the first one."""
    name = next((name for name in facts.best if name in finding.evidence), next(iter(facts.best)))
    best = facts.best[name]
    if best.step <= facts.first:
        action = (
            f"Start again with one of the other changes, and keep the best checkpoint: {name} was best at its first "
            f"measurement ({best.value:.4g} at {facts.unit} {best.step:,})"
        )
        return dataclasses.replace(KEEP_BEST, action=action)
    return CodeChange(
        f"Use the checkpoint nearest to {facts.unit} {best.step:,}, where {name} was best ({best.value:.4g}), and "
        "continue from it with one of the other changes",
        f'checkpoint = torch.load("checkpoint_{best.step}.pt", weights_only=True)  # the name that yours has\n'
        'g.load_state_dict(checkpoint["g"])\nd.load_state_dict(checkpoint["d"])',
    )
