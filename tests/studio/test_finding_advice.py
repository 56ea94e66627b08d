"""Advice about a finding that a change by hand precedes: it undoes that change, and never goes further with it."""

import pytest

from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.runs.log_lines import TurnRow
from equipoise.studio.diagnosis_api import advised_changes
from equipoise.studio.finding_advice import advise_after_changes

from .test_diagnosis_api import knob

OVERPOWERING = SYMPTOMS["discriminator_overpowering"].advice


def turn(name: str, before: float, after: float) -> TurnRow:
    return TurnRow(step=100, knob=name, before=before, after=after, by="manual", offset=0)


def advise(advice: str, *turns: TurnRow, held: tuple[str, ...] = (), is_running: bool = False) -> str:
    return advise_after_changes(advice, turns, held, is_running=is_running)


def test_advice_without_changes_stays() -> None:
    assert advise(OVERPOWERING) == OVERPOWERING


def test_a_held_knob_is_released_first() -> None:
    lowered = turn("lr_d", 1.51e-3, 1e-4)
    text = advise(OVERPOWERING, lowered, held=("lr_d",), is_running=True)
    assert text.startswith("first release lr_d; if the finding comes back: increase augment_p to 0.3 or more (")
    assert "reduce lr_d" not in text
    assert advise(OVERPOWERING, lowered, is_running=True).startswith("lr_d is released again: first wait")
    assert advise(OVERPOWERING, lowered, held=("lr_d",)).startswith(
        "first continue without this change by hand, or repeat the run"
    )


def test_advice_in_the_other_direction_stays() -> None:
    assert "reduce lr_d to a quarter" in advise(OVERPOWERING, turn("lr_d", 1e-3, 5e-3))
    assert "increase lr_d" in advise(SYMPTOMS["dead_discriminator"].advice, turn("lr_d", 1e-3, 1e-4))


@pytest.mark.parametrize("symptom", SYMPTOMS)
@pytest.mark.parametrize("name", ["lr_d", "lr_g", "augment_p", "r1_gamma", "discriminator_steps"])
def test_no_advice_goes_further(symptom: str, name: str) -> None:
    for change, verbs in ((1.0, ("increase", "multiply", "set", "turn on")), (-1.0, ("reduce", "halve"))):
        text = advise(SYMPTOMS[symptom].advice, turn(name, 2.0, 2.0 + change))
        assert not any(f"{verb} {name}" in text for verb in verbs), text


def test_no_button_goes_further() -> None:
    knobs = [knob("lr_g", 4e-3), knob("lr_d", 2e-3)]
    assert {change["knob"] for change in advised_changes("divergence", knobs)} == {"lr_g", "lr_d"}
    assert {change["knob"] for change in advised_changes("divergence", knobs, {"lr_d": -1e-3})} == {"lr_g"}
    assert {change["knob"] for change in advised_changes("divergence", knobs, {"lr_d": 1e-3})} == {"lr_g", "lr_d"}
