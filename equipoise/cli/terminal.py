"""Progress of a run on standard error: a bar with the main signals in a terminal, else one line per interval."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from equipoise.core.data import Preparation
from equipoise.core.events import (
    REPAIR,
    Evaluated,
    Event,
    Finished,
    Remedied,
    Resumed,
    Saved,
    Sensed,
    Started,
    Stepped,
    Turned,
)
from equipoise.report.formatting import format_duration

INTERVAL = 10.0
"""Seconds between two lines of progress if the output is not a terminal."""
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


def show_run(events: Iterator[Event], *, quiet: bool = False) -> Finished:
    """Print the events of a run as they arrive, and return the last one."""
    console = Console(stderr=True, quiet=quiet)
    with ExitStack() as stack:
        has_bar = console.is_terminal and not quiet
        display: _ProgressBar | _ProgressLines = _ProgressBar(console, stack) if has_bar else _ProgressLines(console)
        for event in events:
            display.show(event)
            if isinstance(event, Finished):
                return event
    raise AssertionError("the last event of a run is Finished")


def show_preparation(steps: Iterator[Preparation], *, quiet: bool = False) -> None:
    """Print the progress of data preparation, and notes on the data."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        bars: dict[str, TaskID] = {}
        last = time.monotonic()
        for step in steps:
            if step.task not in bars:
                bars[step.task] = progress.add_task(step.task)
            progress.update(bars[step.task], completed=step.done, total=step.total)
            if step.note:
                progress.console.print(step.note, highlight=False, soft_wrap=True, markup=False)
            elif not console.is_terminal and time.monotonic() - last >= INTERVAL:
                last = time.monotonic()
                console.print(f"{step.task}: {step.done:,} of {step.total:,}", highlight=False)


class _ProgressLines:
    """Prints progress as one line per interval, for output that is not a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps = 0
        self.last = time.monotonic()
        self.rate = _Rate()
        self.messages = _RareEvents()

    def show(self, event: Event) -> None:
        match event:
            case Started():
                self.steps = event.steps
                self.console.print(_started_text(event), highlight=False, soft_wrap=True)
            case Resumed():
                self.console.print(f"resuming from step {event.step}", highlight=False)
            case Stepped():
                self.rate.update(event)
                if event.step == ESTIMATE_STEP and self.steps:
                    self.console.print(_estimate_text(self.rate, self.steps), highlight=False)
            case Sensed() if time.monotonic() - self.last >= INTERVAL:
                self.last = time.monotonic()
                speed = f"{self.rate.images:.0f} samples/s"
                text = f"step {event.step}  {event.progress:.0%}  {speed}  {format_signals(event)}"
                self.console.print(text, highlight=False, soft_wrap=True)
            case Evaluated() | Turned() | Remedied() | Finished():
                if text := self.messages.format(event):
                    self.console.print(text, highlight=False, soft_wrap=True)


class _ProgressBar:
    """Shows a progress bar, and prints evaluations, knob changes and remedies above it."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self.progress = stack.enter_context(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[signals]}"),
                console=console,
            )
        )
        self.bar: TaskID = self.progress.add_task("training", total=None, signals="")
        self.rate = _Rate()
        self.messages = _RareEvents()
        self.steps = 0

    def show(self, event: Event) -> None:
        match event:
            case Started():
                self.steps = event.steps
                self.progress.update(self.bar, total=event.steps)
                self.progress.console.print(_started_text(event), highlight=False)
            case Resumed():
                self.progress.console.print(f"resuming from step {event.step}", highlight=False)
            case Stepped():
                self.rate.update(event)
                self.progress.update(self.bar, completed=event.step)
                if event.step == ESTIMATE_STEP and self.steps:
                    self.progress.console.print(_estimate_text(self.rate, self.steps), highlight=False)
            case Sensed():
                if event.progress:
                    self.progress.update(self.bar, total=round(event.step / event.progress))
                self.progress.update(self.bar, signals=f"{self.rate.images:.0f} samples/s  {format_signals(event)}")
            case Saved():
                self.progress.update(self.bar, description=f"saved {event.step}")
            case Evaluated() | Turned() | Remedied() | Finished():
                if text := self.messages.format(event):
                    self.progress.console.print(text, highlight=False)


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
    """Formats evaluations, knob changes, remedies and the end. A knob is reported at most once per interval."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[float, float]] = {}

    def format(self, event: Evaluated | Turned | Remedied | Finished) -> str:
        """Format an event in one line; empty if the event is not reported."""
        match event:
            case Evaluated():
                return f"step {event.step}: {event.metric} {event.value:.4g} ({event.better} is better)"
            case Turned():
                return "" if event.by == REPAIR else self._knob_text(event)
            case Remedied():
                return _remedy_text(event)
            case Finished():
                return _finished_text(event)

    def _knob_text(self, event: Turned) -> str:
        now = time.monotonic()
        last_time, last_value = self._reported.setdefault(event.knob, (now, event.before))
        if now - last_time < INTERVAL:
            return ""
        self._reported[event.knob] = now, event.after
        change = f"{event.knob} from {last_value:.3g} to {event.after:.3g}"
        return f"step {event.step}: {event.by} changed {change}: {event.why}"


def format_signals(event: Sensed) -> str:
    """Format the main signals of a reading in one line."""
    signals = event.signals
    values = {
        "loss D": signals.loss_d,
        "G": signals.loss_g,
        "D(x)": signals.probability_real,
        "D(G(z))": signals.probability_fake,
        "rank": signals.rank_train_fake,
        "held-out rank": signals.rank_train_held_out,
    }
    return "  ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)


def _started_text(event: Started) -> str:
    networks = ", ".join(f"{name} {count:,} weights" for name, count in event.parameters.items())
    text = f"{event.steps} steps, batch size {event.batch_size}, {event.precision}; {networks}"
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


def _remedy_text(event: Remedied) -> str:
    rollback = [] if event.restored is None else [f"rollback to step {event.restored}"]
    actions = rollback + [f"{override.knob} {override.base:.3g} → {override.value:.3g}" for override in event.overrides]
    until = f" until step {event.until}" if event.overrides else ""
    symptom = event.finding.symptom.replace("_", " ")
    return f"step {event.step}: {symptom}: {', '.join(actions) or 'no action'}{until}"


def _finished_text(event: Finished) -> str:
    """Format the end of a run: "finished: 150 steps in 12 s; healthy"."""
    amount = f"{event.step} steps in {format_duration(event.seconds)}"
    if event.reason in ("interrupted", "diverged"):
        return f"{event.reason}: {amount}; {event.verdict}"
    reason = "" if event.reason == "steps" else f" ({FINISH_REASONS.get(event.reason, event.reason)})"
    return f"finished: {amount}{reason}; {event.verdict}"
