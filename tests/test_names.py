"""Names and sizes: plain words in identifiers and file names, one meaning per public name, short files."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import equipoise

ROOT = Path(next(iter(equipoise.__path__)))
FILES = sorted(ROOT.rglob("*.py"))
BANNED = frozenset(
    {
        *("ails", "ailing", "anew", "asked", "blank", "cautions", "common", "course", "engine", "found", "handler"),
        *("helper", "judged", "levers", "likeness", "looks", "manager", "mended", "misc", "overwriting", "planned"),
        *("said", "specimens", "stage", "steering", "telling", "told", "util", "walk", "worker"),
    }
)
BANNED_ANYWHERE = ("netg", "errd")
LONGEST_FUNCTION = 45
LONGEST_FILE = 320
LONGEST_MODEL = 200
"""Lines of a model's file: paper, options, presets and the model; networks and losses are in files next to it."""
MAX_ANY = 100


def words(name: str) -> set[str]:
    """Return the words of a name, with and without a plural s; equal for "EventHandlers" and "event_handlers"."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def is_banned(name: str) -> bool:
    return bool(words(name) & BANNED) or any(word in name.lower().replace("_", "") for word in BANNED_ANYWHERE)


def defined_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of every class, function, argument, variable and attribute that the source defines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.arg(arg=name)
            ):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name


def public_names(path: Path) -> Iterator[str]:
    """Yield the classes and type aliases at the top of a module whose names have no leading underscore."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        for name in names:
            is_type_variable = isinstance(node, ast.Assign) and "TypeVar" in ast.unparse(node.value)
            if name[0].isupper() and not name.isupper() and not is_type_variable:
                yield name


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_identifiers_are_plain_words() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in FILES
        for line, name in defined_names(path.read_text())
        if is_banned(name)
    ] == []


def test_file_names_are_plain_words() -> None:
    names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if "__pycache__" not in path.parts]
    assert [str(name) for name in names if any(is_banned(part.partition(".")[0]) for part in name.parts)] == []


@pytest.mark.parametrize(
    "name",
    ["EventHandler", "helpers", "utils", "data_manager", "misc", "common", "Engine", "worker_pool", "netG", "errD_of"],
)
def test_banned_names_would_be_reported(name: str) -> None:
    assert is_banned(name)
    for source in (
        f"{name} = 1",
        f"def {name}(): ...",
        f"def f({name}): ...",
        f"class {name}: ...",
        f"self.{name} = 1",
    ):
        assert name in [identifier for _, identifier in defined_names(source)]


@pytest.mark.parametrize("name", ["uncommon", "Generator", "network_generator", "utilisation", "miscount", "networks"])
def test_other_names_are_allowed(name: str) -> None:
    assert not is_banned(name)


def test_no_public_name_is_defined_twice() -> None:
    homes = defaultdict(list)
    for path in FILES:
        for name in public_names(path):
            homes[name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
    assert "Model" in homes


def test_files_and_functions_are_short() -> None:
    sizes = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in FILES}
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST_FILE} == {}
    models = {name: lines for name, lines in sizes.items() if re.match(r"models/[a-z]", name)}
    assert {name: lines for name, lines in models.items() if lines > LONGEST_MODEL} == {}
    assert len(models) > 20
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in functions(ast.parse(path.read_text()))
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_any_is_rare() -> None:
    count = sum(len(re.findall(r"\bAny\b", path.read_text())) for path in FILES)
    assert count <= MAX_ANY
