"""Markdown tables, and the default, type and docstring of dataclass fields as text."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin

TYPE_NAMES = {
    **{"bool": "true, false", "int": "integer", "float": "number", "str": "text"},
    **{"Mapping": "knob = value", "tuple": "names"},
}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows as a Markdown table. Vertical bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def field_docstrings(cls: type[Any]) -> dict[str, str]:
    """Map each field of a dataclass to the string literal that follows it in the source, on one line.

    Fields of base classes are included; a docstring of the class itself overrides that of a base.
    """
    result = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            result |= _docstrings_of_body(base)
    return result


def _docstrings_of_body(cls: type[Any]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    result = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            result[statement.target.id] = " ".join(ast.literal_eval(following.value).split())
    return result


def format_default(field: dataclasses.Field[Any]) -> str:
    """Format the default of a field: "required" without a default, "–" for None."""
    if field.default is field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    return "–" if value is None else f"{value}"


def format_type(hint: Any) -> str:
    """Format a type hint in words: "integer", "names", or the alternatives of a Literal."""
    if get_origin(hint) is None:
        name = getattr(hint, "__name__", str(hint))
        return TYPE_NAMES[name] if hint in (int, float, str, bool) else name
    if all(isinstance(choice, str) for choice in get_args(hint)):
        return ", ".join(get_args(hint))
    if any(get_origin(part) is tuple and int in get_args(part) for part in (hint, *get_args(hint))):
        return "numbers"
    (first, *_) = [part for part in get_args(hint) if part is not type(None)]
    name = getattr(first, "__name__", str(first))
    return TYPE_NAMES["Mapping"] if "Mapping" in str(hint) else TYPE_NAMES.get(name, name)
