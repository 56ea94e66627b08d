"""Type checkers see the public names: of the lazy imports of the package, and in an editable install."""

import ast
import tomllib
from pathlib import Path

import equipoise

ROOT = Path(__file__).parents[2]


def test_names_for_type_checkers_are_the_public_names() -> None:
    tree = ast.parse(Path(equipoise.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.asname: str(node.module).removeprefix("equipoise.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == equipoise._HOMES


def test_editable_install_is_a_path() -> None:
    """With `package-dir`, setuptools writes a .pth file with the folder; otherwise an import hook that mypy ignores."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"": "."}
    assert "py.typed" in settings["package-data"]["equipoise"]
    assert (ROOT / "equipoise" / "py.typed").exists()
