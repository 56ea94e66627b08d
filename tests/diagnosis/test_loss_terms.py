"""A generator that follows its discriminator alone: found by the share of its gradient, repaired by one weight."""

import pytest

from equipoise.core.observations import SERIOUS, Health, Signals
from equipoise.diagnosis.diagnose import diagnose
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.remedies import RepairContext, RepairSettings, RepairState, apply_overrides, prescribe
from equipoise.models._distillation import DistillationKnobs

PUBLISHED = DistillationKnobs()
STEPS = 1000
LENGTH = 20


def health_after(share: float | None, readings: int = LENGTH) -> Health:
    """Return the health after readings with one share, ten steps apart."""
    history, health = SignalHistory(), Health()
    for index in range(1, readings + 1):
        step = 10 * index
        health, history = diagnose(history, step, step / STEPS, Signals(adversarial_share=share))
    return health


def context(**base: float) -> RepairContext:
    return RepairContext(STEPS, PUBLISHED, frozenset(DistillationKnobs.ranges()), PUBLISHED.with_values(base))


@pytest.mark.parametrize(
    ("share", "severity"), [(None, None), (0.3, None), (0.59, None), (0.6, 0.2), (0.95, 0.5), (1.0, 1.0)]
)
def test_severity_follows_the_share(share: float | None, severity: float | None) -> None:
    findings = {finding.symptom: finding for finding in health_after(share).findings}
    if severity is None:
        assert "adversarial_dominance" not in findings
    else:
        finding = findings["adversarial_dominance"]
        assert finding.severity == pytest.approx(severity, abs=1e-6)
        assert finding.evidence == {"adversarial_share": pytest.approx(share)}


def test_four_readings_are_too_few() -> None:
    assert health_after(0.99, readings=4).findings == ()
    assert len(health_after(0.99, readings=5).findings) == 1


def test_misset_weight_is_reset_early_on_a_hint() -> None:
    """30 times the published weight at a share of 0.7: a restart with the published weight, to the end of the run."""
    run, health = context(adversarial_weight=30 * PUBLISHED.adversarial_weight), health_after(0.7)
    assert max(finding.severity for finding in health.findings) < SERIOUS
    remedy, state = prescribe(RepairSettings(), run, RepairState(), health, run.base, 10 * LENGTH)
    assert remedy is not None
    assert (remedy.rung, remedy.restore, remedy.newest, remedy.until) == (0, True, 0, STEPS)
    knobs = apply_overrides(state.with_overrides(remedy.overrides), run.base, 10 * LENGTH + 1)
    assert knobs.values() == pytest.approx(PUBLISHED.values())


def test_published_weight_is_not_changed_on_a_hint() -> None:
    """The share rises by itself as a student comes close to its teacher."""
    run, health = context(), health_after(0.9)
    assert prescribe(RepairSettings(), run, RepairState(), health, run.base, 10 * LENGTH)[0] is None


def test_published_weight_is_reduced_where_the_other_term_has_no_part() -> None:
    run, health = context(), health_after(0.999)
    remedy, _ = prescribe(RepairSettings(), run, RepairState(), health, run.base, 10 * LENGTH)
    assert remedy is not None
    changes = {override.knob: override.value for override in remedy.overrides}
    assert changes == {"adversarial_weight": pytest.approx(PUBLISHED.adversarial_weight / 10)}
