"""JSON schema of experiment files, for completion and validation in editors.

Written with `definitions` and without `prefixItems`, because editors for TOML support early drafts only.
"""

from collections.abc import Iterator, Mapping
from typing import get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from equipoise.core import catalog
from equipoise.core.catalog import PlugKind
from equipoise.core.knobs import KnobRange, Knobs
from equipoise.experiment.declaration import SettingSpec
from equipoise.experiment.settings import Experiment, setting_specs

Schema = dict[str, object]
"""A JSON schema, or a part of one, as JSON values."""

TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array"}
CUSTOM_PLUG: Schema = {"type": "string", "pattern": "[./]", "description": "a custom module or file"}
SCHEDULE: Schema = {"type": "string", "pattern": r"\("}
"""A schedule of a knob: linear(0.001, 0)."""
UNUSED_KEYS = ("title", "default")
"""Keys of pydantic's schemas that are of no use to a user."""


def experiment_schema() -> Schema:
    """Return the schema of an experiment file, with all plugs and knobs that are installed."""
    definitions: Schema = {"knobs": _knobs_schema()}
    hints = get_type_hints(Experiment)
    properties: Schema = {}
    for name, spec in setting_specs().items():
        if spec.plug:
            definitions[name] = _plug_schema(spec.plug, definitions)
            properties[name] = {"description": spec.help, "allOf": [{"$ref": f"#/definitions/{name}"}]}
        else:
            properties[name] = _setting_schema(name, spec, hints[name])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Experiment of Equipoise",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "definitions": dict(sorted(definitions.items())),
    }


def _setting_schema(name: str, spec: SettingSpec, hint: object) -> Schema:
    """Return the schema of a setting that is not a plug: type, range or choices, and description."""
    description = f"{spec.help} [{spec.unit}]" if spec.unit else spec.help
    if name == "knobs":
        return {"description": description, "allOf": [{"$ref": "#/definitions/knobs"}]}
    types = [get_origin(part) or part for part in get_args(hint) or (hint,)]
    json_types = [TYPES[kind] for kind in types if kind in TYPES] or ["object"]
    result: Schema = {"description": description, "type": json_types if json_types[1:] else json_types[0]}
    if spec.choices:
        result |= {"type": "string", "enum": list(spec.choices)}
    if name == "freeze":
        result["items"] = {"type": "string", "enum": sorted(_knob_ranges())}
    bounds = {"minimum": spec.minimum, "exclusiveMinimum": spec.above, "maximum": spec.maximum}
    return result | {key: bound for key, bound in bounds.items() if bound is not None}


def _plug_schema(kind: PlugKind, definitions: Schema) -> Schema:
    """Return the schema of a plug: its name, or a table of name and options. Adds a definition per plug."""
    words, tables = [], []
    for name in catalog.names(kind):
        presets = [f"{name}:{preset}" for preset in catalog.presets(kind, name)]
        words += [name, *presets]
        definitions[f"{kind}.{name}"] = _table_schema(kind, name, [name, *presets], definitions)
        tables.append({"$ref": f"#/definitions/{kind}.{name}"})
    path = {"type": "string", "description": "a folder of images or CSV files, or a text file"}
    custom_table = {"type": "object", "required": ["name"], "properties": {"name": CUSTOM_PLUG}}
    return {"anyOf": [{"enum": words}, path if kind == "data" else CUSTOM_PLUG, *tables, custom_table]}


def _table_schema(kind: PlugKind, name: str, names: list[str], definitions: Schema) -> Schema:
    options = TypeAdapter(catalog.load(kind, name)).json_schema(ref_template=f"#/definitions/{kind}.{name}.{{model}}")
    for inner, schema in options.pop("$defs", {}).items():
        definitions[f"{kind}.{name}.{inner}"] = _for_early_drafts(schema)
    properties = _for_early_drafts(options.get("properties", {}))
    assert isinstance(properties, dict)
    return {
        "type": "object",
        "description": catalog.summary(kind, name),
        "required": ["name"],
        "additionalProperties": False,
        "properties": {"name": {"enum": names}, "options": {"type": "object"}, **properties},
    }


def _for_early_drafts(value: object) -> object:
    """Convert a schema of pydantic: `const` to `enum`, `prefixItems` to `items`; titles and defaults are removed."""
    if isinstance(value, list):
        return [_for_early_drafts(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: _for_early_drafts(item) for key, item in value.items() if key not in UNUSED_KEYS}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "prefixItems" in result:
        result["items"] = result.pop("prefixItems")
    return result


def _knobs_schema() -> Schema:
    """Return the schema of the table of knobs; if ranges differ between models, it allows all of them."""
    properties: Schema = {}
    for name, ranges in _knob_ranges().items():
        first = ranges[0]
        bounds: Schema = {"minimum": min(item.low for item in ranges), "maximum": max(item.high for item in ranges)}
        number: Schema = {"type": "integer" if first.scale == "integer" else "number", **bounds}
        can_be_off = any(item.can_be_off for item in ranges)
        unit = f" [{first.unit}]" if first.unit else ""
        values = [*([{"enum": [0]}] if can_be_off else []), number, SCHEDULE]
        properties[name] = {"description": f"{first.help}{unit}", "anyOf": values}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _knob_ranges() -> dict[str, list[KnobRange]]:
    """Return the ranges of each knob in all models, by name."""
    for name in catalog.names("models"):
        catalog.load("models", name)
    result: dict[str, list[KnobRange]] = {}
    for cls in _subclasses(Knobs):
        for name, knob_range in cls.ranges().items():
            result.setdefault(name, []).append(knob_range)
    return result


def _subclasses(cls: type[Knobs]) -> Iterator[type[Knobs]]:
    """Yield a class and its subclasses in the modules of this package, recursively."""
    yield cls
    for subclass in sorted(cls.__subclasses__(), key=lambda subclass: (subclass.__module__, subclass.__name__)):
        if subclass.__module__.partition(".")[0] == "equipoise":
            yield from _subclasses(subclass)
