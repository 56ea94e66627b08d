"""Generated page on the Python API: signature and docstring of every public name of `equipoise`."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from _reference_tables import field_docstrings, markdown_table

import equipoise

ROLE = re.compile(r":\w+:`~?([^`]+)`")
MEMORY_ADDRESS = re.compile(r"<(?:function )?([\w.<>]+) at 0x[0-9a-f]+>")
ANNOTATED = re.compile(r"(?:typing\.)?Annotated\[([\w.]+), [^\]]*\)\]")
OPTIONAL = re.compile(r"(?:typing\.)?Optional\[([\w.]+)\]")
MAXIMUM_SIGNATURE = 100


def api(_: str) -> str:
    """Return one section per public name: its module, signature, docstring, fields and methods."""
    return "\n".join(_section(name, getattr(equipoise, name)) for name in equipoise.__all__)


def _section(name: str, value: Any) -> str:
    kind = "class" if inspect.isclass(value) else "function"
    parts = [f"## {name}", f"{kind} of `{value.__module__}`", _signature(name, value), _docstring(value)]
    if inspect.isclass(value):
        parts += [_fields(value), _methods(value)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _signature(name: str, value: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    text = f"{name}{signature}"
    if len(text) > MAXIMUM_SIGNATURE and signature.parameters:
        returns = "" if signature.return_annotation is signature.empty else f" -> {_hint(signature.return_annotation)}"
        lines = "".join(f"    {parameter},\n" for parameter in _parameters(signature))
        text = f"{name}(\n{lines}){returns}"
    return f"```text\n{_plain(text)}\n```"


def _parameters(signature: inspect.Signature) -> list[str]:
    """Format the parameters of a signature, with a lone `*` before those that are keyword-only."""
    result, is_keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            result.append("*")
        result.append(str(parameter))
    return result


def _hint(annotation: Any) -> str:
    return inspect.formatannotation(annotation)


def _plain(text: str) -> str:
    """Shorten qualified names and annotations, and remove addresses of objects in memory."""
    text = OPTIONAL.sub(r"\1 | None", ANNOTATED.sub(r"\1", MEMORY_ADDRESS.sub(r"\1", text)))
    return re.sub(r"\b(?:equipoise|collections|typing|torch|pathlib|dataclasses)(?:\.[a-z_]\w*)*\.(?=[A-Z])", "", text)


def _docstring(value: Any) -> str:
    """Return a docstring as Markdown: roles as code, examples in a fenced block."""
    text = ROLE.sub(r"`\1`", inspect.getdoc(value) or "")
    paragraphs = [
        f"```pycon\n{textwrap.dedent(paragraph)}\n```" if paragraph.lstrip().startswith(">>>") else paragraph
        for paragraph in text.split("\n\n")
    ]
    return "\n\n".join(paragraphs)


def _fields(cls: type[Any]) -> str:
    """Return the table of the documented fields of a dataclass."""
    if not dataclasses.is_dataclass(cls):
        return ""
    texts = field_docstrings(cls)
    rows = [(f"`{field.name}`", texts[field.name]) for field in dataclasses.fields(cls) if field.name in texts]
    return markdown_table(("field", "description"), rows).rstrip() if rows else ""


def _methods(cls: type[Any]) -> str:
    """Return the table of the public methods and properties of a class, with the first line of each docstring."""
    rows = []
    for name, member in inspect.getmembers(cls):
        target = member.fget if isinstance(member, property) else member
        is_own = inspect.isroutine(target) and (getattr(target, "__module__", None) or "").startswith("equipoise.")
        if name.startswith("_") or not is_own:
            continue
        call = name if isinstance(member, property) else f"{name}{'()' if callable(target) else ''}"
        summary = (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")
        rows.append((f"`{call}`", ROLE.sub(r"`\1`", summary)))
    return markdown_table(("method", "description"), rows).rstrip() if rows else ""
