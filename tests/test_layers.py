"""Which folder may import which, and how files and identifiers are named: read from the syntax trees."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import equipoise

ROOT = Path(next(iter(equipoise.__path__)))

# One line per folder: what it may import, in addition to `errors` and itself.
MAY_IMPORT = {
    "errors": "",
    "core": "",
    "nn": "core",
    "losses": "core",
    "policy": "core",
    "models": "core nn losses",
    "data": "core nn",
    "controllers": "core policy",
    "metrics": "core nn",
    "diagnosis": "core",
    "pilot": "core diagnosis",
    "brief": "core policy",
    "runs": "core",
    "jobs": "runs",
    "training": "core diagnosis pilot runs",
    "experiment": "core diagnosis pilot policy runs training",
    "inference": "core nn runs training experiment",
    "evaluation": "core metrics runs experiment inference",
    "report": "core runs",
    "meta": "core losses models policy diagnosis pilot runs jobs training experiment",
    "comparison": "core controllers policy pilot runs jobs training experiment inference evaluation meta report",
    "studio": "core diagnosis runs experiment inference evaluation report",
    "cli": "core policy diagnosis runs jobs experiment inference evaluation meta report comparison studio",
}
ROOT_FILES = {"__init__", "__main__", "errors"}
PLUGS = {"models", "data", "controllers", "metrics"}
WITHOUT_TORCH = (
    *(
        "errors",
        "policy",
        "runs.run",
        "runs.log",
        "runs.folders",
        "report",
        "core.validation",
        "core.knobs",
        "core.observations",
        "core.events",
    ),
    *("core.schedules", "core.catalog"),
)
BUILD_PLUGS_BY_NAME = {
    *(
        "pilot",
        "brief",
        "controllers",
        "diagnosis",
        "experiment",
        "inference",
        "evaluation",
        "comparison",
        "meta",
        "cli",
    ),
    "studio",
    "models",  # a model that learns from another one, such as distill
}
MAX_ARROWS = 130


@dataclass(frozen=True)
class Source:
    """A module of the package: `name` is its path in the package, ("models", "dcgan")."""

    name: tuple[str, ...]
    tree: ast.Module
    is_package: bool = False

    @property
    def folder(self) -> str:
        return self.name[0] if self.name else ""

    def __str__(self) -> str:
        return ".".join(("equipoise", *self.name))


def sources() -> list[Source]:
    result = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        result.append(Source(parts[:-1] if is_package else parts, ast.parse(path.read_text(), str(path)), is_package))
    return result


SOURCES = sources()
MODULES = {source.name: source for source in SOURCES}
PUBLIC_API: tuple[str, ...] = ()


def imported_names(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Return all imported names, at the top or within functions; `from a import b` is both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written from the root"
            assert node.module is not None
            yield from ((*node.module.split("."), alias.name) for alias in node.names)


def imported_modules(tree: ast.AST) -> set[tuple[str, ...]]:
    """Return the imported modules of the package, by their names in the package."""
    names = {name[1:] for name in imported_names(tree) if name[0] == "equipoise"}
    return {name if name in MODULES else name[:-1] for name in names}


def violations(source: Source) -> list[str]:
    """Return the violations of the import rules in one module."""
    return [
        f"{source} imports equipoise.{'.'.join(target)}: {problem}"
        for target in sorted(imported_modules(source.tree))
        if (problem := violation(source.name, target))
    ]


def violation(importer: tuple[str, ...], target: tuple[str, ...]) -> str | None:
    if importer == PUBLIC_API or importer == ("__main__",):
        return None
    if target == PUBLIC_API:
        return "modules of the package do not import the public API"
    here, there = importer[0], target[0]
    is_private = any(part.startswith("_") for part in target[1:])
    if here == there:
        return "plugs share private files only" if here in PLUGS and not is_private else None
    if there != "errors" and there not in MAY_IMPORT[here].split():
        return f"{here} may not import {there}"
    return "a private file is for its own folder" if there in PLUGS and is_private else None


def at_import(tree: ast.Module) -> ast.Module:
    """Return the part of a module that runs when it is imported: without the bodies of functions."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.If | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

    return Strip().visit(ast.parse(ast.unparse(tree)))


def reachable(start: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return all modules of the package that the import of one imports, with its parent packages."""
    seen: set[tuple[str, ...]] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        packages = {name[:length] for length in range(1, len(name) + 1)} & MODULES.keys()
        for new in packages - seen:
            seen.add(new)
            todo.extend(imported_modules(at_import(MODULES[new].tree)))
    return seen


def test_the_modules_are_read() -> None:
    assert len(SOURCES) >= 30
    for name in (("errors",), ("models", "dcgan"), ("training", "loop"), ("core", "catalog")):
        assert name in MODULES
    assert ("training", "step") in imported_modules(MODULES["training", "loop"].tree)


def test_every_folder_has_a_line() -> None:
    assert {source.folder for source in SOURCES} - {"", "__main__"} == MAY_IMPORT.keys()
    assert {path.stem for path in ROOT.glob("*.py")} == ROOT_FILES


def test_every_folder_says_what_belongs_in_it() -> None:
    lines = {
        str(source): (ast.get_docstring(source.tree) or "").partition("\n")[0]
        for source in SOURCES
        if source.is_package
    }
    assert {name for name, line in lines.items() if not line} == set()


def test_the_table_has_no_circle() -> None:
    rest = {name: set(targets.split()) for name, targets in MAY_IMPORT.items()}
    while leaves := {name for name, targets in rest.items() if not targets & rest.keys()}:
        rest = {name: targets for name, targets in rest.items() if name not in leaves}
    assert rest == {}


def test_imports_follow_the_table() -> None:
    assert [text for source in SOURCES for text in violations(source)] == []


def test_every_permission_is_used() -> None:
    used = defaultdict(set)
    for source in SOURCES:
        used[source.folder] |= {target[0] for target in imported_modules(source.tree) if target}
    assert {
        name: set(targets.split()) - used[name]
        for name, targets in MAY_IMPORT.items()
        if set(targets.split()) - used[name]
    } == {}
    assert sum(len(used[name] - {name}) for name in MAY_IMPORT) <= MAX_ARROWS


def test_no_circle_between_modules() -> None:
    edges = {
        name: {target for target in imported_modules(at_import(source.tree)) if target != name}
        for name, source in MODULES.items()
        if name
    }
    while leaves := {name for name, targets in edges.items() if not targets & edges.keys()}:
        edges = {name: targets for name, targets in edges.items() if name not in leaves}
    assert edges == {}


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        (("core", "knobs"), "import equipoise.pilot.pilot", "core may not import pilot"),
        (("models", "dcgan"), "from equipoise import data", "models may not import data"),
        (("models", "dcgan"), "from equipoise.data.ring import Ring", "models may not import data"),
        (("models", "dcgan"), "from equipoise.models.mlp import MLP", "plugs share private files only"),
        (("models", "dcgan"), "def f():\n    from equipoise.models import mlp", "plugs share private files only"),
        (("diagnosis", "symptoms"), "from equipoise.diagnosis import signals", None),
        (("metrics", "kd_digits"), "from equipoise.diagnosis.signals import rank", "metrics may not import diagnosis"),
        (("training", "loop"), "from equipoise.models.dcgan import DCGAN", "training may not import models"),
        (("evaluation", "x"), "from equipoise.metrics._kernel import y", "a private file is for its own folder"),
        (("nn", "augment"), "from equipoise.losses import penalties", "nn may not import losses"),
        (("core", "model"), "from equipoise.core.knobs import Knobs", None),
        (("errors",), "from equipoise.core.model import Model", "errors may not import core"),
        (("pilot", "pilot"), "import equipoise", "modules of the package do not import the public API"),
    ],
)
def test_violations_would_be_reported(module: tuple[str, ...], line: str, problem: str | None) -> None:
    reported = violations(Source(module, ast.parse(line)))
    assert [text.partition(": ")[2] for text in reported] == ([] if problem is None else [problem])


def test_few_folders_build_plugs_by_name() -> None:
    readers = {source.folder for source in SOURCES if ("core", "catalog") in imported_modules(source.tree)}
    assert readers - {"core", ""} <= BUILD_PLUGS_BY_NAME
    assert "pilot" in readers


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_some_modules_do_not_import_torch(part: str) -> None:
    start = tuple(part.split("."))
    modules = [name for name in MODULES if name and name[: len(start)] == start]
    assert modules
    for name in modules:
        assert not [target for target in imported_names(MODULES[name].tree) if target[0] in ("torch", "torchvision")], (
            name
        )
        for other in reachable(name):
            names = imported_names(at_import(MODULES[other].tree))
            assert not [target for target in names if target[0] == "torch"], f"{name} through {other}"


def test_an_import_of_torch_would_be_reported() -> None:
    assert ("torch",) in {name[:1] for name in imported_names(MODULES["core", "model"].tree)}
    assert ("core", "knobs") in reachable(("core", "events")), "through observations"
