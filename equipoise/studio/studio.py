"""The state of a studio that all its routes share."""

import asyncio
import contextlib
import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.runs.run_index import RunIndex
from equipoise.studio.explorer import Explorer
from equipoise.studio.launch import Launcher


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

    @functools.cached_property
    def explorer(self) -> Explorer:
        """The explorer, whose process starts at its first request and ends with the studio."""
        explorer = Explorer(self.trust_code)
        self.resources.callback(explorer.close)
        return explorer

    @functools.cached_property
    def launcher(self) -> Launcher:
        """Starts and resumes runs, in processes that outlive the studio."""
        return Launcher(self.command)
