"""Section of scale.md on one run of several processes: images per second, and the share of a step in the reduction.

Method. All arrangements of a model train at once, but never at the same time: those whose turn it is not are stopped by
SIGSTOP, and the turns are short, so that a machine whose speed changes within minutes changes it for all of them.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from _results import Item, Result, Results, environment, format_range, table

TITLE = "## One run on several processes"
MODELS = {
    "digits": ("digits", {"image_size": 32}, "dcgan:lab32", 64),
    "celeba64": ("openmoji", {"image_size": 64}, "dcgan:celeba64", 32),
}
"""Name -> data, its options, the model, samples of a batch."""
ARRANGEMENTS = {
    "1 process, 1 thread": (1, 1, 1),
    "1 process, 2 threads": (1, 2, 1),
    "2 processes, whole fixed": (2, 1, 1),
    "2 processes, growing": (2, 1, 2),
}
"""Name -> processes, threads of each, and how many times the samples of a batch."""
ALONE = next(iter(ARRANGEMENTS))
REPEATS = 2
FIRST = 101
"""Step after which the turns begin: each of the first hundred is followed by a reading and a message."""
ROUNDS, TURN_SECONDS = 8, 10.0
NOTE = (
    f"All arrangements train in turns of {TURN_SECONDS:.0f} s, while the others are stopped. *Whole fixed*: the batch "
    "is divided among the processes, which have one thread each. *Growing*: each process has as many samples as one "
    "process has alone. *Times*: ratio to one process with one thread in the same round of turns, median [minimum, "
    f"maximum] over {REPEATS} repeats of {ROUNDS} rounds. *Gradients*, *statistics*: shares of the time of a step in "
    "the exchange of gradients with its copies, and in that of the statistics of batch normalisation, waiting for the "
    "slower process included, on process 0. *Busy*: CPU seconds of process 0 per second and thread, about 1 for one "
    "process on an idle machine; less means that others used it. Two threads of one process are faster than two "
    "processes, which wait for each other at every batch normalisation. The aim was 1.6 for celeba64 and growing "
    "batches. Samples, evaluations and checkpoints are not part of the time."
)
Clocks = tuple[float, float, float, float]
"""After a step: time, seconds in the exchange of gradients and of statistics, CPU seconds; of process 0."""


def items() -> list[Item]:
    """List what is measured: each item is one that a restart need not measure again."""
    return [{"section": "processes", "model": model, "repeat": repeat} for repeat in range(REPEATS) for model in MODELS]


def measure(item: Item) -> Result:
    """Return arrangement -> images per second, and the other columns, of every round.

    `rounds`, `seconds` of the item: other numbers of rounds and seconds of a turn, for a rehearsal.
    """
    with ExitStack() as stack:
        trainings = {name: stack.enter_context(_training(item["model"], name)) for name in ARRANGEMENTS}
        for training in trainings.values():
            training.wait_for_first_step()
        turns = [
            {name: training.take_turn(item.get("seconds", TURN_SECONDS)) for name, training in trainings.items()}
            for _ in range(item.get("rounds", ROUNDS))
        ]
        return {name: training.rates([turn[name] for turn in turns]) for name, training in trainings.items()}


@dataclass(frozen=True)
class Training:
    """A stopped training in processes of its own, which form a process group. `clocks`: the file that it writes."""

    arrangement: str
    batch: int
    process: subprocess.Popen[bytes]
    clocks: Path

    def wait_for_first_step(self) -> None:
        """Let it train until the steps begin that are measured."""
        os.killpg(self.process.pid, signal.SIGCONT)
        while not self.clocks.read_bytes():
            time.sleep(0.1)
            self._check()
        os.killpg(self.process.pid, signal.SIGSTOP)

    def take_turn(self, seconds: float) -> tuple[float, float]:
        """Let it train for a while; return the times at which it began and was stopped."""
        begin = time.monotonic()
        os.killpg(self.process.pid, signal.SIGCONT)
        time.sleep(seconds)
        os.killpg(self.process.pid, signal.SIGSTOP)
        self._check()
        return begin, time.monotonic()

    def rates(self, turns: Sequence[tuple[float, float]]) -> Mapping[str, list[float]]:
        """Return the columns of the table for each turn: of the steps that began and ended in it."""
        lines = [json.loads(line) for line in self.clocks.read_text().splitlines()[:-1]]  # the last may be incomplete
        columns: dict[str, list[float]] = {"images": [], "gradients": [], "statistics": [], "busy": []}
        for begin, end in turns:
            inside: list[Clocks] = [line for line in lines if begin < line[0] < end]
            duration, gradients, statistic, cpu = (
                last - first for first, last in zip(inside[0], inside[-1], strict=True)
            )
            columns["images"].append(self.batch * (len(inside) - 1) / duration)
            columns["gradients"].append(gradients / duration)
            columns["statistics"].append(statistic / duration)
            columns["busy"].append(cpu / duration / ARRANGEMENTS[self.arrangement][1])
        return columns

    def _check(self) -> None:
        if (code := self.process.poll()) is not None:
            raise SystemExit(f"the training of {self.arrangement} ended with exit code {code}")


@contextmanager
def _training(model: str, arrangement: str) -> Iterator[Training]:
    """Context manager: a training that is stopped, and is killed at the end."""
    _, threads, factor = ARRANGEMENTS[arrangement]
    with tempfile.TemporaryDirectory() as folder:
        clocks = Path(folder) / "clocks.jsonl"
        clocks.touch()
        command = [sys.executable, __file__, model, arrangement, folder]
        with (Path(folder) / "output").open("wb") as output:
            process = subprocess.Popen(command, env=environment(threads), stdout=output, start_new_session=True)
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            yield Training(arrangement, MODELS[model][3] * factor, process, clocks)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def rows(results: Results) -> list[list[str]]:
    """Return a row per model and arrangement: medians over all rounds."""
    lines = []
    for model in MODELS:
        measured = [result for item in items() if item["model"] == model and (result := results.result(item))]
        for name, (processes, _, factor) in ARRANGEMENTS.items() if measured else ():
            rounds = {key: [value for one in measured for value in one[name][key]] for key in measured[0][name]}
            alone = [value for one in measured for value in one[ALONE]["images"]]
            ratios = [images / other for images, other in zip(rounds["images"], alone, strict=True)]
            medians = {key: statistics.median(values) for key, values in rounds.items()}
            shares = [f"{medians[key]:.0%}" if processes > 1 else "–" for key in ("gradients", "statistics")]
            ratio = "–" if name == ALONE else format_range(ratios)
            batch = str(MODELS[model][3] * factor)
            lines.append([model, name, batch, f"{medians['images']:.1f}", ratio, *shares, f"{medians['busy']:.2f}"])
    return lines


def section(results: Results) -> str:
    """Return the section as Markdown."""
    columns = ("model", "arrangement", "whole batch", "images/s", "times", "gradients", "statistics", "busy")
    lines = rows(results)
    content = table(columns, lines) if lines else "Not measured yet."
    return f"{TITLE}\n\n{NOTE}\n\n{results.provenance(items())}\n\n{content}"


class ExchangeTimes:
    """Seconds in the exchange of gradients, and in other sums over the processes, which take statistics of a batch."""

    def __init__(self) -> None:
        from torch import distributed

        from equipoise.training import step

        self.gradients = self.statistics = 0.0
        self._is_update = False
        reduce_update = step.reduce_update

        def timed_update(*arguments: object) -> object:
            begin, self._is_update = time.perf_counter(), True
            try:
                return reduce_update(*arguments)
            finally:
                self.gradients += time.perf_counter() - begin
                self._is_update = False

        def timed(exchange: Callable[..., object]) -> Callable[..., object]:
            def exchange_timed(*arguments: object) -> object:
                begin = time.perf_counter()
                result = exchange(*arguments)
                self.statistics += 0.0 if self._is_update else time.perf_counter() - begin
                return result

            return exchange_timed

        step.reduce_update = timed_update
        distributed.all_reduce, distributed.all_gather = timed(distributed.all_reduce), timed(distributed.all_gather)


def train(model: str, arrangement: str, folder: Path) -> None:
    """Train until killed; write the clocks after each step from FIRST on."""
    from equipoise.core.events import Stepped
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete
    from equipoise.experiment.settings import Experiment, PlugSpec

    data, options, name, batch = MODELS[model]
    processes, threads, factor = ARRANGEMENTS[arrangement]
    endless = 10**7
    experiment = Experiment(
        data=PlugSpec(data, options),
        model=PlugSpec(name),
        controller=PlugSpec("fixed"),
        metric=PlugSpec("none"),
        device="cpu",
        steps=endless,
        batch_size=batch * factor,
        devices=processes if processes > 1 else None,
        **{f"{name}_every": endless for name in ("sample", "save", "evaluate", "sense")},
        threads=threads,
        precision="fp32",
        repair=False,
    )
    exchange = ExchangeTimes()
    with (folder / "clocks.jsonl").open("a") as file:
        for event in launch.start(complete(experiment), folder / "run"):
            if isinstance(event, Stepped) and event.step >= FIRST:
                clocks: Clocks = (time.monotonic(), exchange.gradients, exchange.statistics, time.process_time())
                print(json.dumps(clocks), file=file, flush=True)


if __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
