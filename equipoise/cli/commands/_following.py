"""Following a run as it trains: what is printed, how it is stopped, and how it ends."""

import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.cli.commands._answer import answer
from equipoise.core.observations import SERIOUS
from equipoise.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from equipoise.core.events import Finished

UNHEALTHY, INTERRUPTED = 3, 130


def follow(begin: "Callable[[Callable[[], bool]], Iterator[Any]]", folder: Path, as_json: bool) -> int:
    """Print a run as it goes; its film and report, its last lines, its exit code.

    `begin`: makes its events of what tells whether it was asked to stop.
    """
    from equipoise.cli.terminal import show

    with stoppable() as interrupted:
        finished = show(begin(interrupted), quiet=as_json)
    page = film = None
    if finished.reason == "interrupted":
        last = f"stopped after step {finished.step}, everything is saved; go on with: equipoise resume {folder}"
    else:
        from equipoise.cli.commands._reporting import report, told
        from equipoise.errors import unwritable

        try:
            page, film = report(folder)
        except OSError as error:
            raise RunError(unwritable(folder, error)) from error
        except KeyboardInterrupt:
            print(
                f"\nequipoise: stopped; the run is whole, its report is not: equipoise report {folder}", file=sys.stderr
            )
            return INTERRUPTED
        last = told(page, film)
    made = {name: str(path) if path else None for name, path in (("report", page), ("film", film))}
    how = {name: getattr(finished, name) for name in ("step", "images", "seconds", "reason", "verdict")}
    ailing = finished.verdict != "healthy" and finished.reason != "interrupted"
    answer(as_json, {"run": str(folder), **made, **how}, f"{last}\n{_complaint(finished, folder)}" if ailing else last)
    return INTERRUPTED if finished.reason == "interrupted" else UNHEALTHY if ailing else 0


def _complaint(finished: "Finished", folder: Path) -> str:
    """The last line of a run that did not end well."""
    from equipoise.runs.run_folder import Run

    if finished.verdict == "diverged":
        return f"the run diverged at step {finished.step}: a loss or gradient was not finite; lower lr_d and lr_g"
    findings = Run(folder).named("sensed")[-1]["health"]["findings"]
    named = ", ".join(one["symptom"].replace("_", " ") for one in findings if one["severity"] >= SERIOUS)
    return f"the run ended ailing: {named}; see equipoise diagnose {folder}"


@contextmanager
def stoppable() -> "Iterator[Callable[[], bool]]":
    """The first Ctrl-C (or SIGTERM) asks the loop to save and stop; the second stops at once."""
    args = False

    def ask(number: int, frame: object) -> None:
        nonlocal args
        if args:
            sys.exit(INTERRUPTED)
        args = True
        print("\nsaving after this step; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: args
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
