"""The generated parts on the program: plugs, signals, settings, commands, lines of the log, shapes of schedules."""

import argparse
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

from _reference_models import option_texts
from _reference_tables import default, field_docstrings, kind, table

from equipoise.cli import main as cli
from equipoise.core import catalog, events, schedules
from equipoise.core.observations import Signals
from equipoise.diagnosis.advice import ADVICE
from equipoise.experiment.settings import Experiment


def plugs(kind: str) -> str:
    """Every plug of a kind and its first line."""
    kinds: dict[str, catalog.Kind] = {
        "models": "models",
        "data": "data",
        "controllers": "controllers",
        "metrics": "metrics",
    }
    rows = [(f"`{name}`", catalog.summary(kinds[kind], name)) for name in catalog.names(kinds[kind])]
    return table(("name", "what it is"), rows)


def controller(name: str) -> str:
    """What a controller turns, its options and its presets."""
    cls = catalog.load("controllers", name)
    texts, hints = option_texts(cls), get_type_hints(cls)
    options = [
        (f"`{field.name}`", _stands(field), _written(kind(hints[field.name])), texts[field.name].replace(":mod:", ""))
        for field in dataclasses.fields(cls)
    ]
    presets = [
        (f"`{name}:{preset}`", ", ".join(f"`{option}` = {_said(value)}" for option, value in chosen.items()))
        for preset, chosen in catalog.presets("controllers", name).items()
    ]
    needs = ", ".join(f"`{knob}`" for knob in sorted(catalog.build("controllers", name).turns()))
    parts = [f"Knobs that it cannot do without: {needs or 'none'}."]
    parts += [table(("option", "default", "may be", "what it is"), options).rstrip()] if options else ["No options."]
    parts += [table(("preset", "sets"), presets).rstrip()] if presets else []
    return "\n\n".join(parts) + "\n"


def _stands(field: dataclasses.Field[Any]) -> str:
    """The default of an option; lists of names as the command line takes them."""
    if isinstance(field.default, tuple):
        return ",".join(field.default) or "–"
    return default(field) or "–"


def _written(kind: str) -> str:
    """What an option may be; texts of lists stand between commas."""
    return {"knob = value": "table"}.get(kind, kind)


def _said(value: object) -> str:
    """The value of a preset, as TOML would have it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {text}" for name, text in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def signals(_: str) -> str:
    """Every field of Signals and its docstring."""
    texts = field_docstrings(Signals)
    rows = [(f"`{field.name}`", texts.get(field.name, "see below")) for field in dataclasses.fields(Signals)]
    return table(("signal", "definition"), rows)


def symptoms(_: str) -> str:
    """Every symptom: what it means, and what to do about it."""
    rows = [(f"`{name}`", *advice) for name, advice in ADVICE.items()]
    return table(("symptom", "what it means", "which knobs to turn", "in a loop of your own"), rows)


def settings(_: str) -> str:
    """Every key of an experiment, its flag and its text."""
    flags = {action.dest: action.option_strings for action in cli.parser("train")._actions}
    rows = []
    for field in dataclasses.fields(Experiment):
        flag = {"knobs": "--set", "options": "--option", "data": "DATA"}.get(field.name)
        flag = flag or next(iter(flags.get(field.name, [])), None)
        text = field.metadata.get("help", "version of these keys; written by the program")
        rows.append((f"`{field.name}`", f"`{flag}`" if flag else "–", text))
    return table(("key", "flag", "what it is"), rows)


def commands(_: str) -> str:
    """Every command with its arguments."""
    parts = []
    for name in cli.COMMANDS:
        rows = [
            (f"`{' '.join(filter(None, (*action.option_strings[-1:], _metavar(action))))}`", action.help)
            for action in cli.parser(name)._actions
            if action.dest != "help"
        ]
        parts.append(f"## equipoise {name}\n\n{cli.summary(name)}\n\n{table(('argument', 'what it is'), rows)}")
    return "\n".join(parts)


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or "") if action.nargs != 0 else ""


def log(_: str) -> str:
    """Every line of events.jsonl with its fields, beside event, step and images."""
    rows = []
    for cls in logged():
        fields = ", ".join(f"`{name}`" for name in event_fields(cls)) or "–"
        rows.append((f"`{cls.__name__.lower()}`", fields, " ".join((inspect.getdoc(cls) or "").split())))
    return table(("event", "fields", "what it says"), rows)


def logged() -> list[type[events.Event]]:
    """The events that a run folder keeps: all but the steps."""
    result = [one for one in vars(events).values() if inspect.isclass(one) and issubclass(one, events.Event)]
    return [cls for cls in result if cls not in (events.Event, events.Stepped)]


def event_fields(cls: type[events.Event]) -> list[str]:
    """The fields of a line in the log: `before` and `after` are written as `from` and `to`, some of Sampled are not."""
    renamed = {"before": "from", "after": "to"}
    unwritten = ("step", "images", "columns", "texts", "shows")  # the first two stand in every line
    names = [field.name for field in dataclasses.fields(cls) if field.name not in unwritten]
    return [renamed.get(name, name) for name in names]


def shapes(_: str) -> str:
    """Every shape of a schedule, its formula and an example with its value."""
    rows = []
    for name, shape in schedules.SCHEDULES.items():
        text = " ".join((inspect.getdoc(shape) or "").partition(">>>")[0].split()).rstrip(".")
        example, value = (inspect.getdoc(shape) or "").partition(">>> ")[2].split("\n")
        call, _, progress = example.rpartition("(")
        parameters = ", ".join(str(p).partition(":")[0] for p in inspect.signature(shape).parameters.values())
        rows.append((f"`{name}({parameters})`", text, f"`{call}` at {progress[:-1]}: {value}"))
    return table(("shape", "value at progress p", "example"), rows)
