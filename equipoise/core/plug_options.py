"""The options of a plug for people: default, valid values and description of each, read from its class."""

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

TYPE_NAMES = {
    **{"bool": "true, false", "int": "integer", "float": "number", "str": "text"},
    **{"Mapping": "knob = value", "tuple": "names"},
}


@dataclass(frozen=True, slots=True)
class OptionDescription:
    """One option of a plug. `default`: as text, "required" without one. `values`: the valid values in words."""

    name: str
    default: str
    values: str
    text: str


def describe_options(cls: type[object]) -> list[OptionDescription]:
    """Return the options of a plug, in the order of its fields; empty for a class that is not a dataclass."""
    if not dataclasses.is_dataclass(cls):
        return []
    texts, hints = option_texts(cls), get_type_hints(cls)
    return [
        OptionDescription(field.name, format_default(field), format_type(hints[field.name]), texts.get(field.name, ""))
        for field in dataclasses.fields(cls)
    ]


def option_texts(cls: type[object]) -> dict[str, str]:
    """Map each option of a plug to its description.

    It is the docstring of the field, or else follows "`name`:" in the docstring of the class, a base class, or a class
    of options that several plugs share, in a private module from which the plug imports.
    """
    result: dict[str, str] = {}
    for owner in (*_shared_options(cls), *reversed(cls.__mro__)):
        text = " ".join((owner.__dict__.get("__doc__") or "").split())
        pieces = re.split(r"((?:`\w+`, )*`\w+`): ", text)
        for names, description in zip(pieces[1::2], pieces[2::2], strict=True):
            result |= dict.fromkeys(re.findall(r"`(\w+)`", names), description.strip().rstrip("."))
    return result | {name: text.rstrip(".") for name, text in field_docstrings(cls).items()}


def _shared_options(cls: type[object]) -> list[type[object]]:
    """Return the classes named …Options of the private modules from which the module of a plug imports."""
    module = sys.modules.get(cls.__module__)
    origins = {getattr(value, "__module__", None) for value in vars(module).values()} if module else set()
    shared = [sys.modules[name] for name in sorted(map(str, origins)) if "._" in name and name in sys.modules]
    return [
        value
        for each in shared
        for name, value in vars(each).items()
        if name.endswith("Options") and inspect.isclass(value)
    ]


def field_docstrings(cls: type[object]) -> dict[str, str]:
    """Map each field of a dataclass to the string literal that follows it in the source, on one line.

    Fields of base classes are included; a docstring of the class itself overrides that of a base.
    """
    result: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            result |= _docstrings_of_body(base)
    return result


def _docstrings_of_body(cls: type[object]) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):  # without source, such as in an interactive session
        return {}
    assert isinstance(tree, ast.ClassDef)
    result = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            result[statement.target.id] = " ".join(str(ast.literal_eval(following.value)).split())
    return result


def format_default(field: "dataclasses.Field[object]") -> str:
    """Format the default of a field: "required" without a default, "–" for None."""
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    return "–" if value is None or value == () or value == {} else f"{value}"


def format_type(hint: object) -> str:
    """Format a type hint in words: "integer", "names", or the alternatives of a Literal."""
    if get_origin(hint) is None:
        name = getattr(hint, "__name__", str(hint))
        return TYPE_NAMES[name] if hint in (int, float, str, bool) else name
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    if literals:
        return ", ".join(dict.fromkeys(str(choice) for part in literals for choice in get_args(part)))
    if any(get_origin(part) is tuple and {int, float} & set(get_args(part)) for part in (hint, *get_args(hint))):
        return "numbers"
    (first, *_) = [part for part in get_args(hint) if part is not type(None)]
    name = getattr(first, "__name__", str(first))
    return TYPE_NAMES["Mapping"] if "Mapping" in str(hint) else TYPE_NAMES.get(name, name)
