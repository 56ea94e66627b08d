"""The timeline of a run: findings, remedies, changes of knobs, requests, evaluations, checkpoints, resumes, samples."""

from collections.abc import Mapping, Sequence

from equipoise.core.events import MANUAL
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.errors import RunError
from equipoise.report.formatting import format_count, format_number, one_line, symptom_words
from equipoise.runs.finding_periods import FindingPeriod
from equipoise.runs.log_lines import TurnRow
from equipoise.runs.run import CHECKPOINTS_FOLDER, EventLine
from equipoise.runs.run_index import LiveRun
from equipoise.runs.run_rows import findings_of
from equipoise.studio.finding_advice import advise_after_changes
from equipoise.studio.knob_states import manual_values
from equipoise.studio.manual_changes import causes_of, describe_causes, describe_change, manual_changes

MAX_TURNS = 2000
MAX_FINDINGS = 500
"""Largest numbers that are listed: of more changes, evenly spaced ones with how many each stands for; of more periods,
the most severe."""


def read_timeline(run: LiveRun, *, is_running: bool = False) -> dict[str, object]:
    """Return the timeline as JSON values; advice depends on whether the run goes on. Raises RunError without a log."""
    log = run.log
    try:
        with log.lock:
            periods = run.findings.read()
            severe = sorted(periods, key=lambda period: -period.severity)[:MAX_FINDINGS]
            changes = manual_changes(run)
            ordered = sorted(severe, key=lambda period: period.since)
            findings = [_finding(run, period, changes, is_running) for period in ordered]
            turns = _turns(run)
    except OSError as error:
        raise RunError(f"{log.path} cannot be read: {error.strerror or error}") from error
    present = _checkpoints(run)
    return {
        "findings": findings,
        "remedies": [_remedy(line) for line in log.events("remedied")],
        "turns": turns,
        "turn_count": len(log.turns),
        "manual": [_request(line, changes) for line in log.events("requested")],
        "evaluations": [
            {key: line.get(key) for key in ("step", "metric", "value", "better")} for line in log.events("evaluated")
        ],
        "checkpoints": [
            {"step": line["step"], "best": line.get("best") is True, "present": line.get("checkpoint") in present}
            for line in log.events("saved")
        ],
        "resumes": [{"step": line["step"]} for line in log.events("resumed")],
        "samples": [line["step"] for line in log.events("sampled")],
    }


def describe_evidence(evidence: Mapping[str, object]) -> str:
    """Format the numbers that show a symptom: "rank train fake 0.98, coverage 0.1"."""
    numbers = ((name, value) for name, value in evidence.items() if isinstance(value, int | float))
    return ", ".join(f"{name} {format_number(float(value))}" for name, value in numbers)


def describe_finding(symptom: str, evidence: Mapping[str, object]) -> dict[str, object]:
    """Return label, meaning, evidence and advice of a symptom; a symptom of another version has only its name."""
    record = SYMPTOMS.get(symptom)
    numbers = describe_evidence(evidence)
    meaning = record.meaning if record else ""
    return {
        "label": symptom_words(symptom),
        "meaning": meaning,
        "evidence": f"{meaning[:1].upper()}{meaning[1:]}{f' ({numbers})' if numbers else ''}." if meaning else numbers,
        "advice": record.advice if record else "",
    }


def _finding(run: LiveRun, period: FindingPeriod, changes: list[TurnRow], is_running: bool) -> dict[str, object]:
    try:
        findings = findings_of(run.log.reading(period.row).get("health"))
    except ValueError:
        findings = []
    evidence = next((finding.evidence for finding in findings if finding.symptom == period.symptom), {})
    words, causes = describe_finding(period.symptom, evidence), causes_of(changes, period.since)
    undone, held = causes if period.severity > 0 else [], manual_values(run) if causes else {}
    return {
        "symptom": period.symptom,
        **words,
        "advice": advise_after_changes(str(words["advice"]), undone, held, is_running=is_running),
        "causes": describe_causes(changes, period.since),
        "severity": period.severity,
        "since": period.since,
        "until": None if period.is_open else period.last,
    }


def _remedy(line: EventLine) -> dict[str, object]:
    finding = line.get("finding")
    finding = finding if isinstance(finding, Mapping) else {}
    symptom, evidence = str(finding.get("symptom", "")), finding.get("evidence")
    overrides = line.get("overrides")
    items = [item for item in overrides if isinstance(item, Mapping)] if isinstance(overrides, list) else []
    held = {str(item.get("knob")): item.get("value") for item in items}
    numbers = describe_evidence(evidence) if isinstance(evidence, Mapping) else ""
    values = describe_evidence(held)
    until = line.get("until")
    end = f" until step {format_count(until)}" if values and type(until) is int else ""
    return {
        "step": line["step"],
        "symptom": symptom,
        **{key: line.get(key) for key in ("rung", "restored", "until", "lost")},
        "overrides": held,
        "why": f"{symptom_words(symptom)}{f' ({numbers})' if numbers else ''}{f': {values}' if values else ''}{end}",
    }


def _request(line: EventLine, changes: list[TurnRow]) -> dict[str, object]:
    knob, action = str(line.get("knob") or ""), str(line.get("action", ""))
    turn = next((turn for turn in changes if (turn.step, turn.knob) == (line["step"], knob)), None)
    is_turn = action == "turn" and turn is not None and turn.after == line.get("value")
    return {
        "label": describe_change(turn)
        if turn is not None and is_turn
        else _request_words(action, knob, line.get("value")),
        **{key: line.get(key) for key in ("step", "action", "value")},
        **{key: str(line.get(key) or "") for key in ("knob", "by", "refused", "request")},
        "note": str(line.get("text") or ""),
    }


def _request_words(action: str, knob: str, value: object) -> str:
    """Format a request that changed nothing, or whose effect is not in the log: "lr_d given back", "note"."""
    if action == "turn" and isinstance(value, int | float):
        return f"{one_line(knob)} → {format_number(float(value))}"
    return f"{one_line(knob)} given back to the controller" if action == "release" else f"{action} {knob}".strip()


def _turns(run: LiveRun) -> list[dict[str, object]]:
    """List the changes of knobs; of many, evenly spaced ones of each knob, and all that a person made."""
    groups = _thin(run.log.turns) if len(run.log.turns) > MAX_TURNS else [(turn, 1) for turn in run.log.turns]
    reasons = run.log.reasons([turn for turn, _ in groups])
    return [
        {
            **{"step": turn.step, "knob": turn.knob, "from": turn.before, "to": turn.after, "by": turn.by, "why": why},
            **({"count": count} if count > 1 else {}),
        }
        for (turn, count), why in zip(groups, reasons, strict=True)
    ]


def _thin(turns: Sequence[TurnRow]) -> list[tuple[TurnRow, int]]:
    """Return changes with the number of changes that each one stands for; it goes from the first to the last value."""
    by_knob: dict[str, list[TurnRow]] = {}
    result = [(turn, 1) for turn in turns if turn.by == MANUAL][:MAX_TURNS]
    for turn in turns:
        if turn.by != MANUAL:
            by_knob.setdefault(turn.knob, []).append(turn)
    for changes in by_knob.values():
        size = -(-len(changes) * len(by_knob) // MAX_TURNS)
        for start in range(0, len(changes), size):
            part = changes[start : start + size]
            result.append((part[-1]._replace(before=part[0].before), len(part)))
    return sorted(result, key=lambda item: item[0].step)


def _checkpoints(run: LiveRun) -> set[str]:
    try:
        return {path.name for path in (run.run.folder / CHECKPOINTS_FOLDER).iterdir()}
    except OSError:
        return set()
