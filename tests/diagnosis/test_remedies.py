"""Remedies: a pure function of findings, knobs, and the remedies so far."""

import dataclasses
import json

import pytest

from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, Override, Remedy
from equipoise.diagnosis.adjustments import STABLE_SETTINGS, Adjustment, adjust_knobs
from equipoise.diagnosis.remedies import (
    AppliedRemedy,
    RepairContext,
    RepairSettings,
    RepairState,
    apply_overrides,
    knobs_far_from_published,
    prescribe,
)
from equipoise.diagnosis.symptoms import SYMPTOMS, repair_of
from equipoise.models._distillation import DistillationKnobs

PUBLISHED = AdversarialKnobs()
ALL = frozenset(AdversarialKnobs.ranges())
STEPS = 1000
SETTINGS = RepairSettings()
ONLY_ROLLBACKS = RepairSettings(changes_knobs=False)
START = RepairState()


def context(turnable: frozenset[str] = ALL, **base: float) -> RepairContext:
    return RepairContext(STEPS, PUBLISHED, turnable, PUBLISHED.with_values(base))


def unhealthy(symptom: str = "discriminator_overpowering", severity: float = 0.9, confidence: float = 0.9) -> Health:
    return Health((Finding(symptom, severity, {"rank_train_fake": 1.0}, since=90, confidence=confidence),))


def apply(
    run: RepairContext, step: int, state: RepairState = START, symptom: str = "mode_dropping"
) -> tuple[Remedy, RepairState]:
    """Return a remedy, and the state with its overrides in force."""
    remedy, state = prescribe(SETTINGS, run, state, unhealthy(symptom), run.base, step)
    assert remedy is not None
    return remedy, state.with_overrides(remedy.overrides)


def values_of(remedy: Remedy) -> dict[str, float]:
    return {override.knob: override.value for override in remedy.overrides}


def test_no_remedy_without_a_serious_and_confident_finding_that_has_a_ladder() -> None:
    for health in (
        Health(),
        unhealthy(severity=0.4),
        unhealthy(confidence=0.4),
        unhealthy("plateau"),
        unhealthy("equilibrium", 0.9),
        unhealthy("unknown_symptom"),
    ):
        assert prescribe(SETTINGS, context(), START, health, PUBLISHED, 100) == (None, START)


def test_every_symptom_has_a_ladder_or_needs_no_repair() -> None:
    without = {name for name in SYMPTOMS if repair_of(name) is None}
    informative = {"data_out_of_range", "plateau", "equilibrium", "broken_metric"}
    assert without == informative | {"never_learned", "generator_overpowering", "saturated_loss"}
    knobs = AdversarialKnobs.ranges() | DistillationKnobs.ranges()
    for symptom in SYMPTOMS.values():
        rungs = symptom.repair.ladder if symptom.repair else ()
        assert all(adjustment.knob in knobs for rung in rungs for adjustment in rung)


@pytest.mark.parametrize(
    ("adjustment", "before", "after"),
    [
        (Adjustment("lr_d", "multiply", 0.25), 4e-4, 1e-4),
        (Adjustment("r1_gamma", "multiply", 4.0, start=1.0), 0.0, 1.0),
        (Adjustment("r1_gamma", "multiply", 4.0, start=1.0), 2.0, 8.0),
        (Adjustment("lr_d", "set", 2e-3), 4e-4, 2e-3),
        (Adjustment("lr_d", "set", 2e-3), 2e-6, 2e-6),
        (Adjustment("augment_p", "increase", 0.2, limit=0.6), 0.5, 0.6),
        (Adjustment("augment_p", "increase", 0.2, limit=0.6), 0.7, 0.7),
        (Adjustment("beta1", "at_most", 0.0), 0.5, 0.0),
        (Adjustment("instance_noise", "at_least", 0.1), 0.2, 0.2),
        (Adjustment("lr_d", "multiply", 1000.0), 1e-3, 1e-2),
    ],
)
def test_adjustments(adjustment: Adjustment, before: float, after: float) -> None:
    knobs = PUBLISHED.with_values({adjustment.knob: before})
    expected = {} if before == after else {adjustment.knob: pytest.approx(after)}
    assert adjust_knobs((adjustment,), knobs, ALL) == expected
    assert adjust_knobs((adjustment,), knobs, frozenset()) == {}


def test_rung_0_resets_knobs_far_from_their_published_values() -> None:
    run = context(lr_d=6e-3, beta1=0.9, lr_g=4e-4)
    remedy, state = apply(run, 100)
    assert (remedy.rung, remedy.restore) == (0, True)
    assert values_of(remedy) == {"lr_d": 2e-4, "beta1": 0.5}
    knobs = apply_overrides(state, run.base, 101)
    assert (knobs.lr_d, knobs.beta1, knobs.lr_g) == (pytest.approx(2e-4), 0.5, 4e-4)


def test_rung_0_includes_the_first_rung_for_a_run_that_never_learned() -> None:
    run = context(lr_d=6e-3, beta2=0.9, discriminator_steps=5)
    remedy, state = apply(run, 100, symptom="discriminator_overpowering")
    stable = {
        "lr_g": 2e-3,
        "lr_d": 2e-3,
        "beta1": 0.0,
        "r1_gamma": 1.0,
        "discriminator_steps": 1,
        "ema_half_life": 2000,
    }
    assert values_of(remedy) == {**stable, "beta2": 0.999}
    knobs = apply_overrides(state, run.base, 101)
    assert (knobs.lr_g, knobs.lr_d) == (pytest.approx(2e-3), pytest.approx(2e-3))


def test_first_rung_does_not_change_r1_that_is_on() -> None:
    remedy, _ = apply(context(r1_gamma=0.1), 100, symptom="discriminator_overpowering")
    assert "r1_gamma" not in values_of(remedy)


def test_hint_suffices_for_rung_0_early_in_a_run() -> None:
    far, hint = context(lr_d=6e-3), unhealthy(severity=0.2)
    assert prescribe(SETTINGS, far, START, hint, far.base, 250)[0] is not None
    assert prescribe(SETTINGS, far, START, hint, far.base, 251)[0] is None
    assert prescribe(SETTINGS, context(), START, hint, PUBLISHED, 100)[0] is None, "no knob is far"
    relative = unhealthy("vanishing_generator_gradient", severity=0.2)
    assert prescribe(SETTINGS, far, START, relative, far.base, 100)[0] is None, "relative to the run's first steps"
    _, state = apply(far, 100)
    assert prescribe(SETTINGS, far, state, hint, far.base, 200)[0] is None, "reset already"


@pytest.mark.parametrize(
    ("symptom", "step", "newest"), [("mode_collapse", 250, 0), ("mode_collapse", 251, 90), ("divergence", 100, 90)]
)
def test_early_rollback_goes_to_the_start(symptom: str, step: int, newest: int) -> None:
    assert apply(context(), step, symptom=symptom)[0].newest == newest


def test_forgetting_is_rolled_back_without_a_change_of_knobs() -> None:
    health = Health((Finding("discriminator_forgetting", 1.0, {}, since=300),))
    for run in (context(), context(lr_d=6e-3)):
        remedy, _ = prescribe(SETTINGS, run, START, health, run.base, 350)
        assert remedy is not None
        assert (remedy.restore, remedy.newest, remedy.overrides) == (True, 300, ())


def test_late_finding_since_the_start_is_not_rolled_back() -> None:
    health = Health((Finding("discriminator_overpowering", 0.8, {}, since=0),))
    remedy, state = prescribe(SETTINGS, context(), START, health, PUBLISHED, 500)
    assert remedy is not None
    assert not remedy.restore
    assert not state.applied[-1].restarted
    assert prescribe(ONLY_ROLLBACKS, context(), START, health, PUBLISHED, 500)[0] is None


@pytest.mark.parametrize(
    ("knob", "value", "is_far"),
    [
        ("lr_d", 5.9e-4, False),
        ("lr_d", 6e-4, True),
        ("lr_g", 6e-5, True),
        ("beta1", 0.75, False),
        ("beta1", 0.9, True),
        ("beta2", 0.996, False),
        ("beta2", 0.99, True),
        ("augment_p", 0.6, False),
        ("augment_p", 0.8, True),
        ("r1_gamma", 10.0, False),
        ("r1_gamma", 100.0, True),
        ("discriminator_steps", 3, False),
        ("discriminator_steps", 5, True),
    ],
)
def test_knobs_far_from_published(knob: str, value: float, is_far: bool) -> None:
    assert (knob in knobs_far_from_published(context(**{knob: value}))) is is_far


def test_published_penalty_that_the_user_turned_off_is_far() -> None:
    published = PUBLISHED.with_values({"r1_gamma": 1.0})
    assert knobs_far_from_published(RepairContext(STEPS, published, ALL, PUBLISHED)) == {"r1_gamma": 1.0}


def test_settings_for_r1_are_not_applied_without_it() -> None:
    """A learning rate at which R1 keeps a GAN stable is ten times that of a student."""
    knobs = DistillationKnobs()
    assert not adjust_knobs(STABLE_SETTINGS, knobs, frozenset(knobs.ranges()))
    assert "lr_g" in adjust_knobs(STABLE_SETTINGS, PUBLISHED, ALL)
    assert not adjust_knobs(STABLE_SETTINGS, PUBLISHED, ALL - {"r1_gamma"})


def test_term_of_the_loss_that_the_user_turned_off_stays_off() -> None:
    published = DistillationKnobs()
    base = published.with_values({"adversarial_weight": 0.0, "head_weight": 0.0, "matching_weight": 30.0})
    run = RepairContext(STEPS, published, frozenset(base.ranges()), base)
    assert knobs_far_from_published(run) == {"matching_weight": 1.0}


def test_schedule_continues_under_an_override() -> None:
    """The rate keeps the ratio of published to user value while the schedule reduces it."""
    run = context(lr_d=2e-3)
    _, state = apply(run, 100)
    assert apply_overrides(state, run.base.with_values({"lr_d": 1e-3}), 200).lr_d == pytest.approx(1e-4)


def test_override_expires_and_a_repeated_one_lasts_to_the_end() -> None:
    run = context(lr_d=6e-3)
    remedy, state = apply(run, 260)
    assert remedy.until == 560
    assert apply_overrides(state, run.base, 559).lr_d == pytest.approx(2e-4)
    assert apply_overrides(state, run.base, 560).lr_d == 6e-3
    repeated, _ = prescribe(SETTINGS, run, state, unhealthy("mode_dropping"), run.base, 700)
    assert repeated is not None
    assert (repeated.rung, repeated.until) == (0, STEPS)


def test_override_after_a_restart_or_late_in_the_run_lasts_to_the_end() -> None:
    run = context(lr_d=6e-3)
    assert apply(run, 100)[0].until == STEPS
    remedy, _ = prescribe(SETTINGS, run, START, unhealthy(), run.base, 400)
    assert remedy is not None
    assert remedy.until == STEPS


def test_ladder_is_climbed_and_rungs_without_effect_are_skipped() -> None:
    state, rungs, step = START, [], 300
    run = context(ALL - {"lr_d", "instance_noise"})
    for _ in range(4):
        remedy, state = apply(run, step, state, "discriminator_overpowering")
        rungs.append((remedy.rung, values_of(remedy)))
        step += 50
    assert rungs == [
        (1, {"lr_g": 2e-3, "beta1": 0.0, "r1_gamma": 1.0, "ema_half_life": 2000}),
        (2, {"augment_p": 0.2, "r1_gamma": 4.0}),
        (4, {"real_label_low": 0.8, "fake_label_high": 0.2}),
        (5, {"generator_steps": 2}),
    ]
    assert prescribe(SETTINGS, run, state, unhealthy(), PUBLISHED, step)[0] is None, "no rung and no rollback is left"


def test_pause_after_a_remedy_and_limited_number_of_remedies() -> None:
    _, state = prescribe(SETTINGS, context(), START, unhealthy(), PUBLISHED, 100)
    assert prescribe(SETTINGS, context(), state, unhealthy(), PUBLISHED, 349)[0] is None, "the run was restarted"
    assert prescribe(SETTINGS, context(), state, unhealthy(), PUBLISHED, 350)[0] is not None
    assert prescribe(SETTINGS, context(), state, unhealthy("divergence"), PUBLISHED, 101)[0] is not None
    _, late = apply(context(), 300)
    assert prescribe(SETTINGS, context(), late, unhealthy(), PUBLISHED, 339)[0] is None
    assert prescribe(SETTINGS, context(), late, unhealthy(), PUBLISHED, 340)[0] is not None
    exhausted = dataclasses.replace(state, applied=state.applied * SETTINGS.max_remedies)
    assert prescribe(SETTINGS, context(), exhausted, unhealthy(), PUBLISHED, 500)[0] is None


@pytest.mark.parametrize("symptom", ["discriminator_overfitting", "oscillation", "memorisation"])
def test_symptom_that_does_not_damage_weights_must_persist(symptom: str) -> None:
    health = unhealthy(symptom)
    assert prescribe(SETTINGS, context(), START, health, PUBLISHED, 139)[0] is None, "found since step 90"
    assert prescribe(SETTINGS, context(), START, health, PUBLISHED, 140)[0] is not None


def test_symptom_that_does_not_damage_weights_is_not_rolled_back() -> None:
    remedy, _ = prescribe(SETTINGS, context(), START, unhealthy("discriminator_overfitting"), PUBLISHED, 200)
    assert remedy is not None
    assert (remedy.restore, remedy.overrides[0].knob) == (False, "augment_p")


@pytest.mark.parametrize(("symptom", "oldest"), [("mode_collapse", 350), ("divergence", 0)])
def test_rollback_reaches_a_quarter_of_the_run_and_after_a_divergence_the_start(symptom: str, oldest: int) -> None:
    health = Health((Finding(symptom, 0.9, {}, since=400, confidence=0.9),))
    remedy, _ = prescribe(SETTINGS, context(), START, health, PUBLISHED, 600)
    assert remedy is not None
    assert (remedy.restore, remedy.oldest) == (True, oldest)


def test_no_rollback_once_too_many_steps_are_lost() -> None:
    remedy, _ = prescribe(SETTINGS, context(), RepairState(lost_steps=700), unhealthy(), PUBLISHED, 800)
    assert remedy is not None
    assert not remedy.restore


def test_most_severe_finding_is_repaired_first() -> None:
    health = Health((*unhealthy("oscillation", 0.6).findings, *unhealthy("divergence", 1.0).findings))
    remedy, _ = prescribe(SETTINGS, context(), START, health, PUBLISHED, 100)
    assert remedy is not None
    assert remedy.finding.symptom == "divergence"


def test_repair_without_changes_of_knobs_only_rolls_back() -> None:
    run = context(lr_d=6e-3)
    remedy, state = prescribe(ONLY_ROLLBACKS, run, START, unhealthy("oscillation"), run.base, 200)
    assert remedy is not None
    assert (remedy.restore, remedy.overrides, apply_overrides(state, run.base, 201)) == (True, (), run.base)


def test_state_survives_json() -> None:
    state = RepairState((Override("lr_d", 2e-4, 2e-3, 400),), (AppliedRemedy(100, "divergence", 1, 400),), 50)
    assert RepairState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
