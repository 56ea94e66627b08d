"""Comparison of two runs: their weights, samples, checkpoints and events."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.runs.run import Run
from equipoise.training import checkpoint


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def final_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Return weights and samples of a run, and every tensor of its last checkpoint with random states."""

    def read(folder: Path) -> dict[str, bytes]:
        paths = (*folder.glob("*.safetensors"), *folder.glob("samples/*"))
        result = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        tensors = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
        return result | {name: value.numpy().tobytes() for name, value in tensors.items()}

    return read


@pytest.fixture(scope="session")
def valid_events() -> Callable[[Path], list[Any]]:
    """Return the valid events of a run without times and without resumed lines."""

    def without_clock(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_clock(item) for name, item in value.items() if name != "seconds"}
        return [without_clock(item) for item in value] if isinstance(value, list) else value

    return lambda folder: [without_clock(line) for line in Run(folder).lines() if line["event"] != "resumed"]


@pytest.fixture(scope="session")
def assert_equal_runs(
    final_bytes: Callable[[Path], dict[str, bytes]], valid_events: Callable[[Path], list[Any]]
) -> Callable[[Path, Path], None]:
    """Check that two runs have the same bytes and events."""

    def check(folder: Path, expected: Path) -> None:
        files, expected_files = final_bytes(folder), final_bytes(expected)
        assert files.keys() == expected_files.keys()
        assert [name for name in expected_files if files[name] != expected_files[name]] == []
        assert valid_events(folder) == valid_events(expected)

    return check
