"""Rebuild the generated parts of docs/: tables of knobs, signals, options, events, settings, schedules and commands.

    python scripts/build_reference.py            write them
    python scripts/build_reference.py --check    exit with 1 if a page is stale; write nothing

A generated part stands between `<!-- generated: NAME ARGUMENT -->` and `<!-- end -->`. Everything in it comes from the
code: ranges, dataclass fields, docstrings, the parsers of the command line.
"""

import argparse
import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch

from equipoise import catalog, cli, events, schedules
from equipoise.base import DataSpec
from equipoise.experiment import Experiment
from equipoise.knobs import AdversarialKnobs, Knobs
from equipoise.observations import Signals
from equipoise.zoo.dirac import DiracKnobs

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- generated: (\S+)(?: (\S+))? -->\n).*?(<!-- end -->)", re.DOTALL)

SUITING = {"mlp": DataSpec((2,)), "dirac": DataSpec((1,))}
"""Data on which a GAN can be built; for all others images of digits."""
UNSAID = {
    "optimizer": "of both players; `beta1` is sgd's momentum, `beta2` rmsprop's decay",
    "latent_dim": "length of the latent vector, drawn from N(0, 1)",
    "width": "units of a hidden layer of each player",
    "depth": "hidden layers of each player",
    "activation": "between the layers",
}
"""Options whose docstrings leave to the name what they are."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows of Markdown; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def knobs(name: str) -> str:
    """Every knob of a class that its base does not have as it is: default, range, scale."""
    cls = {"Knobs": Knobs, "AdversarialKnobs": AdversarialKnobs, "DiracKnobs": DiracKnobs}[name]
    start, ranges = cls().values(), cls.ranges()
    inherited = (
        {} if cls is Knobs else {knob: (value, Knobs.ranges()[knob]) for knob, value in Knobs().values().items()}
    )
    rows = [
        (f"`{knob}`", f"{value:g}", range, range.unit or "–", range.scale, _moved(range.help, range.move))
        for knob, value in start.items()
        if inherited.get(knob) != (value, range := ranges[knob])
    ]
    return table(("knob", "default", "range", "unit", "scale", "what it is"), rows)


def _moved(text: str, move: float | None) -> str:
    return text if move is None else f"{text}; moves by at most {move:g} a decision"


def signals(_: str) -> str:
    """Every field of Signals and its docstring."""
    texts = field_docstrings(Signals)
    rows = [(f"`{field.name}`", texts.get(field.name, "see below")) for field in dataclasses.fields(Signals)]
    return table(("signal", "definition"), rows)


def field_docstrings(cls: type[Any]) -> dict[str, str]:
    """Field -> the string that follows it in the source, as one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            found[statement.target.id] = " ".join(ast.literal_eval(following.value).split())
    return found


def options(gan: str) -> str:
    """Every option of a GAN: default, what it may be, what it is."""
    cls = catalog.load("zoo", gan)
    texts, hints = option_texts(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", _default(field), _kind(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return table(("option", "default", "may be", "what it is"), rows)


def option_texts(cls: type[Any]) -> dict[str, str]:
    """Option -> text, from "`name`: text" in the docstrings of the class and its bases; the nearest wins."""
    helps = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(Experiment)}
    found = {name: helps[name].partition(":")[0] for name in ("loss", "constraint")} | UNSAID
    for base in reversed(cls.__mro__):
        text = " ".join((base.__dict__.get("__doc__") or "").split())
        pieces = re.split(r"((?:`\w+`, )*`\w+`): ", text)
        for names, words in zip(pieces[1::2], pieces[2::2], strict=True):
            found |= dict.fromkeys(re.findall(r"`(\w+)`", names), words.strip().rstrip("."))
    return found


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is field.default_factory is dataclasses.MISSING:
        return "must be given"
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(made, Mapping):
        return ", ".join(f"{name} {value:g}" for name, value in made.items())
    return "–" if made is None else f"{made}"


def _kind(hint: Any) -> str:
    if get_origin(hint) is None:
        return {int: "integer", float: "number", str: "text", bool: "true, false"}.get(
            hint, getattr(hint, "__name__", str(hint))
        )
    if all(isinstance(one, str) for one in get_args(hint)):
        return ", ".join(get_args(hint))
    plain = [one for one in get_args(hint) if one is not type(None)]
    kinds = {"bool": "true, false", "Mapping": "knob = value", "tuple": "names", "int": "integer", "str": "text"}
    name = getattr(plain[0], "__name__", str(plain[0]))
    return kinds["Mapping"] if "Mapping" in str(hint) else kinds.get(name, name)


def presets(gan: str) -> str:
    """Every preset of a GAN and what it sets."""
    rows = [
        (f"`{gan}:{name}`", ", ".join(f"`{option}` {_written(value)}" for option, value in chosen.items()))
        for name, chosen in catalog.presets("zoo", gan).items()
    ]
    return table(("preset", "sets"), rows) if rows else "No presets.\n"


def _written(value: object) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, Mapping) else str(value).lower()


def acting(gan: str) -> str:
    """Which knobs act for a GAN with its default options, and where they stand."""
    recipe = catalog.build("zoo", gan)
    built = recipe.build(SUITING.get(gan, DataSpec((1, 32, 32), classes=10)), torch.Generator().manual_seed(0))
    values = built.knobs.values()
    on = ", ".join(f"`{name}` {values[name]:g}" for name in values if name in built.turnable and values[name])
    off = ", ".join(f"`{name}`" for name in values if name in built.turnable and not values[name])
    idle = ", ".join(f"`{name}`" for name in values if name not in built.turnable)
    return f"Knobs that act: {on}; at 0: {off or 'none'}. Knobs that do not act: {idle or 'none'}.\n"


def plugs(kind: str) -> str:
    """Every plug of a kind and its first line."""
    kinds: dict[str, catalog.Kind] = {"gans": "zoo", "data": "data", "controllers": "controllers", "metrics": "metrics"}
    rows = [(f"`{name}`", catalog.summary(kinds[kind], name)) for name in catalog.names(kinds[kind])]
    return table(("name", "what it is"), rows)


def data(_: str) -> str:
    """Every data set: shape, labels, counts, and what suits it."""
    rows = []
    for name in catalog.names("data"):
        if "folder" in inspect.signature(catalog.load("data", name)).parameters:
            rows.append((f"`{name}`", *["by your files"] * 4, "see its page"))
            continue
        plug = catalog.build("data", name)
        suits, counts = plug.suggestion, [plug.count("train"), plug.count("held_out")]
        train, held_out = ("endless" if count is None else f"{count:,}" for count in counts)
        shape, labels = " × ".join(map(str, plug.spec.shape)), plug.spec.classes or "none"
        game = f"{suits.gan}, {suits.steps:,} steps of {suits.batch_size}, {suits.metric or 'no metric'}"
        rows.append((f"`{name}`", shape, labels, train, held_out, f"{game}, {suits.controller}"))
    return table(("name", "shape", "labels", "train", "held out", "what it suggests"), rows)


def fields(name: str) -> str:
    """Every option of a data set: default, what it may be, what it is."""
    cls = catalog.load("data", name)
    texts, hints = field_docstrings(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", _default(field), _kind(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return table(("option", "default", "may be", "what it is"), rows)


def digest(name: str) -> str:
    """The digest of a data set's file."""
    return f"SHA-256 `{inspect.getmodule(catalog.load('data', name)).DIGEST}`\n"  # type: ignore[union-attr]


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
    found = [one for one in vars(events).values() if inspect.isclass(one) and issubclass(one, events.Event)]
    return [cls for cls in found if cls not in (events.Event, events.Stepped)]


def event_fields(cls: type[events.Event]) -> list[str]:
    """The fields of a line in the log: `before` and `after` are written as `from` and `to`, `columns` is not."""
    renamed = {"before": "from", "after": "to"}
    names = [field.name for field in dataclasses.fields(cls) if field.name not in ("step", "images", "columns")]
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


PARTS: Mapping[str, Callable[[str], str]] = {
    part.__name__: part
    for part in (knobs, signals, options, presets, acting, plugs, data, fields, digest, settings, commands, log, shapes)
}


def renewed(text: str) -> str:
    """A page with every generated part made anew."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]](found[3] or '')}\n{found[4]}", text)


def main(words: Sequence[str]) -> int:
    stale = []
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        if (new := renewed(text)) != text:
            stale.append(page.relative_to(DOCS.parent))
            if "--check" not in words:
                page.write_text(new)
    print("\n".join(f"{'stale' if '--check' in words else 'written'}: {page}" for page in stale) or "all fresh")
    return int("--check" in words and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
