"""Processes that train together, and last for the tests of a module."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SIZE = 2


@pytest.fixture(scope="module")
def start_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Callable[..., Any]]]:
    """Return a function that starts a script with rank_server.py in two processes, and returns another one.

    That one runs a check, named by its first word, in both; it returns their results.
    """
    processes: list[subprocess.Popen[str]] = []

    def run(*words: object) -> list[dict[str, Any]]:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(" ".join(map(str, words)) + "\n")
            process.stdin.flush()
        results = [json.loads(process.stdout.readline()) for process in processes if process.stdout is not None]
        assert not any("error" in result for result in results), "\n".join(str(result) for result in results)
        return results

    def start(script: Path) -> Callable[..., Any]:
        folder = tmp_path_factory.mktemp("ranks")
        for rank in range(SIZE):
            command = [sys.executable, str(script), str(folder), str(rank)]
            processes.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
            )
        return run

    yield start
    for process in processes:
        process.communicate()
        assert process.returncode == 0
