"""The generated parts on data sets: the table of all, and of one what it is and its options."""

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

from _reference_tables import default, field_docstrings, kind, table

from equipoise.core import catalog

RAISES = re.compile(r"\s*Raises .*", re.DOTALL)
PAGE = re.compile(r"docs/reference/(\w+)\.md")


def data(_: str) -> str:
    """Every data set: shape, labels, counts, and what suits it."""
    rows = []
    for name in catalog.names("data"):
        page = f"[`{name}`](data/{name}.md)"
        if _of_files(name):
            rows.append((page, *["by your files"] * 4, "see its page"))
            continue
        plug = catalog.build("data", name)
        shape, labels = " × ".join(map(str, plug.spec.shape)), plug.spec.classes or "none"
        rows.append((page, shape, labels, _count(plug, "train"), _count(plug, "held_out"), _suggests(plug)))
    return table(("name", "shape", "labels", "train", "held out", "what it suggests"), rows)


def about(name: str) -> str:
    """One data set: what it is and where it comes from, by its docstrings; its facts, by its fields."""
    cls = catalog.load("data", name)
    module = inspect.getmodule(cls)
    texts = [inspect.getdoc(module) or "", RAISES.sub("", inspect.getdoc(cls) or "")]
    paragraphs = [PAGE.sub(r"[\1](../\1.md)", text) for text in texts]
    facts = [] if _of_files(name) else _facts(catalog.build("data", name))
    if digest := getattr(module, "DIGEST", None):
        facts.append(("SHA-256 of its file", f"`{digest}`"))
    return "\n\n".join((*paragraphs, table(("", ""), facts) if facts else "")).rstrip() + "\n"


def fields(name: str) -> str:
    """Every option of a data set: default, what it may be, what it is."""
    cls = catalog.load("data", name)
    texts, hints = field_docstrings(cls), get_type_hints(cls)
    rows = [
        (f"`{field.name}`", default(field), kind(hints[field.name]), texts[field.name])
        for field in dataclasses.fields(cls)
    ]
    return table(("option", "default", "may be", "what it is"), rows) if rows else "No options.\n"


def _of_files(name: str) -> bool:
    """Whether a data set is whatever lies in a folder or a file: it cannot be had without an option."""
    options = inspect.signature(catalog.load("data", name)).parameters.values()
    return any(option.default is option.empty for option in options)


def _facts(plug: Any) -> list[tuple[str, str]]:
    spec = plug.spec
    names = f": {', '.join(spec.class_names)}" if spec.class_names else ""
    facts = [
        ("shape", " × ".join(map(str, spec.shape))),
        ("labels", f"{spec.classes:,}{names}" if spec.classes else "none"),
        ("to train on", _count(plug, "train")),
        ("held out", _count(plug, "held_out")),
        ("suggests", _suggests(plug)),
    ]
    if spec.vocabulary is not None:
        facts.insert(1, ("words", f"{len(spec.vocabulary):,}"))
    return facts if spec.source is None else [*facts, ("source", " × ".join(map(str, spec.source)))]


def _count(plug: Any, split: str) -> str:
    count = plug.count(split)
    return "endless" if count is None else f"{count:,}"


def _suggests(plug: Any) -> str:
    suits = plug.suggestion
    game = f"{suits.model}, {suits.steps:,} steps of {suits.batch_size}, {suits.metric or 'no metric'}"
    return f"{game}, {suits.controller}"
