"""Control a running training by hand: set and release knobs, sample, evaluate, save, stop, or note something."""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, parse_pairs
from equipoise.cli.output import USAGE_ERROR, print_result
from equipoise.core.requests import RunRequest, parse_request
from equipoise.errors import RunError, SettingError, resume_command, shell_path

if TYPE_CHECKING:
    from equipoise.runs.run import Run

ORDER = 25
EXAMPLES = (
    "equipoise control runs/digits-dcgan-1 lr_d=1e-4",
    "equipoise control runs/digits-dcgan-1 --release lr_d",
    'equipoise control runs/digits-dcgan-1 --sample --evaluate --note "sharper since lr_d was lowered"',
    "equipoise control runs/digits-dcgan-1 --stop",
)
JSON_KEYS: dict[str, str] = {
    "run, running": "the run folder, and whether a process trains it",
    "requests": "a list of `request` (its id), `action`, `knob`, `value`, `state` (taken, refused, waiting), `step` at "
    "which it was taken, and the `reason` of a refusal",
}
SENDER = "command line"
WAIT = 30.0
"""Seconds to wait until the run has taken the requests."""
POLL = 0.1
ACTIONS = ("sample", "evaluate", "save", "stop")


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request, and what became of it: taken at `step`, refused with a `reason`, or waiting."""

    request: RunRequest
    state: str = "waiting"
    step: int | None = None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """Return JSON values."""
        values = {"request": self.request.id, "action": self.request.action}
        return {**values, "knob": self.request.knob, "value": self.request.value, **self._outcome()}

    def _outcome(self) -> dict[str, object]:
        return {"state": self.state, "step": self.step, "reason": self.reason}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `control`."""
    parser.description = (
        f"{parser.description}\n\nA knob that is set overrides the controller and repair until it is released. The "
        "run takes requests at its\nnext reading, a request to stop after a step, within about a second."
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("knobs", metavar="KNOB=VALUE", nargs="*", help="hold a knob at a value until it is released")
    parser.add_argument("--release", nargs="+", default=[], metavar="KNOB", help="give knobs back to the controller")
    parser.add_argument("--sample", action="store_true", help="generate the sample grid now")
    parser.add_argument("--evaluate", action="store_true", help="compute the metric of the run now")
    parser.add_argument("--save", action="store_true", help="save a checkpoint now; the last five are kept")
    parser.add_argument("--stop", action="store_true", help="save and stop; resume the run later")
    parser.add_argument("--note", metavar="TEXT", help="write a text into the log of the run")
    parser.add_argument(
        "--wait", type=float, default=WAIT, metavar="S", help="seconds to wait for the run; 0: do not wait; default: 30"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Send the requests, wait until the run has taken them, and print what became of each."""
    from equipoise.runs.folders import is_held
    from equipoise.runs.requests import write_request
    from equipoise.runs.run import EVENTS_FILE, Run

    run = Run(Path(args.run))
    requests = list(_requests(args))
    if not requests:
        raise SettingError("nothing to do; give KNOB=VALUE, --release, --sample, --evaluate, --save, --stop or --note")
    _check_knobs(run, requests)
    log = run.folder / EVENTS_FILE
    is_running = is_held(log)
    if not is_running and args.stop:
        raise RunError(f"{run.folder} is not running, so there is nothing to stop")
    offset = log.stat().st_size if log.exists() else 0
    sent = [SentRequest(replace(request, id=write_request(run.folder, request))) for request in requests]
    if is_running:
        sent = _wait(log, offset, sent, args.wait)
    result = {"run": str(run.folder), "running": is_running, "requests": [item.to_json() for item in sent]}
    lines = [_line(item) for item in sent]
    if any(item.state == "waiting" for item in sent):
        lines.append(_why_waiting(run, is_running=is_running and is_held(log)))
    print_result(args.json, result, lines)
    return USAGE_ERROR if any(item.state == "refused" for item in sent) else 0


def _requests(args: argparse.Namespace) -> Iterator[RunRequest]:
    """Yield the requests of the arguments, a stop last. Raises SettingError for a value that is not a number."""
    for knob, text in parse_pairs(args.knobs, "control").items():
        try:
            value = float(text)
        except ValueError as error:
            raise SettingError(f"{knob} = '{text}': it must be a number") from error
        yield parse_request({"action": "turn", "knob": knob, "value": value, "by": SENDER})
    for knob in args.release:
        yield parse_request({"action": "release", "knob": knob, "by": SENDER})
    for action in ACTIONS:
        if action == "stop" and args.note is not None:
            yield parse_request({"action": "note", "text": args.note, "by": SENDER})
        if getattr(args, action):
            yield parse_request({"action": action, "by": SENDER})


def _check_knobs(run: "Run", requests: list[RunRequest]) -> None:
    """Raise SettingError for a knob or a value that the run would refuse, RunError if the folder is not a run."""
    from equipoise.runs.knob_checks import check_knob, read_turnable

    frozen, turnable = run.experiment().get("freeze"), read_turnable(run.folder)
    for request in requests:
        if request.action in ("turn", "release"):
            check_knob(run.folder, request.knob, request.value, turnable=turnable, frozen=frozen)


def _wait(log: Path, offset: int, sent: list[SentRequest], seconds: float) -> list[SentRequest]:
    """Read what the run logs from a byte on, until all requests are taken, the time is over or the run has ended."""
    from equipoise.runs.folders import is_held

    end, is_running = time.monotonic() + seconds, True
    while any(item.state == "waiting" for item in sent) and is_running and time.monotonic() < end:
        is_running = is_held(log)
        with log.open("rb") as file:
            file.seek(offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        offset += len(complete) + len(newline)
        lines = [json.loads(text) for text in complete.split(b"\n") if b'"requested"' in text]
        taken = {str(line.get("request")): line for line in lines}
        sent = [_with_outcome(item, taken) for item in sent]
        time.sleep(POLL)
    return sent


def _with_outcome(item: SentRequest, taken: dict[str, dict[str, object]]) -> SentRequest:
    line = taken.get(item.request.id)
    if line is None:
        return item
    step, refused = line.get("step"), str(line.get("refused") or "")
    return replace(
        item, state="refused" if refused else "taken", step=step if isinstance(step, int) else None, reason=refused
    )


def _line(item: SentRequest) -> str:
    """Format what became of a request."""
    request = item.request
    value = f"{request.knob} = {request.value:g}" if request.value is not None else f"{request.action} {request.knob}"
    outcome = {"taken": f"taken at step {item.step}", "refused": f"refused: {item.reason}"}.get(item.state, "waits")
    return f"{value.strip()}: {outcome}"


def _why_waiting(run: "Run", *, is_running: bool) -> str:
    if is_running:
        return "the run has not reached its next reading yet; it takes the requests there"
    return (
        f"no process trains {shell_path(run.folder)}; it takes the requests when it is resumed: "
        f"{resume_command(run.folder)}"
    )
