"""The line at the bottom of the terminal while a run is trained: bar, step, time left, and as many signals as fit."""

from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from equipoise.core.events import Event, Saved, Sensed, Started, Stepped

MAX_BAR, BAR_SHARE = 40, 5
"""Largest width of a bar in characters, and the width of the terminal relative to that of the bar."""
GAP = 2
"""Characters between two signals."""


class TimeLeftColumn(ProgressColumn):
    """Time until the end of a task, and of what follows it: `after_seconds` is a field of the task."""

    def render(self, task: Task) -> Text:
        """Render the time left, "--:-- left" before it is known, nothing at the end."""
        return Text(_time_text(task), style="progress.remaining")


class SignalsColumn(ProgressColumn):
    """The field `parts` of a task: as many of these texts as fit in the line, the first ones."""

    def __init__(self, console: Console, bar_width: int) -> None:
        super().__init__()
        self.console = console
        self.bar_width = bar_width

    def render(self, task: Task) -> Text:
        """Render the parts that fit next to the other columns."""
        fixed = len(task.description) + self.bar_width + len(_steps_text(task)) + len(_time_text(task)) + 4
        room = self.console.width - fixed
        text = ""
        for part in task.fields["parts"]:
            longer = f"{text}{' ' * GAP}{part}" if text else part
            if len(longer) > room:
                break
            text = longer
        return Text(text, no_wrap=True)


class StepsColumn(ProgressColumn):
    """Finished steps of all steps."""

    def render(self, task: Task) -> Text:
        """Render the number of steps."""
        return Text(_steps_text(task), style="progress.download")


class TrainingBar:
    """The progress display of a run. `after_seconds`: duration of what follows the training, for the time left."""

    def __init__(self, console: Console, after_seconds: float) -> None:
        width = min(MAX_BAR, console.width // BAR_SHARE)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(width),
            StepsColumn(),
            TimeLeftColumn(),
            SignalsColumn(console, width),
            console=console,
        )
        self._task = self.progress.add_task("training", total=None, parts=(), after_seconds=after_seconds)

    def update(self, event: Event, speed: float) -> None:
        """Show an event. `speed`: samples per second."""
        match event:
            case Started():
                self.progress.update(self._task, total=event.steps)
            case Stepped():
                self.progress.update(self._task, completed=event.step)
            case Sensed():
                if event.progress:
                    self.progress.update(self._task, total=round(event.step / event.progress))
                self.progress.update(self._task, parts=(f"{speed:.0f} samples/s", *signal_parts(event)))
            case Saved():
                self.progress.update(self._task, description=f"saved {event.step}")


def make_task_bar(console: Console, *, is_active: bool) -> Progress:
    """Create the progress display of the parts of other work, which disappears at its end."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(min(MAX_BAR, console.width // BAR_SHARE)),
        StepsColumn(),
        TimeLeftColumn(),
        console=console,
        disable=not is_active,
        transient=True,
    )


def signal_parts(event: Sensed) -> list[str]:
    """Format the main signals of a reading, the most important first."""
    signals = event.signals
    values = {
        "loss D": signals.loss_d,
        "G": signals.loss_g,
        "rank": signals.rank_train_fake,
        "held-out rank": signals.rank_train_held_out,
        "D(x)": signals.probability_real,
        "D(G(z))": signals.probability_fake,
    }
    return [f"{name} {value:.2f}" for name, value in values.items() if value is not None]


def _steps_text(task: Task) -> str:
    total = "?" if task.total is None else f"{task.total:,.0f}"
    return f"{task.completed:,.0f}/{total}"


def _time_text(task: Task) -> str:
    left = task.time_remaining
    if task.finished:
        return ""
    if left is None:
        return "--:-- left"
    seconds = int(left + task.fields.get("after_seconds", 0))
    text = str(timedelta(seconds=seconds)) if seconds >= 3600 else f"{seconds // 60}:{seconds % 60:02}"
    return f"{text} left"
