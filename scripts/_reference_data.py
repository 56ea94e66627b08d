"""Generated parts on data sets: the overview table, and origin, facts and options of each data set."""

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

from _reference_tables import field_docstrings, format_default, format_type, markdown_table

from equipoise.core import catalog

RAISES = re.compile(r"\s*Raises .*", re.DOTALL)
PAGE = re.compile(r"docs/reference/(\w+)\.md")


def data(_: str) -> str:
    """Return the table of all data sets: shape, labels, counts and suggested settings."""
    rows = []
    for name in catalog.names("data"):
        page = f"[`{name}`](data/{name}.md)"
        if _requires_files(name):
            rows.append((page, *["depends on the files"] * 4, "see its page"))
            continue
        data_set = catalog.build("data", name)
        shape, labels = " × ".join(map(str, data_set.spec.shape)), data_set.spec.classes or "none"
        counts = (_count(data_set, "train"), _count(data_set, "held_out"))
        rows.append((page, shape, labels, *counts, _suggestion(data_set)))
    return markdown_table(("name", "shape", "labels", "train", "held out", "suggested settings"), rows)


def about(name: str) -> str:
    """Return the description and origin of a data set from its docstrings, and its facts from its fields."""
    cls = catalog.load("data", name)
    module = inspect.getmodule(cls)
    texts = [inspect.getdoc(module) or "", RAISES.sub("", inspect.getdoc(cls) or "")]
    paragraphs = [PAGE.sub(r"[\1](../\1.md)", text) for text in texts]
    facts = [] if _requires_files(name) else _facts(catalog.build("data", name))
    if digest := getattr(module, "DIGEST", None):
        facts.append(("SHA-256 of its file", f"`{digest}`"))
    return "\n\n".join((*paragraphs, markdown_table(("", ""), facts) if facts else "")).rstrip() + "\n"


def fields(name: str) -> str:
    """Return the table of the options of a data set."""
    cls = catalog.load("data", name)
    texts, hints = field_docstrings(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", format_default(field), format_type(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return markdown_table(("option", "default", "values", "description"), rows) if rows else "No options.\n"


def _requires_files(name: str) -> bool:
    """Whether a data set reads files of the user: it has an option without a default."""
    options = inspect.signature(catalog.load("data", name)).parameters.values()
    return any(option.default is option.empty for option in options)


def _facts(data_set: Any) -> list[tuple[str, str]]:
    spec = data_set.spec
    class_names = f": {', '.join(spec.class_names)}" if spec.class_names else ""
    facts = [
        ("shape", " × ".join(map(str, spec.shape))),
        ("labels", f"{spec.classes:,}{class_names}" if spec.classes else "none"),
        ("training samples", _count(data_set, "train")),
        ("held-out samples", _count(data_set, "held_out")),
        ("suggested settings", _suggestion(data_set)),
    ]
    if spec.vocabulary is not None:
        facts.insert(1, ("vocabulary", f"{len(spec.vocabulary):,}"))
    return facts if spec.source is None else [*facts, ("input shape", " × ".join(map(str, spec.source)))]


def _count(data_set: Any, split: str) -> str:
    count = data_set.count(split)
    return "unlimited" if count is None else f"{count:,}"


def _suggestion(data_set: Any) -> str:
    suggestion = data_set.suggestion
    size = f"{suggestion.steps:,} steps, batch size {suggestion.batch_size}"
    return f"{suggestion.model}, {size}, {suggestion.metric or 'no metric'}, {suggestion.controller}"
