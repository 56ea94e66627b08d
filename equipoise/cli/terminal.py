"""A run, as a terminal shows it: a bar with what matters; without a terminal one line an interval."""

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

INTERVAL = 10.0
"""Seconds between two lines where there is no terminal."""
FIRST_GUESS = 10
"""Steps after which the time and memory of the run are guessed aloud."""


def show(events: Iterator[Event], *, quiet: bool = False) -> Finished:
    """Print events as they come, to standard error; the last one is returned."""
    console = Console(stderr=True, quiet=quiet)
    with ExitStack() as stack:
        watcher: _Bar | _Lines = _Bar(console, stack) if console.is_terminal and not quiet else _Lines(console)
        for event in events:
            watcher.take(event)
            if isinstance(event, Finished):
                return event
    raise AssertionError("a run ends with Finished")


def show_preparation(steps: Iterator[Preparation], *, quiet: bool = False) -> None:
    """Print how far data are with making themselves ready, and what there is to know of them, to standard error."""
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


class _Lines:
    """One line an interval."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps = 0
        self.last = time.monotonic()
        self.rate = _Rate()
        self.teller = _Teller()

    def take(self, event: Event) -> None:
        match event:
            case Started():
                self.steps = event.steps
                self.console.print(_opening(event), highlight=False, soft_wrap=True)
            case Resumed():
                self.console.print(f"going on from step {event.step}", highlight=False)
            case Stepped():
                self.rate.take(event)
                if event.step == FIRST_GUESS and self.steps:
                    self.console.print(_guess(self.rate, self.steps), highlight=False)
            case Sensed() if time.monotonic() - self.last >= INTERVAL:
                self.last = time.monotonic()
                self.console.print(
                    f"step {event.step}  {event.progress:.0%}  {self.rate.images:.0f} samples/s  {numbers(event)}",
                    highlight=False,
                    soft_wrap=True,
                )
            case Evaluated() | Turned() | Remedied() | Finished():
                if text := self.teller.tell(event):
                    self.console.print(text, highlight=False, soft_wrap=True)


class _Bar:
    """A progress bar; what is turned and measured scrolls above it."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self.progress = stack.enter_context(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"),
                console=console,
            )
        )
        self.bar: TaskID = self.progress.add_task("training", total=None, numbers="")
        self.rate = _Rate()
        self.teller = _Teller()
        self.steps = 0

    def take(self, event: Event) -> None:
        match event:
            case Started():
                self.steps = event.steps
                self.progress.update(self.bar, total=event.steps)
                self.progress.console.print(_opening(event), highlight=False)
            case Resumed():
                self.progress.console.print(f"going on from step {event.step}", highlight=False)
            case Stepped():
                self.rate.take(event)
                self.progress.update(self.bar, completed=event.step)
                if event.step == FIRST_GUESS and self.steps:
                    self.progress.console.print(_guess(self.rate, self.steps), highlight=False)
            case Sensed():
                if event.progress:
                    self.progress.update(self.bar, total=round(event.step / event.progress))
                self.progress.update(self.bar, numbers=f"{self.rate.images:.0f} samples/s  {numbers(event)}")
            case Saved():
                self.progress.update(self.bar, description=f"saved {event.step}")
            case Evaluated() | Turned() | Remedied() | Finished():
                if text := self.teller.tell(event):
                    self.progress.console.print(text, highlight=False)


class _Rate:
    """Images and steps per second, over about the last hundred steps."""

    def __init__(self) -> None:
        self.images = 0.0
        self.steps = 0.0
        self._marks: list[tuple[float, int, int]] = []

    def take(self, event: Stepped) -> None:
        self._marks = [*self._marks[-100:], (event.seconds, event.images, event.step)]
        (since, images, step), (now, *_) = self._marks[0], self._marks[-1]
        if now > since:
            self.images = (event.images - images) / (now - since)
            self.steps = (event.step - step) / (now - since)


def numbers(event: Sensed) -> str:
    """The signals that tell most, in few characters."""
    signals = event.signals
    named = {
        "loss D": signals.loss_d,
        "G": signals.loss_g,
        "D(x)": signals.probability_real,
        "D(G(z))": signals.probability_fake,
        "rank": signals.rank_train_fake,
        "held-out rank": signals.rank_train_held_out,
    }
    return "  ".join(f"{name} {value:.2f}" for name, value in named.items() if value is not None)


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _opening(event: Started) -> str:
    networks = ", ".join(f"{name} {count:,} weights" for name, count in event.parameters.items())
    taken = ", ".join(f"{share:.0%} of the {name}" for name, share in event.transferred.items())
    start = f"\nweights taken over: {taken}; the rest begins anew" if taken else ""
    never = (
        f"\nno game in this run: it would begin after {event.adversarial_start:,} steps; give --steps more to play it"
    )
    opening = f"{event.steps} steps, batches of {event.batch_size}, {event.precision}; {networks}{start}"
    return opening + never * (event.steps <= event.adversarial_start and event.adversarial_start > 0)


def _guess(rate: _Rate, steps: int) -> str:
    from equipoise.experiment.estimates import peak_memory

    return f"about {duration(steps / max(rate.steps, 1e-9))} in all, {peak_memory() / 2**30:.1f} GiB of memory"


def _told(event: Remedied) -> str:
    """What was done about a finding, in a line."""
    done = [] if event.restored is None else [f"back to the weights of step {event.restored}"]
    done += [f"{one.knob} {one.base:.3g} → {one.value:.3g}" for one in event.overrides]
    until = f" until step {event.until}" if event.overrides else ""
    return f"step {event.step}: {event.finding.symptom.replace('_', ' ')}: {', '.join(done) or 'nothing'}{until}"


class _Teller:
    """Words for what is rare. A knob that is turned all the time is told of once an interval, from where it stood."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, float]] = {}

    def tell(self, event: Evaluated | Turned | Remedied | Finished) -> str:
        """One line, or nothing."""
        match event:
            case Evaluated():
                return f"step {event.step}: {event.metric} {event.value:.4g} ({event.better} is better)"
            case Turned():
                return "" if event.by == REPAIR else self._tell_turn(event)
            case Remedied():
                return _told(event)
            case Finished():
                return f"{event.reason} reached after {event.step} steps in {duration(event.seconds)}; {event.verdict}"

    def _tell_turn(self, event: Turned) -> str:
        now = time.monotonic()
        since, stood = self._told.setdefault(event.knob, (now, event.before))
        if now - since < INTERVAL:
            return ""
        self._told[event.knob] = now, event.after
        return f"step {event.step}: {event.by} turned {event.knob} from {stood:.3g} to {event.after:.3g}: {event.why}"
