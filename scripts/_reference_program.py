"""Generated parts on the program: plugs, controllers, signals, symptoms, settings, commands, log, schedules."""

import argparse
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from _reference_models import option_descriptions
from _reference_tables import field_docstrings, format_default, format_type, markdown_table

from equipoise.cli import main as cli
from equipoise.core import catalog, events, schedules
from equipoise.core.observations import Signals
from equipoise.experiment.settings import setting_specs

KINDS: Mapping[str, catalog.PlugKind] = {
    **{"models": "models", "data": "data", "controllers": "controllers", "metrics": "metrics"},
}
WITH_PAGES = {"models", "data", "controllers"}


def plugs(kind: str) -> str:
    """Return the table of all plugs of a kind, with the first line of each docstring."""
    rows = [
        (f"[`{name}`]({kind}/{name}.md)" if kind in WITH_PAGES else f"`{name}`", catalog.summary(KINDS[kind], name))
        for name in catalog.names(KINDS[kind])
    ]
    return markdown_table(("name", "description"), rows)


def controller(name: str) -> str:
    """Return the knobs that a controller requires, its options and its presets."""
    cls = catalog.load("controllers", name)
    texts, hints = option_descriptions(cls), get_type_hints(cls)
    options = [
        (f"`{field.name}`", _default(field), _type(hints[field.name]), texts[field.name].replace(":mod:", ""))
        for field in dataclasses.fields(cls)
    ]
    presets = [
        (f"`{name}:{preset}`", ", ".join(f"`{option}` = {_format_value(value)}" for option, value in values.items()))
        for preset, values in catalog.presets("controllers", name).items()
    ]
    required = ", ".join(f"`{knob}`" for knob in sorted(catalog.build("controllers", name).required_knobs()))
    parts = [f"Required knobs: {required or 'none'}."]
    header = ("option", "default", "values", "description")
    parts += [markdown_table(header, options).rstrip()] if options else ["No options."]
    parts += [markdown_table(("preset", "options"), presets).rstrip()] if presets else []
    return "\n\n".join(parts) + "\n"


def _default(field: dataclasses.Field[Any]) -> str:
    """Format the default of an option; lists of names as the command line accepts them."""
    if isinstance(field.default, tuple):
        return ",".join(field.default) or "–"
    return format_default(field) or "–"


def _type(hint: Any) -> str:
    return format_type(hint).replace("knob = value", "table")


def _format_value(value: object) -> str:
    """Format the value of a preset as in a TOML file."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {text}" for name, text in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def signals(_: str) -> str:
    """Return the table of all signals with their definitions."""
    texts = field_docstrings(Signals)
    rows = [(f"`{field.name}`", texts.get(field.name, "see below")) for field in dataclasses.fields(Signals)]
    return markdown_table(("signal", "definition"), rows)


def settings(_: str) -> str:
    """Return the table of all settings of an experiment: key, flag, valid values and help text."""
    rows = []
    for name, spec in setting_specs().items():
        flag = "DATA" if name == "data" else next(iter(spec.flags), None)
        rows.append((f"`{name}`", f"`{flag}`" if flag else "–", spec.values() or "–", spec.help))
    return markdown_table(("key", "flag", "values", "description"), rows)


def commands(_: str) -> str:
    """Return one section per command: summary, arguments, examples, and the keys of its JSON result."""
    parts = []
    for name in cli.command_modules():
        rows = [
            (
                f"`{' '.join(filter(None, (*action.option_strings[:1], _metavar(action))))}`",
                (action.help or "").replace("%%", "%"),
            )
            for action in cli.parser(name)._actions
            if action.dest != "help" and action.help != argparse.SUPPRESS
        ]
        table = markdown_table(("argument", "description"), rows)
        module = cli.command_modules()[name]
        examples = "\n".join(module.EXAMPLES)
        keys = markdown_table(("key of the JSON result", "value"), [(f"`{k}`", v) for k, v in module.JSON_KEYS.items()])
        json_part = f"\n{keys}" if module.JSON_KEYS else ""
        parts.append(f"## equipoise {name}\n\n{cli.summary(name)}\n\n{table}\n```sh skip\n{examples}\n```\n{json_part}")
    return "\n".join(parts)


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or "") if action.nargs != 0 else ""


def log(_: str) -> str:
    """Return the table of the lines of events.jsonl with their fields, without event, step and images."""
    rows = []
    for cls in logged_events():
        fields = ", ".join(f"`{name}`" for name in event_fields(cls)) or "–"
        rows.append((f"`{cls.__name__.lower()}`", fields, " ".join((inspect.getdoc(cls) or "").split())))
    return markdown_table(("event", "fields", "description"), rows)


def logged_events() -> list[type[events.Event]]:
    """Return the classes of events that are written to the log: all but `Stepped`."""
    classes = [value for value in vars(events).values() if inspect.isclass(value) and issubclass(value, events.Event)]
    return [cls for cls in classes if cls not in (events.Event, events.Stepped)]


def event_fields(cls: type[events.Event]) -> list[str]:
    """Return the names of the fields of a log line: `before` and `after` are written as `from` and `to`."""
    renamed = {"before": "from", "after": "to"}
    omitted = ("step", "images", "columns", "texts", "shows")  # the first two are part of every line
    names = [field.name for field in dataclasses.fields(cls) if field.name not in omitted]
    return [renamed.get(name, name) for name in names]


def shapes(_: str) -> str:
    """Return the table of the shapes of schedules: formula, and an example with its value."""
    rows = []
    for name, shape in schedules.SCHEDULES.items():
        text = " ".join((inspect.getdoc(shape) or "").partition(">>>")[0].split()).rstrip(".")
        example, value = (inspect.getdoc(shape) or "").partition(">>> ")[2].split("\n")
        call, _, progress = example.rpartition("(")
        parameters = ", ".join(str(p).partition(":")[0] for p in inspect.signature(shape).parameters.values())
        rows.append((f"`{name}({parameters})`", text, f"`{call}` at {progress[:-1]}: {value}"))
    return markdown_table(("shape", "value at progress p", "example"), rows)
