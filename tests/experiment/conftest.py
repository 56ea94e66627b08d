"""Runs that are killed in another process, and the comparison of two runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.runs.run import Run
from equipoise.training import checkpoint

TIMEOUT = 240.0
"""Seconds until a process is too slow."""
CLOCKS = ("seconds", "cpu_seconds")
"""Fields of events that hold times."""


@pytest.fixture(scope="session")
def start_process() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a command in another process."""

    def start(*args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "equipoise", *(str(arg) for arg in args)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # the tests may run in a background process, which ignores the signal

    return start


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], subprocess.Popen[str]], None]:
    """Return a function that waits for a condition; the process must not end before."""

    def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert process.poll() is None, "the process ended too early"
            assert time.monotonic() < deadline, "the process is too slow"
            time.sleep(0.001)

    return wait


@pytest.fixture(scope="session")
def kill_after_second_checkpoint(start_process, wait_until) -> Callable[..., None]:
    """Return a function that starts a training in another process and kills it after its second checkpoint."""

    def kill(folder: Path, *args: object) -> None:
        process = start_process(*args, "--out", folder)
        wait_until(lambda: len(checkpoint.find(folder / "checkpoints")) >= 2, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (folder / "generator.safetensors").exists()

    return kill


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
            return {name: without_clock(item) for name, item in value.items() if name not in CLOCKS}
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
