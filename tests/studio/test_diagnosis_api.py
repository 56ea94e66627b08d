"""A log that is dropped onto the page, and what advice means for the knobs of a run."""

from pathlib import Path

import pytest

from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.studio.diagnosis_api import advised_changes, describe_adjustment
from equipoise.studio.knob_states import KnobState


def knob(name: str, value: float, **changes: object) -> KnobState:
    values = {"low": 1e-6, "high": 1e-2, "off": False, "scale": "log", "manual": None, "acts": True, "frozen": False}
    return KnobState(**{"name": name, "help": "", "unit": "", "value": value, "target": value, **values, **changes})


def test_a_log_is_diagnosed(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    rows = [f"{step},{0.7 / (1 + step / 50):.4f},{0.7 + step / 20:.3f}" for step in range(0, 2000, 10)]
    log = "\n".join(["step,loss_d,loss_g", *rows, "2000,nan,nan", "2010,nan,nan"]).encode()
    answer = client.post("/api/diagnose?name=../../losses.csv", log)
    assert answer.status == 200, answer.content
    values = answer.values
    assert values["verdict"] == "diverged"
    assert values["readings"] > 100
    (finding,) = [each for each in values["findings"] if each["symptom"] == "divergence"]
    assert finding["label"] == "divergence"
    assert finding["since"] == 2000
    assert all(isinstance(text, str) for text in finding["advice"])
    assert {"action", "code"} <= finding["code"][0].keys()


def test_logs_that_cannot_be_read(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    for content, message in ((b"  ", "empty"), (b"\x00\x01\x02" * 400, "log")):
        answer = client.post("/api/diagnose?name=x.log", content)
        assert answer.status == 422
        assert message in answer.values["error"]
        assert answer.values["error"].count("\n") == 0
        assert "/tmp" not in answer.values["error"]


def test_advice_for_a_run(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    answer = client.get("/api/runs/digits/advice?symptom=discriminator_overpowering").values
    assert answer["advice"] == SYMPTOMS["discriminator_overpowering"].advice
    assert all(change["from"] != change["to"] for change in answer["changes"])
    assert client.get("/api/runs/digits/advice?symptom=nonsense").status == 422
    assert client.get("/api/runs/nowhere/advice?symptom=divergence").status == 404


def test_changes_are_those_of_the_first_rung_that_changes_something() -> None:
    ladder = SYMPTOMS["divergence"].repair.ladder
    names = {adjustment.knob for rung in ladder for adjustment in rung}
    assert {"lr_g", "lr_d"} <= names
    changes = advised_changes("divergence", [knob("lr_g", 4e-3), knob("lr_d", 2e-3), knob("other", 1e-3)])
    assert {change["knob"] for change in changes} <= {"lr_g", "lr_d"}
    assert all(change["to"] < change["from"] for change in changes)
    assert changes
    assert advised_changes("divergence", [knob("lr_g", 4e-3, frozen=True), knob("lr_d", 2e-3, acts=False)]) == []
    assert advised_changes("nonsense", [knob("lr_g", 4e-3)]) == []


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_all_adjustments_have_words(symptom: str) -> None:
    repair = SYMPTOMS[symptom].repair
    for rung in repair.ladder if repair else ():
        for adjustment in rung:
            assert describe_adjustment(adjustment)
