"""What is printed while a run is trained: one line per reading at most, which fits the terminal."""

import io
import itertools
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from equipoise.cli import terminal
from equipoise.cli.output import Verbosity
from equipoise.cli.progress_bar import TrainingBar
from equipoise.cli.terminal import RunDisplay
from equipoise.core.events import Evaluated, Event, Finished, Sensed, Skipped, Started, Stepped, Turned
from equipoise.core.observations import Health, Signals

SIGNALS = Signals(
    loss_d=1.28,
    loss_g=13.94,
    probability_real=0.58,
    probability_fake=0.52,
    rank_train_fake=-0.99,
    rank_train_held_out=0.1,
)


def events(knob: str = "lr_g", by: str = "annealed") -> Iterator[Event]:
    yield Started(0, 0, 80, 64, "fp32", {"generator": 289_825}, {})
    for step in range(1, 41):
        yield Stepped(step, 64 * step, 0.2 * step)
        yield Sensed(step, 64 * step, step / 80, 0.2 * step, {}, SIGNALS, Health())
        yield Turned(step, 64 * step, knob, 1 - (step - 1) / 100, 1 - step / 100, by, "its reason")
    yield Evaluated(40, 2560, "kd_digits", 0.5, "lower", 100, 1.0)
    yield Finished(40, 2560, "steps", "healthy", 8.0)


def printed(display: RunDisplay, made: Iterator[Event]) -> list[str]:
    """Return the lines that are printed where the output is not a terminal."""
    file = io.StringIO()
    lines = terminal._ProgressLines(Console(file=file, markup=False, emoji=False, highlight=False, width=80), display)
    for event in made:
        lines.show(event)
    return file.getvalue().splitlines()


def test_turns_by_a_schedule_are_not_printed() -> None:
    lines = printed(RunDisplay(scheduled={"lr_g"}), events())
    assert [line for line in lines if "changed" in line] == []
    assert "step 40: kd_digits 0.5 (lower is better)" in lines


def test_unusual_range_of_the_data_is_printed_at_the_start() -> None:
    dark = {"low": -0.9861, "high": -0.8767, "mean": -0.9384, "deviation": 0.0279}
    started = Started(0, 0, 80, 64, "fp32", {}, {}, reals=dark)
    lines = printed(RunDisplay(), iter([started]))
    assert any("from -0.99 to -0.88" in line and "equipoise inspect" in line for line in lines)


def test_decisions_are_printed_once_per_interval() -> None:
    lines = [line for line in printed(RunDisplay(scheduled={"lr_d"}), events(by="rank")) if "changed" in line]
    assert lines == ["step 1: rank changed lr_g from 1 to 0.99: its reason"]


def test_every_change_is_printed_if_verbose() -> None:
    lines = printed(RunDisplay(Verbosity.VERBOSE, scheduled={"lr_g"}), events())
    assert len([line for line in lines if "changed" in line]) == 40
    readings = [line for line in lines if "D(G(z))" in line]
    assert len(readings) == 40
    assert "samples/s" not in readings[0], "the speed of one step is not known"
    assert all("samples/s" in line for line in readings[1:])


def test_names_are_escaped() -> None:
    (line,) = [line for line in printed(RunDisplay(), events("lr\x1b[31m_g[red]", "rank")) if "changed" in line]
    assert "lr\\x1b[31m_g[red] from" in line


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_line_fits_the_terminal(width: int) -> None:
    """Bar, step and time left are always there; signals are left out from the last one."""
    clock = itertools.count(0, 0.2)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = TrainingBar(console, after_seconds=14)
    bar.progress.get_time = lambda: float(next(clock))
    bar.progress.start()
    for event in list(events())[:-2]:
        bar.update(event, 356.0)
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(bar.progress.get_renderable())
    bar.progress.stop()
    (line,) = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    assert len(line) <= width
    assert "━" * 4 in line
    assert "40/80" in line
    assert re.search(r"\d+:\d\d left", line)
    assert ("356 samples/s" in line) == (width > 40)
    assert ("rank -0.99" in line) == (width >= 120)
    assert ("D(G(z)) 0.52" in line) == (width == 200)


def test_time_left_includes_the_report() -> None:
    console = Console(file=io.StringIO(), width=80)
    texts = []
    for after in (0, 3600 * 2):
        clock = itertools.count(0, 0.2)
        bar = TrainingBar(console, after_seconds=after)
        bar.progress.get_time = lambda clock=clock: float(next(clock))
        for task in bar.progress.tasks:
            task._get_time = bar.progress.get_time
        bar.progress.start_task(bar.progress.tasks[0].id)
        for event in list(events())[:-2]:
            bar.update(event, 1.0)
        texts.append(str(bar.progress.columns[3](bar.progress.tasks[0])))
    assert re.fullmatch(r"\d+:\d\d left", texts[0])
    assert re.fullmatch(r"[23]:\d\d:\d\d left", texts[1])


def test_damaged_images_are_named_in_one_line() -> None:
    files = {f"set-{number}.tar/a.png": "truncated" for number in range(5)}
    (line,) = printed(RunDisplay(), iter([Skipped(7, 56, files), Finished(8, 64, "steps", "healthy", 8.0)]))[:1]
    assert line.startswith("step 7: 5 images cannot be used and were replaced by others: set-0.tar/a.png (truncated)")
    assert line.endswith("and 2 more; see skipped.txt")
