"""Progress on standard error: a bar with the main signals in a terminal, else one line per interval."""

import time
from collections.abc import Collection, Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import TaskID

from equipoise.cli import signals
from equipoise.cli.output import Verbosity
from equipoise.cli.progress_bar import TrainingBar, make_task_bar, signal_parts
from equipoise.core.events import (
    MANUAL,
    REPAIR,
    Evaluated,
    Event,
    Finished,
    Remedied,
    Requested,
    Resumed,
    Sensed,
    Skipped,
    Started,
    Stepped,
    Turned,
)
from equipoise.core.printing import MAX_LISTED, agree, format_count, format_more, printable
from equipoise.report.formatting import format_duration

INTERVAL = 10.0
"""Seconds between two lines of progress if the output is not a terminal, and between two reports of the same knob."""
ESTIMATE_STEP = 10
"""Step after which the time and memory of the run are estimated."""
RATE_STEPS = 100
"""Number of steps over which the speed is averaged."""
FINISH_REASONS = {
    "images": "limit of images",
    "seconds": "time limit",
    "equilibrium": "equilibrium",
}
"""Text for each reason to finish before the last step; other reasons are printed unchanged."""

T = TypeVar("T")


@dataclass(frozen=True)
class RunDisplay:
    """How the progress of a run is shown.

    `scheduled`: knobs that follow a schedule; their changes are in the log and the report, and printed if verbose.
    `after_seconds`: estimated duration of what follows the training, for the time left.
    """

    verbosity: Verbosity = Verbosity.NORMAL
    scheduled: Collection[str] = ()
    after_seconds: float = 0.0


class Step(Protocol):
    """Progress of one part of a long task: `done` of `total` items of `task`."""

    @property
    def task(self) -> str:
        """Name of the part."""

    @property
    def done(self) -> int:
        """Number of finished items."""

    @property
    def total(self) -> int:
        """Number of all items."""

    @property
    def note(self) -> str | None:
        """Information for the user; None if there is none."""


def show_run(events: Iterator[Event], display: RunDisplay) -> Finished:
    """Print the events of a run as they arrive, and return the last one."""
    is_quiet = display.verbosity is Verbosity.QUIET
    console = make_console(quiet=is_quiet)
    bar = TrainingBar(console, display.after_seconds) if console.is_terminal and not is_quiet else None
    with bar.progress if bar else nullcontext():
        lines = _ProgressLines(console, display, bar)
        for event in events:
            lines.show(event)
            if isinstance(event, Finished):
                return event
    raise AssertionError("the last event of a run is Finished")


def show_preparation(steps: Iterator[Step], *, quiet: bool = False, with_notes: bool = True) -> list[str]:
    """Print the progress of data preparation, and notes on the data unless `with_notes` is off; return the notes."""
    notes: list[str] = []

    def collect() -> Generator[Step, None, None]:
        for step in steps:
            notes.extend([step.note] if step.note else [])
            yield step

    show_steps(collect(), quiet=quiet, with_notes=with_notes)
    return notes


def show_steps(steps: Generator[Step, None, T], *, quiet: bool = False, with_notes: bool = True) -> T:
    """Show a bar per task in a terminal, else a line per interval, and the notes; return the generator's result."""
    signals.install()
    console = make_console(quiet=quiet)
    with make_task_bar(console, is_active=console.is_terminal and not quiet) as progress:
        bars: dict[str, TaskID] = {}
        last = time.monotonic()
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            if step.task not in bars:
                bars[step.task] = progress.add_task(printable(step.task))
            progress.update(bars[step.task], completed=step.done, total=step.total)
            if step.note and with_notes:
                _print(progress.console, step.note)
            elif not console.is_terminal and time.monotonic() - last >= INTERVAL:
                last = time.monotonic()
                _print(console, f"{step.task}: {step.done:,} of {step.total:,}")


def make_console(*, quiet: bool = False) -> Console:
    """Return a console for standard error that prints text as it is: without markup, emoji codes and highlights."""
    return Console(stderr=True, quiet=quiet, markup=False, emoji=False, highlight=False)


def _print(console: Console, text: str) -> None:
    console.print(printable(text, keep="\n"), soft_wrap=True)


class _ProgressLines:
    """Prints the events of a run. The readings are shown in the bar, or without one as one line per interval.

    If verbose and without a bar, every reading is printed.
    """

    def __init__(self, console: Console, display: RunDisplay | None = None, bar: TrainingBar | None = None) -> None:
        self.console = console
        self.display = display or RunDisplay()
        self.bar = bar
        self.steps = 0
        self.last = time.monotonic()
        self.rate = _Rate()
        self.messages = _RareEvents(self.display)

    def show(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Started():
                self.steps = event.steps
            case Stepped():
                self.rate.update(event)
                if event.step == ESTIMATE_STEP and self.steps:
                    _print(self.console, _estimate_text(self.rate, self.steps))
            case Sensed() if self.bar is None:
                self._print_reading(event)
        if self.bar:
            self.bar.update(event, self.rate.images)
        if text := self.messages.format(event):
            _print(self.console, text)

    def _print_reading(self, event: Sensed) -> None:
        if self.display.verbosity is Verbosity.VERBOSE or time.monotonic() - self.last >= INTERVAL:
            self.last = time.monotonic()
            speed = (f"{self.rate.images:.0f} samples/s",) if self.rate.images else ()
            parts = (f"step {event.step}", f"{event.progress:.0%}", *speed, *signal_parts(event))
            _print(self.console, "  ".join(parts))


class _Rate:
    """Images and steps per second, averaged over the last steps."""

    def __init__(self) -> None:
        self.images = 0.0
        self.steps = 0.0
        self._marks: list[tuple[float, int, int]] = []

    def update(self, event: Stepped) -> None:
        self._marks = [*self._marks[-RATE_STEPS:], (event.seconds, event.images, event.step)]
        (first_seconds, images, step), (seconds, *_) = self._marks[0], self._marks[-1]
        if seconds > first_seconds:
            self.images = (event.images - images) / (seconds - first_seconds)
            self.steps = (event.step - step) / (seconds - first_seconds)


class _RareEvents:
    """Formats the start, evaluations, decisions, remedies and the end of a run.

    A knob is reported at most once per interval, and if it follows a schedule not at all; if verbose, every change is.
    """

    def __init__(self, display: RunDisplay) -> None:
        self._display = display
        self._reported: dict[str, tuple[float, float]] = {}

    def format(self, event: Event) -> str:
        """Format an event; empty if the event is not reported."""
        match event:
            case Started():
                return _started_text(event)
            case Resumed():
                return f"resuming from step {event.step}"
            case Evaluated():
                return f"step {event.step}: {event.metric} {event.value:.4g} ({event.better} is better)"
            case Turned():
                return self._knob_text(event)
            case Requested():
                return _request_text(event)
            case Remedied():
                return _remedy_text(event)
            case Skipped():
                return _skipped_text(event)
            case Finished():
                return _finished_text(event)
        return ""

    def _knob_text(self, event: Turned) -> str:
        last_value = event.before
        if self._display.verbosity is not Verbosity.VERBOSE:
            if event.by in (REPAIR, MANUAL) or event.knob in self._display.scheduled:
                return ""
            now = time.monotonic()
            last_time, last_value = self._reported.get(event.knob, (-INTERVAL, event.before))
            if now - last_time < INTERVAL or f"{last_value:.3g}" == f"{event.after:.3g}":
                return ""
            self._reported[event.knob] = now, event.after
        change = f"{event.knob} from {last_value:.3g} to {event.after:.3g}"
        return f"step {event.step}: {event.by} changed {change}: {event.why}"


def _started_text(event: Started) -> str:
    networks = ", ".join(f"{name} {count:,} weights" for name, count in event.parameters.items())
    text = f"{event.steps} steps, batch size {event.batch_size}, {event.precision}; {networks}"
    text = "\n".join((text, *event.notes))
    if event.reals:
        low, high = event.reals["low"], event.reals["high"]
        text += (
            f"\nthe first reals range from {low:.2g} to {high:.2g}, although the range of the model is -1 to 1; "
            "look at the data: equipoise inspect FOLDER"
        )
    if event.transferred:
        shares = ", ".join(f"{share:.0%} of the {name}" for name, share in event.transferred.items())
        text += f"\nweights transferred: {shares}; other layers are initialised from scratch"
    if event.adversarial_start > 0 and event.steps <= event.adversarial_start:
        text += (
            f"\nno adversarial training in this run: it would begin after step {event.adversarial_start:,}; "
            "increase --steps"
        )
    return text


def _estimate_text(rate: _Rate, steps: int) -> str:
    from equipoise.experiment.estimates import peak_memory

    seconds = steps / max(rate.steps, 1e-9)
    return f"estimated time {format_duration(seconds)}, memory {peak_memory() / 2**30:.1f} GiB"


def _request_text(event: Requested) -> str:
    """Format a request of a person: "step 650: lr_d is held at 0.0001, by studio"."""
    texts = {"turn": f"{event.knob} is held at {event.value}", "release": f"{event.knob} is released"}
    texts |= {"note": f"note: {event.text}"}
    text = texts.get(event.action, f"{event.action} requested") + (f", by {event.by}" if event.by else "")
    if event.refused:
        text = f"request refused ({event.action} {event.knob or event.request}): {event.refused}"
    return f"step {event.step}: {text}"


def _remedy_text(event: Remedied) -> str:
    rollback = [] if event.restored is None else [f"rollback to step {event.restored}"]
    actions = rollback + [f"{override.knob} {override.base:.3g} → {override.value:.3g}" for override in event.overrides]
    until = f" until step {event.until}" if event.overrides else ""
    symptom = event.finding.symptom.replace("_", " ")
    return f"step {event.step}: {symptom}: {', '.join(actions) or 'no action'}{until}"


def _skipped_text(event: Skipped) -> str:
    """Format damaged files: "step 650: 2 images cannot be used, and were replaced: a.tar/1.jpg (truncated), …"."""
    count, verb = format_count(len(event.files), "image"), agree(len(event.files), "was", "were")
    listed = ", ".join(f"{path} ({reason})" for path, reason in list(event.files.items())[:MAX_LISTED])
    more = format_more(len(event.files) - MAX_LISTED)
    return f"step {event.step}: {count} cannot be used and {verb} replaced by others: {listed}{more}; see skipped.txt"


def _finished_text(event: Finished) -> str:
    """Format the end of a run: "finished: 150 steps in 12 s; healthy"."""
    amount = f"{event.step} steps in {format_duration(event.seconds)}"
    verdict = "health unknown" if event.verdict == "unknown" else event.verdict
    if event.reason in ("interrupted", "diverged"):
        return f"{event.reason}: {amount}; {verdict}"
    reason = "" if event.reason == "steps" else f" ({FINISH_REASONS.get(event.reason, event.reason)})"
    return f"finished: {amount}{reason}; {verdict}"
