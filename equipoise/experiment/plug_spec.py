"""A plug of an experiment by name, with its options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

Options = Mapping[str, Any]
"""Options of a plug by name."""


@dataclass(frozen=True)
class PlugSpec:
    """A plug by name, with options that differ from its defaults. In TOML a name, or a table of `name` and options."""

    name: str
    options: Options = field(default_factory=dict)

    def with_options(self, **options: object) -> "PlugSpec":
        """Return the same plug with more options; options that are None are ignored."""
        values = {name: value for name, value in options.items() if value is not None}
        return PlugSpec(self.name, {**self.options, **values})


def parse_plug(value: object) -> object:
    """Convert a name, or a table of `name` and options, to a PlugSpec; other values are returned as they are.

    Raises ValueError for a table with a name or options of the wrong type.
    """
    if isinstance(value, str | Path):
        return PlugSpec(str(value))
    if isinstance(value, Mapping) and "name" in value:
        options = value["options"] if "options" in value else {k: v for k, v in value.items() if k != "name"}
        if not isinstance(value["name"], str):
            raise ValueError("its name must be a string")
        if not isinstance(options, Mapping):
            raise ValueError("its options must be a table")
        return PlugSpec(value["name"], options)
    return value


Plug = Annotated[PlugSpec, BeforeValidator(parse_plug)]
