"""Routes of diagnosis: a log of any trainer, and what the advice of a finding means for the knobs of a run.

A log is read in a process of its own, `equipoise diagnose`, which ends if it takes too long.
"""

import asyncio
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from equipoise.core.printing import format_count
from equipoise.diagnosis.adjustments import Adjustment, adjusted_value
from equipoise.diagnosis.symptoms import SYMPTOMS, repair_of
from equipoise.errors import DataError, UnknownNameError
from equipoise.studio.finding_advice import turned_by
from equipoise.studio.knob_states import KnobState, knob_states
from equipoise.studio.manual_changes import causes_of, manual_changes
from equipoise.studio.responses import int_parameter, json_response
from equipoise.studio.studio import Studio

MAX_SECONDS = 120.0
NICENESS = 10
MAX_STEPS = 2**53
SUFFIX = re.compile(r"(\.[a-z0-9]{1,10}){1,2}")
EVENT_FILES = "tfevents"

JsonTable = Mapping[str, object]


def routes(studio: Studio) -> list[Route]:
    """Return the routes of diagnosis."""

    async def diagnose(request: Request) -> Response:
        content = await request.body()
        if not content.strip():
            raise DataError("the log is empty; drop a file with the losses of a training")
        return json_response(await diagnose_log(studio.command, content, request.query_params.get("name", "")))

    def show_advice(request: Request) -> Response:
        run, symptom = studio.runs.open(request.path_params["run"]), request.query_params.get("symptom", "")
        if symptom not in SYMPTOMS:
            raise UnknownNameError("symptom", symptom[:40], SYMPTOMS)
        knobs = knob_states(run, run.run.experiment().get("freeze"))
        since = int_parameter(request, "since", -1, -1, MAX_STEPS)
        turned = turned_by(causes_of(manual_changes(run), since)) if since >= 0 else {}
        held = [knob.name for knob in knobs if knob.name in turned and knob.manual is not None]
        changes = advised_changes(symptom, knobs, turned)
        advice = SYMPTOMS[symptom].advice
        return json_response({"symptom": symptom, "advice": advice, "changes": changes, "release": held})

    return [
        Route("/api/diagnose", diagnose, methods=["POST"]),
        Route("/api/runs/{run}/advice", show_advice),
    ]


async def diagnose_log(command: Sequence[str], content: bytes, name: str) -> dict[str, object]:
    """Diagnose a log by `equipoise diagnose`; `name`: of its file, whose ending says its format.

    Raises DataError, with its one line, for a log that cannot be read or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="equipoise-diagnose-") as folder:
        file = Path(folder) / _file_name(name)
        file.write_bytes(content)
        process = await asyncio.create_subprocess_exec(
            *command,
            *("diagnose", file.name, "--json"),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        _lower_priority(process.pid)
        try:
            output, problems = await asyncio.wait_for(process.communicate(), MAX_SECONDS)
        except TimeoutError as error:
            raise DataError(f"reading the log took more than {MAX_SECONDS:.0f} s; drop a part of it") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    try:
        values = json.loads(output)
    except ValueError as error:
        line = problems.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise DataError(line.removeprefix("equipoise: ") or "the log cannot be read") from error
    if "error" in values:
        raise DataError(str(values["error"]).removeprefix("equipoise: "))
    return summarize_diagnosis(values)


def summarize_diagnosis(values: Mapping[str, object]) -> dict[str, object]:
    """Return the result of `equipoise diagnose --json` as the page shows it, with the knobs that its advice changes."""
    entries, missing, notes = values.get("findings"), values.get("missing"), values.get("notes")
    findings = [_describe_finding(finding) for finding in entries] if isinstance(entries, list) else []
    games = values.get("games")
    last, unit = values.get("last"), values.get("unit")
    read = (
        f"{format_count(_whole(values.get('readings')), 'reading')} up to {unit} {last}; format: {values.get('form')}"
    )
    problems = sum(isinstance(each["severity"], float) and each["severity"] > 0 for each in findings)
    summary = f"{format_count(problems, 'symptom')}; {read}" if problems else f"No symptom; {read}"
    return {
        "verdict": values.get("verdict", "unknown"),
        "summary": summary,
        "format": values.get("form"),
        "readings": values.get("readings"),
        "missing": [missing] if missing else [],
        "notes": notes if isinstance(notes, list) else [],
        "findings": findings,
        "games": len(games) if isinstance(games, list) else 1,
        "signals": values.get("signals", ""),
        "best": values.get("best", {}),
    }


def advised_changes(
    symptom: str, knobs: Sequence[KnobState], turned: Mapping[str, float] | None = None
) -> list[dict[str, object]]:
    """Return the first changes of knobs that repair would make for a symptom, of those that act and are not frozen.

    `turned`: by how much knobs were changed by hand before; none of them is changed further in that direction.
    Empty if the symptom has no repair, or if all its changes are in effect already.
    """
    repair, states = repair_of(symptom), {knob.name: knob for knob in knobs if knob.acts and not knob.frozen}
    for rung in repair.ladder if repair is not None else ():
        values = {name: knob.value for name, knob in states.items()}
        for adjustment in rung:
            if adjustment.knob in states:
                knob = states[adjustment.knob]
                values[adjustment.knob] = _clamp(adjusted_value(adjustment, values[adjustment.knob]), knob)
        changes = [
            (name, value)
            for name, value in values.items()
            if value != states[name].value
            and not _contradicts(symptom, name, value - states[name].value)
            and not (value - states[name].value) * (turned or {}).get(name, 0.0) > 0
        ]
        if changes:
            return [{"knob": name, "from": states[name].value, "to": value} for name, value in changes]
    return []


def _contradicts(symptom: str, knob: str, change: float) -> bool:
    """Return whether the advice for a symptom is to change a knob in the other direction."""
    return f"{'reduce' if change > 0 else 'increase'} {knob}" in SYMPTOMS[symptom].advice


def describe_adjustment(adjustment: Adjustment) -> str:
    """Return a change of a knob in words."""
    amount, start = f"{adjustment.amount:g}", f"{adjustment.start:g}"
    match adjustment.kind:
        case "multiply":
            off = f"; {start} if it is off" if adjustment.start else ""
            return f"turn it on, with {start}" if adjustment.amount == 1 else f"multiply it by {amount}{off}"
        case "set":
            return f"set it to {amount}"
        case "increase":
            return f"increase it by {amount}, to at most {adjustment.limit:g}"
        case "at_least":
            return f"raise it to at least {amount}"
        case "at_most":
            return f"lower it to at most {amount}"


def _describe_finding(finding: JsonTable) -> dict[str, object]:
    symptom = str(finding.get("symptom", ""))
    repair = repair_of(symptom)
    rung = repair.ladder[0] if repair is not None and repair.ladder else ()
    texts = [str(finding[name]) for name in ("meaning", "cause", "advice") if finding.get(name)]
    return {
        "symptom": symptom,
        "label": symptom.replace("_", " ") + (f" ({finding['game']})" if finding.get("game") else ""),
        "severity": finding.get("severity", 0.0),
        **{name: finding.get(name) for name in ("since", "until", "confidence", "unit")},
        "evidence": finding.get("evidence", {}),
        "advice": texts,
        "code": finding.get("loop_advice", []),
        "changes": [{"knob": each.knob, "why": describe_adjustment(each)} for each in rung],
    }


def _clamp(value: float, knob: KnobState) -> float:
    if knob.off and value == 0:
        return 0.0
    value = min(max(value, knob.low), knob.high)
    return float(round(value)) if knob.scale == "integer" else value


def _file_name(name: str) -> str:
    """Return a name for a log with the ending of the one that the user dropped; the name itself is not used."""
    if EVENT_FILES in name:
        return "events.out.tfevents.log"
    suffix = "".join(Path(name.lower()).suffixes[-2:])
    return f"log{suffix if SUFFIX.fullmatch(suffix) else '.log'}"


def _lower_priority(pid: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
