"""What a training of a policy has done so far: one line of JSON each, so that it goes on after a kill."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import RunError, SettingError, unwritable


def lines_of(path: Path, digest: str) -> list[dict[str, Any]]:
    """What a journal holds, but for a last line that a kill cut short; nothing if there is none. Writes nothing.

    Raises SettingError if it is damaged or of another plan, RunError if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    try:
        lines = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise SettingError(f"{path} is damaged: {error}; delete it to begin anew") from error
    if lines and lines[0].get("plan") != digest:
        raise SettingError(
            f"{path} is of another plan, or of other versions of what trains; delete it to begin anew, or choose "
            "another --out"
        )
    return lines


class Journal:
    """A file of lines, the first of which names the plan. What was written stays; a torn end is cut off in place."""

    def __init__(self, path: Path, digest: str) -> None:
        """Go on with a journal, or begin one; :func:`held` keeps others away.

        Raises SettingError if it is of another plan, RunError if the disk refuses.
        """
        self.path = path
        self.lines = lines_of(path, digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
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
