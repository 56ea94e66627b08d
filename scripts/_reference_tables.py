"""Rows of Markdown, and what a dataclass says about its fields: default, kind and docstring."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows of Markdown; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def field_docstrings(cls: type[Any]) -> dict[str, str]:
    """Field -> the string that follows it in the source, as one line; what a class says wins over its bases."""
    result = {}
    for one in reversed(cls.__mro__):
        if dataclasses.is_dataclass(one):
            result |= _said_in(one)
    return result


def _said_in(cls: type[Any]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    result = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            result[statement.target.id] = " ".join(ast.literal_eval(following.value).split())
    return result


def default(field: dataclasses.Field[Any]) -> str:
    if field.default is field.default_factory is dataclasses.MISSING:
        return "must be given"
    made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if isinstance(made, Mapping):
        return ", ".join(f"{name} {value:g}" for name, value in made.items())
    return "–" if made is None else f"{made}"


def kind(hint: Any) -> str:
    if get_origin(hint) is None:
        return {int: "integer", float: "number", str: "text", bool: "true, false"}.get(
            hint, getattr(hint, "__name__", str(hint))
        )
    if all(isinstance(one, str) for one in get_args(hint)):
        return ", ".join(get_args(hint))
    if any(get_origin(one) is tuple and int in get_args(one) for one in (hint, *get_args(hint))):
        return "numbers"
    plain = [one for one in get_args(hint) if one is not type(None)]
    kinds = {
        "bool": "true, false",
        "Mapping": "knob = value",
        "tuple": "names",
        "int": "integer",
        "float": "number",
        "str": "text",
    }
    name = getattr(plain[0], "__name__", str(plain[0]))
    return kinds["Mapping"] if "Mapping" in str(hint) else kinds.get(name, name)
