"""What a training of a policy has done so far: one line of JSON each, so that it goes on after a kill."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import RunError, SettingError
from equipoise.runs import unwritable


class Journal:
    """A file of lines, the first of which names the plan. A line cut short by a kill is dropped."""

    def __init__(self, path: Path, digest: str) -> None:
        """Open a journal, or begin one. Raises SettingError if it is of another plan."""
        self.path = path
        self.lines: list[dict[str, Any]] = []
        whole = b""
        try:
            if path.exists():
                content = path.read_bytes()
                whole = content[: content.rfind(b"\n") + 1]
                self.lines = [json.loads(line) for line in whole.splitlines()]
        except OSError as error:
            raise RunError(unwritable(path.parent, error)) from error
        except ValueError as error:
            raise SettingError(f"{path} is damaged: {error}; delete it to begin anew") from error
        if self.lines and self.lines[0].get("plan") != digest:
            raise SettingError(f"{path} is of another plan; delete it to begin anew, or choose another --out")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(whole)
        except OSError as error:
            raise RunError(unwritable(path.parent, error)) from error
        self._clock = time.process_time()
        if not self.lines:
            self.add({"plan": digest})

    def add(self, line: Mapping[str, Any]) -> None:
        """One more line, on the disk when this returns; `cpu`: seconds of CPU since the one before it."""
        now = time.process_time()
        line, self._clock = {**line, "cpu": round(now - self._clock, 2)}, now
        with self.path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(line)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All lines that have this key, in order."""
        return [line for line in self.lines if kind in line]
