"""One job of a comparison: `python -m equipoise.comparison FOLDER NAME`. Called by the comparison itself.

Ends with 0 when the job is done, 2 and a line when it cannot be, 130 when it was stopped; a run that was stopped, by
SIGTERM, Ctrl-C or the end of the process that called it, is saved and goes on when called again.
"""

import os
import signal
import sys
from pathlib import Path

from equipoise.comparison import follow, planned
from equipoise.comparison.folder import Folder, opened
from equipoise.comparison.jobs import jobs
from equipoise.errors import EquipoiseError, UnknownNameError


def main(words: list[str]) -> int:
    """Do the job of this name."""
    folder, name = Folder(Path(words[0])), words[1]
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    parent = os.getppid()
    try:
        known = {job.name: job for job in jobs(opened(folder)[0])}
        if name not in known:
            raise UnknownNameError("job", name, known)
        what = known[name].what
        if isinstance(what, planned.Setting):
            follow.measure_anchors(folder, what)
            return 0
        done = follow.follow(folder, what, lambda: bool(asked) or os.getppid() != parent)
    except EquipoiseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if done else follow.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
