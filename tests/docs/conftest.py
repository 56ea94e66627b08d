"""Pages of the docs and the script that builds their generated parts."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def reference(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script that builds the generated parts."""
    return load_script("build_reference")


@pytest.fixture
def working_directory(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory from which modules can be imported; those of examples are unloaded at the end."""
    monkeypatch.syspath_prepend(str(working_directory))
    yield working_directory
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def build_site(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script that collects the pages of the site."""
    return load_script("build_site")
