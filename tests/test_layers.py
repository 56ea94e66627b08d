"""Who may import whom, and how things are called: read from the syntax trees, so that nothing need be imported."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import equipoise

ROOT = Path(next(iter(equipoise.__path__)))

# The table of the design; 6 and 8 also have the modules that `experiment` and `cli` came to need.
LAYERS = (
    {"errors"},
    {
        *("base", "bounds", "knobs", "observations", "events", "schedules", "catalog", "quality", "student", "tokens"),
        "walk",
    },
    {"nn", "losses", "policy"},
    {
        *("zoo", "data", "controllers", "metrics", "diagnosis"),
        *("steering", "snapshots", "telling", "overwriting", "identity", "locks"),
    },
    {"pilot", "runs", "brief"},
    {"training", "replay", "lightning"},
    {
        *("folders", "experiment", "launch", "estimating", "generator", "sampling"),
        *("latent_space", "export", "evaluation", "judged", "specimens", "neighbours", "preview", "translation"),
    },
    {"meta", "report"},
    {"comparison"},
    {"__main__", "cli", "commands", "arguments", "terminal", "tracking", "studio"},
)
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
# One idea in several files, which may see each other as long as no circle closes.
TOGETHER = {1, 6, 9}
PLUGS = {"zoo", "data", "controllers", "metrics"}
WITHOUT_TORCH = (
    "errors",
    "bounds",
    "locks",
    "policy",
    "knobs",
    "observations",
    "events",
    "schedules",
    "catalog",
    "runs",
    "report",
)
NAMES_BECOME_OBJECTS_IN = {
    "pilot",
    "brief",
    "controllers",  # a chain is of controllers by name
    "folders",
    "experiment",
    "launch",
    "generator",
    "judged",
    "translation",
    "evaluation",
    "neighbours",
    "comparison",
    "meta",
    "cli",
    "commands",
    "arguments",
    "terminal",
    "studio",
}
BANNED = {"manager", "handler", "helper", "util", "misc", "common", "engine", "worker"}
BANNED_ANYWHERE = {"netg", "errd"}


@dataclass(frozen=True)
class Source:
    """A module of the package: `name` is its path below the package, ("zoo", "dcgan")."""

    name: tuple[str, ...]
    tree: ast.Module

    @property
    def part(self) -> str:
        return self.name[0] if self.name else ""

    def __str__(self) -> str:
        return ".".join(("equipoise", *self.name))


def sources() -> list[Source]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = parts[:-1] if parts[-1] == "__init__" else parts
        found.append(Source(name, ast.parse(path.read_text(), str(path))))
    return found


SOURCES = sources()
MODULES = {source.name: source for source in SOURCES}
FACE: tuple[str, ...] = ()


def imported(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Everything that is imported, at the top or within functions; `from a import b` is both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written from the root"
            assert node.module is not None
            yield from ((*node.module.split("."), alias.name) for alias in node.names)


def neighbours(tree: ast.AST) -> set[tuple[str, ...]]:
    """The modules of the package that are imported, by their names below the package."""
    found = set()
    for name in imported(tree):
        if name[0] == "equipoise":
            below = name[1:]
            found.add(below if below in MODULES else below[:-1])
    return found


def complaints(source: Source) -> list[str]:
    """What is wrong with the imports of one module."""
    return [
        f"{source} imports equipoise.{'.'.join(target)}: {wrong}"
        for target in sorted(neighbours(source.tree))
        if (wrong := complaint(source.name, target))
    ]


def complaint(mine: tuple[str, ...], theirs: tuple[str, ...]) -> str | None:
    if mine == FACE:
        return None
    if theirs == FACE:
        return "nothing below it imports the public face"
    here, there = LAYER_OF[mine[0]], LAYER_OF[theirs[0]]
    if mine[0] == theirs[0]:
        private = theirs[-1].startswith("_")
        return "plugs share private files only" if here == 3 and mine[0] in PLUGS and not private else None
    if mine[0] == "training" and theirs[0] in PLUGS:
        return "training receives plugs as arguments"
    if theirs[0] in PLUGS and any(part.startswith("_") for part in theirs[1:]):
        return "a private file is its folder's own"
    if here == there and here in TOGETHER:
        return None
    return None if there < here else f"layer {here} may not see layer {there}"


def words(name: str) -> set[str]:
    """The words of a name, without the s of a plural: "EventHandlers" and "event_handlers" alike."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def is_banned(name: str) -> bool:
    return bool(words(name) & BANNED) or any(word in name.lower().replace("_", "") for word in BANNED_ANYWHERE)


def named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def at_import(tree: ast.Module) -> ast.Module:
    """The part of a module that runs when it is imported: without the bodies of functions."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

    return Strip().visit(ast.parse(ast.unparse(tree)))


def reach(start: tuple[str, ...]) -> set[tuple[str, ...]]:
    """All modules of the package that importing one imports, the packages around them included."""
    seen: set[tuple[str, ...]] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        around = {name[:length] for length in range(1, len(name) + 1)} & MODULES.keys()
        for new in around - seen:
            seen.add(new)
            todo.extend(neighbours(at_import(MODULES[new].tree)))
    return seen


def test_the_walk_sees_the_package() -> None:
    assert len(SOURCES) >= 30
    for name in (("errors",), ("zoo", "dcgan"), ("training", "loop"), ("pilot",), ("zoo", "_adversarial")):
        assert name in MODULES
    assert ("diagnosis", "signals") in neighbours(MODULES["pilot",].tree)
    assert ("catalog",) in neighbours(MODULES["pilot",].tree)
    assert ("training", "step") in neighbours(MODULES["training", "loop"].tree)


def test_every_module_has_a_layer() -> None:
    assert {source.part for source in SOURCES} - {""} <= LAYER_OF.keys()
    assert sum(map(len, LAYERS)) == len(LAYER_OF), "no module has two"


def test_imports_go_strictly_downward() -> None:
    assert [text for source in SOURCES for text in complaints(source)] == []


def test_files_that_stand_together_close_no_circle() -> None:
    for layer in TOGETHER:
        edges = {
            name: {there for there in neighbours(source.tree) if there != name and LAYER_OF.get(there[0]) == layer}
            for name, source in MODULES.items()
            if name and LAYER_OF[name[0]] == layer
        }
        while leaves := {name for name, targets in edges.items() if not targets & edges.keys()}:
            edges = {name: targets for name, targets in edges.items() if name not in leaves}
        assert edges == {}, f"a circle in layer {layer}"


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        (("knobs",), "import equipoise.pilot", "layer 1 may not see layer 4"),
        (("zoo", "dcgan"), "from equipoise import data", "layer 3 may not see layer 3"),
        (("zoo", "dcgan"), "from equipoise.data.ring import Ring", "layer 3 may not see layer 3"),
        (("zoo", "dcgan"), "from equipoise.zoo.mlp import MLP", "plugs share private files only"),
        (("zoo", "dcgan"), "def f():\n    from equipoise.zoo import mlp", "plugs share private files only"),
        (("zoo", "dcgan"), "from equipoise.zoo._adversarial import Adversarial", None),
        (("diagnosis", "symptoms"), "from equipoise.diagnosis import signals", None),
        (("metrics", "kd_digits"), "from equipoise.diagnosis.signals import rank", "layer 3 may not see layer 3"),
        (("training", "loop"), "from equipoise.zoo.dcgan import DCGAN", "training receives plugs as arguments"),
        (("training", "loop"), "from equipoise.metrics import kd_digits", "training receives plugs as arguments"),
        (("pilot",), "from equipoise.controllers.fixed import Fixed", None),
        (("pilot",), "from equipoise.data._arrays import shuffled", "a private file is its folder's own"),
        (("pilot",), "from equipoise.runs import Run", "layer 4 may not see layer 4"),
        (("nn", "augment"), "from equipoise.losses import penalties", "layer 2 may not see layer 2"),
        (("losses", "penalties"), "from equipoise.losses.adversarial import LOSSES", None),
        (("base",), "from equipoise.knobs import Knobs", None),
        (("errors",), "from equipoise.base import Gan", "layer 0 may not see layer 1"),
        (("pilot",), "import equipoise", "nothing below it imports the public face"),
    ],
)
def test_what_is_wrong_would_be_found(module: tuple[str, ...], line: str, wrong: str | None) -> None:
    found = complaints(Source(module, ast.parse(line)))
    assert [text.partition(": ")[2] for text in found] == ([] if wrong is None else [wrong])


def test_names_become_objects_in_few_places() -> None:
    readers = {source.part for source in SOURCES if ("catalog",) in neighbours(source.tree)}
    assert readers - {"catalog", ""} <= NAMES_BECOME_OBJECTS_IN
    assert "pilot" in readers


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_reports_and_the_command_line_need_no_torch(part: str) -> None:
    mine = [name for name in MODULES if name and name[0] == part]
    assert mine
    for name in mine:
        assert not [found for found in imported(MODULES[name].tree) if found[0] in ("torch", "torchvision")], name
        for reached in reach(name):
            names = imported(at_import(MODULES[reached].tree))
            assert not [found for found in names if found[0] == "torch"], f"{name} through {reached}"


def test_torch_would_be_found() -> None:
    assert ("torch",) in {name[:1] for name in imported(MODULES["base",].tree)}
    assert ("base",) in reach(("pilot",))
    assert ("knobs",) in reach(("events",)), "through observations"


def test_no_name_says_nothing() -> None:
    assert [str(source) for source in SOURCES if any(map(is_banned, source.name))] == []
    assert [f"{source}: {name}" for source in SOURCES for name in named(source.tree) if is_banned(name)] == []
    assert sum(1 for source in SOURCES for _ in named(source.tree)) >= 100


@pytest.mark.parametrize(
    "name",
    ["EventHandler", "helpers", "utils", "data_manager", "misc", "common", "Engine", "worker_pool", "netG", "errD_of"],
)
def test_banned_names_would_be_found(name: str) -> None:
    assert is_banned(name)


@pytest.mark.parametrize("name", ["uncommon", "Generator", "network_generator", "utilisation", "miscount", "networks"])
def test_others_would_not(name: str) -> None:
    assert not is_banned(name)
