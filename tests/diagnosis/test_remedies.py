"""What is done about a finding: a pure function of findings, knobs and what was done before."""

import dataclasses
import json

import pytest

from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Finding, Health, Override, Remedy
from equipoise.diagnosis import remedies
from equipoise.diagnosis.ladders import LADDERS
from equipoise.diagnosis.remedies import (
    Care,
    Case,
    Chart,
    Given,
    far_from_published,
    prescribe,
    treated,
    with_overrides,
)
from equipoise.diagnosis.symptoms import NAMES

PUBLISHED = AdversarialKnobs()
ALL = frozenset(AdversarialKnobs.ranges())
STEPS = 1000


def case(turnable: frozenset[str] = ALL, **base: float) -> Case:
    return Case(STEPS, PUBLISHED, turnable, PUBLISHED.with_values(base))


def ailing(symptom: str = "discriminator_overpowering", severity: float = 0.9, confidence: float = 0.9) -> Health:
    return Health((Finding(symptom, severity, {"rank_train_fake": 1.0}, since=90, confidence=confidence),))


def given(mine: Case, step: int, chart: Chart | None = None, symptom: str = "mode_dropping") -> tuple[Remedy, Chart]:
    """A remedy, and the chart once its overrides act."""
    remedy, chart = prescribe(Care(), mine, chart or Chart(), ailing(symptom), mine.base, step)
    assert remedy is not None
    return remedy, with_overrides(chart, remedy.overrides)


def test_nothing_is_done_about_health_or_what_is_mild_or_unsure() -> None:
    for health in (
        Health(),
        ailing(severity=0.4),
        ailing(confidence=0.4),
        ailing("plateau"),
        ailing("equilibrium", 0.9),
    ):
        assert prescribe(Care(), case(), Chart(), health, PUBLISHED, 100) == (None, Chart())


def test_every_ladder_is_of_a_symptom_that_there_is() -> None:
    assert set(LADDERS) <= set(NAMES)


def test_rung_0_pulls_back_all_that_was_set_far_from_its_published_value() -> None:
    mine = case(lr_d=6e-3, beta1=0.9, lr_g=4e-4)
    remedy, chart = given(mine, 100)
    assert (remedy.rung, remedy.restore) == (0, True)
    assert {one.knob: one.value for one in remedy.overrides} == {"lr_d": 2e-4, "beta1": 0.5}
    acting = treated(chart, mine.base, 101)
    assert (acting.lr_d, acting.beta1, acting.lr_g) == (pytest.approx(2e-4), 0.5, 4e-4)


def test_a_run_that_never_began_gets_the_regime_on_top_of_rung_0() -> None:
    mine = case(lr_d=6e-3, beta2=0.9, discriminator_steps=5)
    remedy, chart = given(mine, 100, symptom="discriminator_overpowering")
    regime = {
        "lr_g": 2e-3,
        "lr_d": 2e-3,
        "beta1": 0.0,
        "r1_gamma": 1.0,
        "discriminator_steps": 1,
        "ema_half_life": 2000,
    }
    assert {one.knob: one.value for one in remedy.overrides} == {**regime, "beta2": 0.999}
    acting = treated(chart, mine.base, 101)
    assert (acting.lr_g, acting.lr_d) == (pytest.approx(2e-3), pytest.approx(2e-3))


def test_r1_that_is_on_already_stays_as_it_is_under_the_regime() -> None:
    remedy, _ = given(case(r1_gamma=0.1), 100, symptom="discriminator_overpowering")
    assert "r1_gamma" not in {one.knob for one in remedy.overrides}


def test_a_hint_is_enough_for_rung_0_while_there_is_little_to_lose() -> None:
    far, hint = case(lr_d=6e-3), ailing(severity=0.2)
    assert prescribe(Care(), far, Chart(), hint, far.base, 250)[0] is not None
    assert prescribe(Care(), far, Chart(), hint, far.base, 251)[0] is None
    assert prescribe(Care(), case(), Chart(), hint, PUBLISHED, 100)[0] is None, "no knob stands far"
    shrunk = ailing("vanishing_generator_gradient", severity=0.2)
    assert prescribe(Care(), far, Chart(), shrunk, far.base, 100)[0] is None, "measured by the run's own first steps"
    chart = given(far, 100)[1]
    assert prescribe(Care(), far, chart, hint, far.base, 200)[0] is None, "it was pulled back already"


def test_early_in_a_run_weights_of_the_start_are_gone_back_to() -> None:
    for symptom, step, newest in (("mode_collapse", 250, 0), ("mode_collapse", 251, 90), ("divergence", 100, 90)):
        remedy, _ = given(case(), step, symptom=symptom)
        assert remedy.newest == newest


def test_what_befell_a_discriminator_is_undone_and_nothing_turned() -> None:
    forgot = Health((Finding("discriminator_forgetting", 1.0, {}, since=300),))
    for mine in (case(), case(lr_d=6e-3)):
        remedy, _ = prescribe(Care(), mine, Chart(), forgot, mine.base, 350)
        assert remedy is not None
        assert (remedy.restore, remedy.newest, remedy.overrides) == (True, 300, ())


def test_late_what_has_been_so_since_the_start_is_no_reason_to_go_back() -> None:
    always = Health((Finding("discriminator_overpowering", 0.8, {}, since=0),))
    remedy, chart = prescribe(Care(), case(), Chart(), always, PUBLISHED, 500)
    assert remedy is not None
    assert not remedy.restore
    assert not chart.given[-1].anew
    assert prescribe(Care(change=False), case(), Chart(), always, PUBLISHED, 500)[0] is None


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
def test_what_far_means(knob: str, value: float, is_far: bool) -> None:
    assert (knob in far_from_published(case(**{knob: value}))) is is_far


def test_a_penalty_that_the_paper_has_and_the_user_turned_off_is_far() -> None:
    published = PUBLISHED.with_values({"r1_gamma": 1.0})
    assert far_from_published(Case(STEPS, published, ALL, PUBLISHED)) == {"r1_gamma": 1.0}


def test_a_schedule_goes_on_below_an_override() -> None:
    """The rate keeps its ratio, published to what the user set, while the schedule brings it down."""
    mine = case(lr_d=2e-3)
    chart = given(mine, 100)[1]
    assert treated(chart, mine.base.with_values({"lr_d": 1e-3}), 200).lr_d == pytest.approx(1e-4)


def test_an_override_expires_and_a_symptom_that_comes_back_gets_it_to_the_end() -> None:
    mine = case(lr_d=6e-3)
    remedy, chart = given(mine, 260)
    assert remedy.until == 560
    assert treated(chart, mine.base, 559).lr_d == pytest.approx(2e-4)
    assert treated(chart, mine.base, 560).lr_d == 6e-3
    again, chart = prescribe(Care(), mine, chart, ailing("mode_dropping"), mine.base, 700)
    assert again is not None
    assert (again.rung, again.until) == (0, STEPS)


def test_what_would_expire_late_or_begins_the_run_anew_acts_to_the_end() -> None:
    mine = case(lr_d=6e-3)
    assert given(mine, 100)[0].until == STEPS
    remedy, _ = prescribe(Care(), mine, Chart(), ailing(), mine.base, 400)
    assert remedy is not None
    assert remedy.until == STEPS


def test_the_ladder_is_climbed_while_the_symptom_stays_and_a_rung_that_changes_nothing_is_left_out() -> None:
    chart, rungs, step = Chart(), [], 300
    mine = case(ALL - {"lr_d", "instance_noise"})
    for _ in range(4):
        remedy, chart = given(mine, step, chart, "discriminator_overpowering")
        rungs.append((remedy.rung, {one.knob: one.value for one in remedy.overrides}))
        step += 50
    assert rungs == [
        (1, {"lr_g": 2e-3, "beta1": 0.0, "r1_gamma": 1.0, "ema_half_life": 2000}),
        (2, {"augment_p": 0.2, "r1_gamma": 4.0}),
        (4, {"real_label_low": 0.8, "fake_label_high": 0.2}),
        (5, {"generator_steps": 2}),
    ]
    assert prescribe(Care(), mine, chart, ailing(), PUBLISHED, step)[0] is None, (
        "nothing to turn, nowhere to go back to"
    )


def test_there_is_a_pause_after_a_remedy_and_a_budget_for_the_run() -> None:
    _, chart = prescribe(Care(), case(), Chart(), ailing(), PUBLISHED, 100)
    assert prescribe(Care(), case(), chart, ailing(), PUBLISHED, 349)[0] is None, "it began anew"
    assert prescribe(Care(), case(), chart, ailing(), PUBLISHED, 350)[0] is not None
    assert prescribe(Care(), case(), chart, ailing("divergence"), PUBLISHED, 101)[0] is not None
    late = given(case(), 300)[1]
    assert prescribe(Care(), case(), late, ailing(), PUBLISHED, 339)[0] is None
    assert prescribe(Care(), case(), late, ailing(), PUBLISHED, 340)[0] is not None
    spent = dataclasses.replace(chart, given=chart.given * Care().budget)
    assert prescribe(Care(), case(), spent, ailing(), PUBLISHED, 500)[0] is None


def test_what_does_not_spoil_weights_must_stay_before_anything_is_done() -> None:
    for symptom in ("discriminator_overfitting", "oscillation", "memorisation"):
        assert prescribe(Care(), case(), Chart(), ailing(symptom), PUBLISHED, 139)[0] is None, "found since step 90"
        assert prescribe(Care(), case(), Chart(), ailing(symptom), PUBLISHED, 140)[0] is not None


def test_what_does_not_spoil_weights_is_not_rolled_back() -> None:
    remedy, _ = prescribe(Care(), case(), Chart(), ailing("discriminator_overfitting"), PUBLISHED, 200)
    assert remedy is not None
    assert (remedy.restore, remedy.overrides[0].knob) == (False, "augment_p")


def test_a_rollback_reaches_a_quarter_of_the_run_but_to_the_start_for_what_is_no_number() -> None:
    for symptom, oldest in (("mode_collapse", 350), ("divergence", 0)):
        health = Health((Finding(symptom, 0.9, {}, since=400, confidence=0.9),))
        remedy, _ = prescribe(Care(), case(), Chart(), health, PUBLISHED, 600)
        assert remedy is not None
        assert (remedy.restore, remedy.oldest) == (True, oldest)


def test_no_more_is_rolled_back_once_too_many_steps_are_lost() -> None:
    remedy, _ = prescribe(Care(), case(), Chart(lost=700), ailing(), PUBLISHED, 800)
    assert remedy is not None
    assert not remedy.restore


def test_the_gravest_finding_comes_first() -> None:
    health = Health((*ailing("oscillation", 0.6).findings, *ailing("divergence", 1.0).findings))
    remedy, _ = prescribe(Care(), case(), Chart(), health, PUBLISHED, 100)
    assert remedy is not None
    assert remedy.finding.symptom == "divergence"


def test_care_without_change_only_rolls_back() -> None:
    mine = case(lr_d=6e-3)
    remedy, chart = prescribe(Care(change=False), mine, Chart(), ailing("oscillation"), mine.base, 200)
    assert remedy is not None
    assert (remedy.restore, remedy.overrides, treated(chart, mine.base, 201)) == (True, (), mine.base)


def test_a_chart_goes_through_json() -> None:
    chart = Chart((Override("lr_d", 2e-4, 2e-3, 400),), (Given(100, "divergence", 1, 400),), 50)
    assert remedies.from_plain(json.loads(json.dumps(remedies.to_plain(chart)))) == chart
