"""All runs of a folder, by the names of their folders."""

from pathlib import Path

from equipoise.errors import RunError, UnknownRunError
from equipoise.runs.run import Run, find_runs


class RunIndex:
    """The runs directly below a folder, or that folder alone if it is a run.

    The id of a run is the name of its folder. It is compared with the names in the folder, and never becomes part of a
    path, so that no other folder can be named.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """List the ids of all runs, sorted. Raises RunError if the folder cannot be read."""
        return [run.name if run.folder == self.root else run.folder.name for run in find_runs(self.root)]

    def run(self, name: str) -> Run:
        """Return the run with an id. Raises UnknownRunError if there is none, for instance because it was deleted."""
        try:
            runs = find_runs(self.root)
        except RunError:
            runs = []
        for run in runs:
            if name == (run.name if run.folder == self.root else run.folder.name):
                return run
        raise UnknownRunError(name, self.root)
