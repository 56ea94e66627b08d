"""Readings of a run for its diagnosis: a rollback starts a new history, as in the live run."""

import json
from pathlib import Path

import pytest

from equipoise.core.observations import Finding, Health
from equipoise.diagnosis.diagnose import diagnose_run
from equipoise.runs.observations import parse_health, read_rollbacks, read_signals
from equipoise.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose discriminator overfits until step 50, where it is rolled back."""
    lines: list[dict[str, object]] = []
    for step in range(10, 101, 10):
        signals = {"rank_train_held_out": 0.9 if step <= 50 else 0.0}
        lines.append({"event": "sensed", "step": step, "progress": step / 100, "signals": signals})
        if step in (30, 50):
            restored = 30 if step == 50 else None
            lines.append({"event": "remedied", "step": step, "restored": restored, "overrides": []})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "experiment.json").write_text("{}")
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(folder)


def test_only_rollbacks_start_a_new_history(run: Run) -> None:
    assert read_rollbacks(run) == {50}, "the remedy at 30 changed knobs only"


def test_diagnosis_of_a_run_starts_a_new_history_at_a_rollback(run: Run) -> None:
    """The symptom is a mean of four readings: without a new history it would last for two more."""
    readings = list(read_signals(run))
    (restarted,) = diagnose_run(readings, restarts=read_rollbacks(run)).episodes
    (continued,) = diagnose_run(readings).episodes
    assert restarted.finding.symptom == continued.finding.symptom == "discriminator_overfitting"
    assert (restarted.until, continued.until) == (50, 70)


def test_health_of_earlier_versions_has_nothing_missing() -> None:
    finding = {"symptom": "plateau", "severity": 0.2, "evidence": {}, "since": 3, "confidence": 0.6}
    expected = Finding("plateau", 0.2, {}, 3, 0.6)
    assert parse_health({"findings": [finding]}) == Health((expected,))
    assert parse_health({"findings": [], "missing": "a metric"}).verdict == "unknown"
