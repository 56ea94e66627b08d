"""Findings that exclude each other: the stronger one stays."""

from equipoise.core.observations import Finding, Health
from equipoise.diagnosis.exclusions import reconcile
from equipoise.diagnosis.symptoms import SYMPTOMS


def finding(symptom: str, severity: float, since: int = 0, confidence: float = 0.8) -> Finding:
    return Finding(symptom, severity, {}, since, confidence)


def remaining(*findings: Finding) -> list[str]:
    return [finding.symptom for finding in reconcile(findings)]


def test_only_one_player_overpowers_the_other() -> None:
    weak, strong = finding("generator_overpowering", 0.4), finding("discriminator_overpowering", 0.6)
    assert remaining(weak, strong) == remaining(strong, weak) == ["discriminator_overpowering"]
    assert remaining(finding("generator_overpowering", 0.9), strong) == ["generator_overpowering"]
    assert remaining(finding("generator_overpowering", 0.6, confidence=0.9), strong) == ["generator_overpowering"]


def test_findings_that_do_not_exclude_each_other_stay_in_their_order() -> None:
    both = (finding("discriminator_overpowering", 0.6), finding("saturated_loss", 0.8), finding("mode_collapse", 0.9))
    assert reconcile(both) == both
    assert reconcile(()) == ()


def test_excluded_findings_exclude_nothing() -> None:
    chain = (
        finding("equilibrium", 0.0),
        finding("discriminator_overpowering", 0.4),
        finding("generator_overpowering", 0.9),
    )
    assert remaining(*chain) == ["generator_overpowering"]
    assert remaining(chain[0], finding("mode_collapse", 0.4)) == ["equilibrium", "mode_collapse"]


def test_divergence_excludes_what_began_with_it() -> None:
    before, with_it = finding("collapse", 1.0, since=50), finding("saturated_loss", 0.8, since=100)
    divergence, data = finding("divergence", 1.0, since=100, confidence=1.0), finding("data_out_of_range", 1.0, since=0)
    assert remaining(data, divergence, before, with_it) == ["data_out_of_range", "divergence", "collapse"]
    late = finding("data_out_of_range", 1.0, since=100)
    assert remaining(late, divergence) == ["data_out_of_range", "divergence"]
    assert Health(reconcile((data, divergence))).verdict == "diverged"


def test_exclusions_name_existing_symptoms() -> None:
    for symptom in SYMPTOMS.values():
        assert set(symptom.excludes) <= set(SYMPTOMS) - {symptom.id}
