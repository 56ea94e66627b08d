"""Settings, data and events of a run as texts, for the facts on its page."""

import json
from collections.abc import Iterator, Mapping

from equipoise.core.printing import printable

MAX_LETTERS = 600
"""Longer events are cut."""


def flat_texts(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names and texts of values; those of nested tables have dotted names."""
    return list(_flatten(values, ""))


def event_text(line: Mapping[str, object]) -> str:
    """Format an event in one line: "step 120  evaluated  metric: kd_digits, value: 0.02"."""
    rest = {name: value for name, value in line.items() if name not in ("event", "step", "images")}
    text = ", ".join(f"{name}: {_text(value)}" for name, value in rest.items())
    text = text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]} …"
    return printable(f"step {line.get('step')}  {line.get('event')}  {text}")


def _flatten(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + name, ", ".join(map(_text, value))
        else:
            yield prefix + name, _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
