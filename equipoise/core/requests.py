"""Requests of a person to a running training: to hold or release a knob, to sample, evaluate, save or stop; or a note.

The run folder stores and the training loop takes them; :mod:`equipoise.runs.requests` has the format of their files.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from equipoise.errors import SettingError, UnknownNameError

RequestAction = Literal["turn", "release", "sample", "evaluate", "save", "stop", "note", "invalid"]
"""What a request demands. invalid: its file could not be read, so that it is only reported."""
FIELDS: Mapping[RequestAction, tuple[str, ...]] = {
    "turn": ("knob", "value"),
    "release": ("knob",),
    "sample": (),
    "evaluate": (),
    "save": (),
    "stop": (),
    "note": ("text",),
}
"""Action -> its fields, all of which are required."""
MAX_TEXT = 2000
"""Largest number of characters of a note."""
MAX_NAME = 60
"""Largest number of characters of the name of a knob or of a sender."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One request.

    `knob`, `value`: to turn or release; `value` None for others. `text`: of a note. `by`: who sent it, such as studio.
    `id`: name of its file without the ending. `problem`: why it is refused whatever the state of the run; else empty.
    """

    action: RequestAction
    knob: str = ""
    value: float | None = None
    text: str = ""
    by: str = ""
    id: str = ""
    problem: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the values of its file."""
        fields = {name: getattr(self, name) for name in FIELDS[self.action]}
        return {"action": self.action, **fields, **({"by": self.by} if self.by else {})}


class RequestSource(Protocol):
    """What a training loop asks for requests, after every step."""

    def take(self, step: int, *, is_reading: bool) -> Sequence[RunRequest]:
        """Return the requests to act on after this step, in order, and remove them. Between readings: only stops."""


@dataclass(frozen=True, slots=True)
class NoRequests:
    """A source without requests, of runs that have no folder."""

    def take(self, step: int, *, is_reading: bool) -> Sequence[RunRequest]:
        """Return no request."""
        return ()


NO_REQUESTS = NoRequests()


def parse_request(values: object, id: str = "") -> RunRequest:
    """Return a request from the JSON values of its file or of a web page.

    Raises SettingError, and UnknownNameError for an unknown action, with a message of one line.
    """
    if not isinstance(values, Mapping):
        raise SettingError('a request is a JSON object, such as {"action": "turn", "knob": "lr_d", "value": 1e-4}')
    action = values.get("action")
    required = next((fields for name, fields in FIELDS.items() if name == action), None)
    if required is None:
        raise UnknownNameError("action", str(action)[:MAX_NAME], FIELDS)
    if unknown := sorted(str(name)[:MAX_NAME] for name in values if name not in ("action", "by", *required)):
        allowed = ", ".join(required) or "no other field"
        raise SettingError(f"the request '{action}' has no field '{unknown[0]}'; it takes {allowed}")
    if missing := [name for name in required if name not in values]:
        raise SettingError(f"the request '{action}' lacks '{missing[0]}'; it takes {', '.join(required)}")
    return RunRequest(
        action=next(name for name in FIELDS if name == action),
        knob=_text(values, "knob", MAX_NAME),
        value=_number(values),
        text=_text(values, "text", MAX_TEXT),
        by=_text(values, "by", MAX_NAME, may_be_empty=True),
        id=id,
    )


def _text(values: Mapping[object, object], name: str, limit: int, *, may_be_empty: bool = False) -> str:
    """Return a text field, "" if it is absent. Raises SettingError for another type, an empty and a long text."""
    value = values.get(name, "")
    if not isinstance(value, str):
        raise SettingError(f"{name} must be text, not {type(value).__name__}")
    if name in values and not value.strip() and not may_be_empty:
        raise SettingError(f"{name} is empty; give a text")
    if len(value) > limit:
        raise SettingError(f"{name} has {len(value):,} characters; give at most {limit:,}")
    return value.encode("utf-8", "replace").decode()


def _number(values: Mapping[object, object]) -> float | None:
    """Return the value of a knob, None if it is absent. Raises SettingError for text, a Boolean and infinity."""
    if "value" not in values:
        return None
    value = values["value"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"value must be a number, not {type(value).__name__}")
    if not abs(value) <= sys.float_info.max:
        raise SettingError("value must be a finite number")
    return float(value)
