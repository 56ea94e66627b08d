"""Requests in a run folder: the only channel between a person and a running training.

RUN/requests/<nanoseconds>-<nonce>.json    {"action": "turn", "knob": "lr_d", "value": 1e-4, "by": "studio"}
             <name>.rejected               a file that could not be read as a request, moved aside

A sender writes a file atomically; the training takes the files in the order of their names, deletes them, and logs each
as an event. A training whose folder has no requests reads nothing but the list of that folder.
"""

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from equipoise.core.requests import FIELDS, RunRequest, parse_request
from equipoise.errors import EquipoiseError, RunError, SettingError, unwritable
from equipoise.runs.artifacts import write_text
from equipoise.runs.manual_control import check_repeatable
from equipoise.runs.run import EventLine, Run

REQUESTS_FOLDER = "requests"
SUFFIX = ".json"
REJECTED = ".rejected"
NAME = re.compile(r"[0-9]{1,20}-[0-9a-f]{1,32}\.json")
MAX_BYTES = 65_536
"""Largest size of a request file."""
MAX_AT_ONCE = 100
"""Largest number of requests that are taken after one step; the others wait for the next reading."""
STOP_INTERVAL = 0.5
"""Seconds between two looks for a request to stop, between readings."""
REPEATED = frozenset(FIELDS) - {"stop"}
"""Actions that are repeated from the log of a run."""


def write_request(folder: Path, request: RunRequest) -> str:
    """Write a request into a run folder and return its id. Raises RunError if the folder cannot be written."""
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    path = folder / REQUESTS_FOLDER / f"{name}{SUFFIX}"
    try:
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(request.to_json(), allow_nan=False) + "\n")
    except FileNotFoundError as error:
        raise RunError(f"{folder} is not a run: there is no such folder; list the runs with: equipoise runs") from error
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
    return name


def waiting_requests(folder: Path) -> list[RunRequest]:
    """Return the requests of a run folder that were not taken yet, in order; `problem` says what is wrong with one.

    Raises RunError if the folder of the requests cannot be read.
    """
    try:
        paths = _request_files(folder / REQUESTS_FOLDER)
    except OSError as error:
        raise RunError(_unreadable(folder / REQUESTS_FOLDER, error)) from error
    return [request for path in paths if (request := _read(path)) is not None]


def logged_requests(lines: Iterable[EventLine]) -> Iterator[tuple[int, RunRequest]]:
    """Yield the step and the request of each line `requested` that was acted on, in order."""
    for line in lines:
        if line["event"] == "requested" and not line.get("refused") and line.get("action") in FIELDS:
            fields = {name: line.get(name) for name in ("action", *FIELDS[line["action"]])}
            try:
                request = parse_request({**fields, "by": line.get("by", "")}, str(line.get("request", "")))
            except EquipoiseError as error:
                raise RunError(f"the event 'requested' of step {line['step']} is damaged: {error}") from error
            yield line["step"], request


def read_manual_changes(run: Run) -> dict[int, tuple[RunRequest, ...]]:
    """Return step -> the requests to turn or release a knob that were acted on at that step, to replay a run."""
    result: dict[int, tuple[RunRequest, ...]] = {}
    for step, request in logged_requests(run.lines("requested")):
        if request.action in ("turn", "release"):
            result[step] = (*result.get(step, ()), request)
    return result


class RequestFolder:
    """The requests of a run folder, for the process that trains it and that holds the lock of its log.

    A request to stop that waits since before is refused: the process that it was for has ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / REQUESTS_FOLDER
        self._ignored: set[str] = set()
        self._next_look = 0.0
        self._is_readable = True
        try:
            self._before = frozenset(path.name for path in _request_files(self._folder))
        except OSError:
            self._before = frozenset()

    def take(self, step: int, *, is_reading: bool) -> Sequence[RunRequest]:
        """Return the requests to act on after this step, in order, and delete their files.

        Between readings: only stops, looked for every STOP_INTERVAL seconds. Files that are no requests are moved aside
        and returned as invalid.
        """
        now = time.monotonic()
        if not is_reading and now < self._next_look:
            return ()
        self._next_look = now + STOP_INTERVAL
        try:
            paths = _request_files(self._folder)
        except OSError as error:
            was_readable, self._is_readable = self._is_readable, False
            return (RunRequest("invalid", problem=_unreadable(self._folder, error)),) if was_readable else ()
        waiting = [path for path in paths if path.name not in self._ignored]
        taken = (self._take_file(path, only_stops=not is_reading) for path in waiting[:MAX_AT_ONCE])
        return [request for request in taken if request is not None]

    def _take_file(self, path: Path, *, only_stops: bool) -> RunRequest | None:
        """Return the request of one file and remove it; None if it waits for a reading, or has been withdrawn."""
        request = _read(path)
        if request is None or (only_stops and request.action != "stop"):
            return None
        if request.action == "stop" and path.name in self._before:
            request = replace(request, problem="the process that it was for has ended already")
        try:
            if request.action == "invalid":
                path.replace(path.with_name(f"{path.name}{REJECTED}"))
            else:
                path.unlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._ignored.add(path.name)
            problem = (
                request.problem or f"its file cannot be deleted ({error.strerror or error}), so it would act twice"
            )
            request = replace(request, problem=problem)
        return request


class RepeatedRequests:
    """Requests that are repeated at the steps at which they were logged, before those of another source.

    Where a step has no reading, the next one. A request that is logged twice, by its id, is repeated once.
    """

    def __init__(self, logged: Iterable[tuple[int, RunRequest]], after: "RequestFolder") -> None:
        self._after = after
        unique = {(step, request.id): request for step, request in logged if request.action in REPEATED}
        self._waiting = sorted(((step, request) for (step, _), request in unique.items()), key=lambda pair: pair[0])

    def take(self, step: int, *, is_reading: bool) -> Sequence[RunRequest]:
        """Return the requests that are due after this step, in order, and those of the other source."""
        due: list[RunRequest] = []
        while is_reading and self._waiting and self._waiting[0][0] <= step:
            due.append(self._waiting.pop(0)[1])
        return [*due, *self._after.take(step, is_reading=is_reading)]


def requests_of_run(run: Run, repeat: Path | None, step: int) -> RequestFolder | RepeatedRequests:
    """Return the requests of a run that starts or is resumed at a step.

    `repeat`: the run whose requests are repeated. The run's own requests of later steps are repeated, too, if its
    process was killed after it took them, so that the resumed run equals an uninterrupted one. Raises RunError if
    `repeat` is not a run, or has a damaged log.
    """
    folder = RequestFolder(run.folder)
    lines = run.lines()
    own = [] if not lines or lines[-1]["event"] == "finished" else list(logged_requests(lines))
    other: list[tuple[int, RunRequest]] = []
    if repeat is not None:
        other = list(logged_requests(Run(check_repeatable(repeat)).lines()))
    later = [(at, request) for at, request in (*own, *other) if at > step]
    return RepeatedRequests(later, folder) if later else folder


def _request_files(folder: Path) -> list[Path]:
    """List the files in a folder of requests in order, without hidden, partial and rejected ones; no folder: none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if not name.startswith(".") and not name.endswith(REJECTED)]


def _read(path: Path) -> RunRequest | None:
    """Read a request; its action is invalid if the file is not one. None if it no longer exists."""
    name = path.name.removesuffix(SUFFIX)
    try:
        return parse_request(_values(path), name)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        problem = "it is not JSON"
    except EquipoiseError as error:
        problem = str(error)
    return RunRequest("invalid", id=name[:200], problem=problem)


def _values(path: Path) -> object:
    """Return the JSON values of a request file. Raises SettingError for a file that cannot be one."""
    status = path.lstat()
    if not NAME.fullmatch(path.name):
        raise SettingError("its name is not <number>-<hexadecimal>.json; write it with: equipoise control")
    if not stat.S_ISREG(status.st_mode):
        raise SettingError("it is not a regular file")
    if status.st_size > MAX_BYTES:
        raise SettingError(f"it has {status.st_size:,} bytes; a request has at most {MAX_BYTES:,}")
    values: object = json.loads(path.read_bytes())
    return dict(values) if isinstance(values, Mapping) else values


def _unreadable(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be read: {error.strerror or error}; make it a readable folder, or remove it"
