"""The journal of a policy training, one JSON object per line, from which an interrupted training is resumed."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import RunError, SettingError, unwritable

JournalLine = Mapping[str, Any]


def read_journal(path: Path, digest: str) -> list[JournalLine]:
    """Read a journal without an incomplete last line; return [] if it does not exist. Writes nothing.

    Raises SettingError if it is damaged or belongs to another plan, RunError if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    try:
        lines: list[JournalLine] = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise SettingError(f"{path} is damaged: {error}; delete it to restart") from error
    if lines and lines[0].get("plan") != digest:
        raise SettingError(
            f"{path} belongs to another plan, or was written with other package versions; delete it to restart, or "
            "choose another --out"
        )
    return lines


class Journal:
    """Writer of a journal, the first line of which contains the digest of the plan. Mutable."""

    def __init__(self, path: Path, digest: str) -> None:
        """Open or create a journal, and remove an incomplete last line; a lock must exclude other processes.

        Raises SettingError if it belongs to another plan, RunError if it cannot be written.
        """
        self.path = path
        self.lines = read_journal(path, digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise RunError(unwritable(path.parent, error, has_out=True)) from error
        self._last_cpu = time.process_time()
        if not self.lines:
            self.append({"plan": digest})

    def append(self, line: JournalLine, cpu: float = 0.0) -> None:
        """Append a line and sync it to disk; adds `cpu`, the CPU seconds since the previous line.

        `cpu`: those of other processes.
        """
        now = time.process_time()
        line, self._last_cpu = {**line, "cpu": round(now - self._last_cpu + cpu, 2)}, now
        with self.path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(line)

    def lines_with(self, key: str) -> list[JournalLine]:
        """Return all lines that have a key, in order."""
        return [line for line in self.lines if key in line]
