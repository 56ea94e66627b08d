"""List models, data sets, controllers and metrics, or describe one of them: options, presets and knobs."""

import argparse
import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result
from equipoise.core import catalog
from equipoise.core.plug_options import OptionDescription, describe_options
from equipoise.errors import EquipoiseError, UnknownNameError

if TYPE_CHECKING:
    from equipoise.core.knobs import Knobs
    from equipoise.core.model import Model

ORDER = 130
EXAMPLES = ("equipoise list", "equipoise list models", "equipoise list dcgan", "equipoise list ./my_model.py")
JSON_KEYS = {
    "models, data, controllers, metrics": "for each kind: name -> `summary`, and `presets`: the names of its presets",
    "plugs": "with a name: a list of `kind`, `name`, `summary`, `page`, `options` (name -> `default`, `values`, "
    "`text`), `presets` (name -> options), and of models `knobs` (name -> `value`, `range`, `unit`, `text`)",
}
KINDS: tuple[catalog.PlugKind, ...] = ("models", "data", "controllers", "metrics")
PAGES = {"models": "models/{}.md", "data": "data/{}.md", "controllers": "controllers/{}.md", "metrics": "metrics.md"}
OPTION_OWNERS = {"data set": "data.", "controller": "controller.", "metric": "metric."}
"""What precedes the name of an option of a kind of plug on the command line."""
WIDTH = 100
"""Largest width of the description of a plug in characters."""


@dataclass(frozen=True, slots=True)
class KnobDescription:
    """A knob of a model: its initial value, and its range and unit in words."""

    value: float
    range: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class PlugDescription:
    """All about one plug. `page`: its page in the documentation. `knobs`: of a model that could be built."""

    kind: str
    name: str
    summary: str
    page: str
    options: Mapping[str, OptionDescription]
    presets: Mapping[str, Mapping[str, object]]
    knobs: Mapping[str, KnobDescription]


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `list`."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="models|data|controllers|metrics|NAME",
        help="what to list, or the name or file of one model, data set, controller or metric; default: all names",
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print names, summaries and presets of all plugs, or all about one."""
    if args.name is not None and args.name not in KINDS:
        return _describe(args.name, args.json)
    result: dict[str, object] = {}
    lines = []
    for kind in KINDS:
        if args.name not in (None, kind):
            continue
        result[kind] = {
            name: {"summary": catalog.summary(kind, name), "presets": sorted(catalog.presets(kind, name))}
            for name in catalog.names(kind)
        }
        width = max(map(len, catalog.names(kind)))
        lines.append(f"{kind}:")
        for name in catalog.names(kind):
            lines.append(f"  {name:{width}} {catalog.summary(kind, name)}")
            lines.extend(f"  {'':{width}}   {name}:{preset}" for preset in sorted(catalog.presets(kind, name)))
    lines.append("\nOptions, presets and knobs of one of them: equipoise list NAME")
    print_result(args.json, result, "\n".join(lines))
    return 0


def _describe(name: str, as_json: bool) -> int:
    """Print options, presets and knobs of every plug with this name."""
    base = catalog.split_preset(name)[0]
    is_custom = catalog.is_file(base) or "." in base
    kinds = [kind for kind in KINDS if is_custom or base in catalog.names(kind)]
    if not kinds:
        available = [name for kind in KINDS for name in catalog.names(kind)]
        raise UnknownNameError("model, data set, controller or metric", base, (*KINDS, *available))
    plugs = [_describe_plug(kind, base, is_custom) for kind in kinds[: 1 if is_custom else None]]
    result = {"plugs": [dataclasses.asdict(plug) for plug in plugs]}
    print_result(as_json, result, "\n\n".join(map(_format_plug, plugs)))
    return 0


def _describe_plug(kind: catalog.PlugKind, name: str, is_custom: bool) -> PlugDescription:
    cls = catalog.load(kind, name)
    is_model = hasattr(cls, "build") if is_custom else kind == "models"
    model = _build_model(name) if is_model else None
    return PlugDescription(
        kind="plug" if is_custom and not is_model else catalog.NOUNS[kind],
        name=name,
        summary=catalog.summary(kind, name),
        page="" if is_custom else f"docs/reference/{PAGES[kind].format(name)}",
        options={option.name: option for option in describe_options(cls)},
        presets=catalog.presets(kind, name),
        knobs=_knobs(model) if model else {},
    )


def _build_model(name: str) -> "Model[Knobs] | None":
    """Build a model with its default options, on the first kind of data that it supports; None if there is none."""
    import torch

    from equipoise.core.captions import Captions
    from equipoise.core.data import DataSpec
    from equipoise.core.tokens import ENDING, Vocabulary

    recipe = catalog.build("models", name)
    captions = Captions(Vocabulary((ENDING, "red", "apple")), 4, ("red apple",))
    specs = (
        *(DataSpec((1, 32, 32), classes=10), DataSpec((3, 32, 32), source=(3, 32, 32), paired=("train", "held_out"))),
        *(DataSpec((3, 32, 32), captions=captions), DataSpec((2,)), DataSpec((1,))),
        DataSpec((7,), vocabulary=Vocabulary((ENDING, "a", "b"))),
    )
    for spec in specs:
        try:
            model: Model[Knobs] = recipe.build(spec, torch.Generator().manual_seed(0))
            return model
        except EquipoiseError:
            continue
    return None


def _knobs(model: "Model[Knobs]") -> dict[str, KnobDescription]:
    """Return the knobs that have an effect in a model, with their initial values."""
    ranges, values = model.knobs.ranges(), model.knobs.values()
    return {
        name: KnobDescription(values[name], str(ranges[name]), ranges[name].unit or "", ranges[name].help)
        for name in ranges
        if name in model.turnable
    }


def _format_plug(plug: PlugDescription) -> str:
    owner = OPTION_OWNERS.get(plug.kind, "")
    lines = [f"{plug.name} ({plug.kind}): {plug.summary}"]
    if plug.options:
        lines += ["", f"options, set with --option {owner}NAME=VALUE (default; valid values):"]
        options = plug.options.values()
        lines += _format_rows((o.name, f"{o.default}; {o.values}. {o.text}") for o in options)
    if plug.presets:
        lines += ["", "presets:"]
        lines += _format_rows((f"{plug.name}:{name}", _format_values(p)) for name, p in plug.presets.items())
    if plug.knobs:
        lines += ["", "knobs, set with --set NAME=VALUE (initial value; range):"]
        lines += _format_rows(
            (name, f"{knob.value:g}; {knob.range}{' ' * bool(knob.unit)}{knob.unit}. {knob.text}")
            for name, knob in plug.knobs.items()
        )
    return "\n".join((*lines, *(("", f"page: {plug.page}") if plug.page else ())))


def _format_values(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _format_rows(rows: Iterable[Sequence[str]]) -> list[str]:
    """Format names and texts in two columns; long texts are continued under their beginning."""
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs) + 4
    lines = []
    for name, text in pairs:
        first, *rest = textwrap.wrap(text, WIDTH - width) or [""]
        lines += [f"  {name:{width - 2}}{first}", *(f"{'':{width}}{line}" for line in rest)]
    return lines
