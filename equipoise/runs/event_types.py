"""Types of the fields of log lines, which may have been edited by hand."""

import functools
import json
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from equipoise.core.events import (
    Evaluated,
    Event,
    Finished,
    Remedied,
    Requested,
    Resumed,
    Sampled,
    Saved,
    Sensed,
    Skipped,
    Started,
    Turned,
)

NON_FINITE = ("nan", "inf", "-inf")
"""Numbers that JSON cannot represent are these texts in the log."""
NAMES = {"turned": {"before": "from", "after": "to"}}
"""Field of an event -> its name in the log, where it differs."""
NOT_LOGGED = {"samples", "columns", "texts", "shows"}
"""Fields of Sampled whose form in the log is another one."""
TOLERATED = ("missing", "unexpected_keyword_argument")
"""Kinds of problems that lines of other versions have."""


def describe_problem(line: Mapping[str, object]) -> str | None:
    """Describe the first field of a log line that has a wrong type: "images = 'many': …"; None if there is none.

    Missing and unknown fields, and unknown events, are valid: other versions write them.
    """
    for name, adapter in _adapters().get(str(line["event"]), {}).items():
        if name not in line:
            continue
        try:
            adapter.validate_json(json.dumps(_with_numbers(line[name])), strict=True)
        except ValidationError as error:
            for problem in error.errors():
                is_new_word = problem["type"] == "literal_error" and isinstance(problem["input"], str)
                if problem["type"] not in TOLERATED and not is_new_word:
                    path = ".".join(map(str, (name, *problem["loc"])))
                    return f"{path} = {problem['input']!r}: {problem['msg'].lower()}"
    return None


@functools.cache
def _adapters() -> dict[str, dict[str, TypeAdapter[Any]]]:
    """Return the validators of the fields of each event, by their names in the log."""
    events: tuple[type[Event], ...] = (
        *(Started, Sensed, Turned, Requested, Remedied),
        *(Evaluated, Sampled, Saved, Skipped, Resumed, Finished),
    )
    result: dict[str, dict[str, TypeAdapter[Any]]] = {}
    for event in events:
        kind = event.__name__.lower()
        hints = {name: hint for name, hint in get_type_hints(event).items() if name not in NOT_LOGGED}
        result[kind] = {NAMES.get(kind, {}).get(name, name): TypeAdapter(hint) for name, hint in hints.items()}
    return result


def _with_numbers(value: object) -> object:
    """Replace the texts of numbers that are not finite by a number."""
    if isinstance(value, str):
        return 0.0 if value in NON_FINITE else value
    if isinstance(value, Mapping):
        return {key: _with_numbers(item) for key, item in value.items()}
    return [_with_numbers(item) for item in value] if isinstance(value, list) else value
