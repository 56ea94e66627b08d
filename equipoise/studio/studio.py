"""The state of a studio that all its routes share."""

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.runs.run_index import RunIndex


@dataclass(frozen=True)
class Studio:
    """A studio of the runs in one folder.

    `trust_code`: whether the code that runs of the folder name, such as the module of a model, may be imported.
    `command`: the words that start `equipoise`. `stopping`: set when the server stops, so that streams end.
    `resources`: closed when the server stops, such as processes.
    """

    root: Path
    runs: RunIndex
    trust_code: bool = False
    command: tuple[str, ...] = (sys.executable, "-m", "equipoise")
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
