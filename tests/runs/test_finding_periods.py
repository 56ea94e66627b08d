import json
from pathlib import Path

from equipoise.runs.finding_periods import FindingPeriods
from equipoise.runs.live_log import LiveLog
from equipoise.runs.run import EVENTS_FILE


def line(step: int, **severities: float) -> dict[str, object]:
    findings = [
        {"symptom": name, "severity": severity, "evidence": {"rank": severity}, "since": max(0, step - 2)}
        for name, severity in severities.items()
    ]
    start = {"event": "sensed", "step": step, "images": step, "progress": 0.1, "seconds": 1.0, "loss": {}}
    return {**start, "signals": {"metrics": {}}, "health": {"findings": findings, "missing": ""}, "reward": None}


def write(path: Path, *lines: dict[str, object], mode: str = "w") -> None:
    with path.open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def test_periods(tmp_path: Path) -> None:
    path = tmp_path / EVENTS_FILE
    log = LiveLog(path)
    periods = FindingPeriods(log)
    write(path, line(1), line(10, a=0.5), line(20, a=0.9, b=0.2), line(30, a=0.6), line(40), line(50, b=0.3))
    log.refresh()
    summary = [(p.symptom, p.since, p.last, p.severity, p.row, p.is_open) for p in periods.read()]
    assert summary == [("a", 8, 30, 0.9, 2, False), ("b", 18, 20, 0.2, 2, False), ("b", 48, 50, 0.3, 5, True)]
    write(path, line(60, b=0.7), mode="a")
    log.refresh()
    assert [(p.last, p.severity, p.is_open) for p in periods.read()][-1] == (60, 0.7, True)
    write(path, line(70), {"event": "resumed", "step": 20, "images": 20}, line(25), mode="a")
    log.refresh()
    assert [(p.symptom, p.last, p.is_open) for p in periods.read()] == [("a", 20, False), ("b", 20, False)]


def test_a_finding_that_is_damaged_does_not_end_the_timeline(tmp_path: Path) -> None:
    path = tmp_path / EVENTS_FILE
    odd = {**line(10), "health": {"findings": [{"symptom": "a", "severity": "nan", "since": None}, 3]}}
    write(path, odd, line(20, a=0.5), {**line(30), "health": None})
    log = LiveLog(path)
    log.refresh()
    assert [(p.symptom, p.since, p.last, p.severity) for p in FindingPeriods(log).read()] == [("a", 10, 20, 0.5)]
