"""Section of scale.md on one run of several processes: images per second, and the share of a step in the reduction."""

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _results import Item, Result, Results, run_in_subprocess, table

TITLE = "## One run on several processes"
MODELS = {
    "digits": ("digits", {"image_size": 32}, "dcgan:lab32", 64, 104, 204),
    "celeba64": ("openmoji", {"image_size": 64}, "dcgan:celeba64", 32, 104, 120),
}
"""Name -> data, its options, the model, samples of a batch, the last step that is not counted, and the last step.

Steps are counted after the first hundred, each of which is followed by a reading and a message.
"""
ARRANGEMENTS = {
    "1 process, 1 thread": (1, 1, 1),
    "1 process, 2 threads": (1, 2, 1),
    "2 processes, whole fixed": (2, 1, 1),
    "2 processes, growing": (2, 1, 2),
}
"""Name -> processes, threads of each, and how many times the samples of a batch."""
REPEATS = 3
NOTE = (
    "*Whole fixed*: the batch is divided among the processes, which have one thread each. *Growing*: each process has "
    "as many samples as one process has alone. *Times*: median over the repeats of the ratio to one process with one "
    "thread in the same repeat. *Gradients*, *statistics*: shares of the time of a step in the exchange of gradients "
    "with its copies, and in that of the statistics of batch normalisation, waiting for the slower process included, "
    "on process 0. *Busy*: CPU seconds of process 0 per second and thread, about 1 for one process on an idle machine; "
    "less means that others used it. Two threads of one process are faster than two processes, which wait for each "
    "other at every batch normalisation. Normalising by torch's kernels instead of operations one by one (4c4c5e8) "
    "raised growing batches from 1.13 to 1.39 for digits and from 1.29 to 1.51 for celeba64, gathering small sums "
    "(fcf208c) to 1.56 for celeba64, from 1.44 in the same steps; digits were not measured again. The aim was 1.6. "
    "Samples, evaluations and checkpoints are not part of the time."
)


def items() -> list[Item]:
    """List what is measured, the arrangements in turn: each item is one that a restart need not measure again."""
    return [
        {"section": "processes", "model": model, "arrangement": arrangement, "repeat": repeat}
        for model, repeat, arrangement in itertools.product(MODELS, range(REPEATS), ARRANGEMENTS)
    ]


def measure(item: Item) -> Result:
    """Measure one item in a new process, which starts the others."""
    return run_in_subprocess(__file__, item, ARRANGEMENTS[item["arrangement"]][1])


def rows(results: Results) -> list[list[str]]:
    """Return a row per model and arrangement: medians of the repeats."""
    lines = []
    first = next(iter(ARRANGEMENTS))
    for model, (name, (processes, _, factor)) in itertools.product(MODELS, ARRANGEMENTS.items()):
        values = _results(results, model, name)
        if not values:
            continue
        alone = _results(results, model, first)
        ratios = [value["images"] / alone[repeat]["images"] for repeat, value in values.items() if repeat in alone]
        medians = {key: statistics.median(value[key] for value in values.values()) for key in values[min(values)]}
        shares = [f"{medians[key]:.0%}" if processes > 1 else "–" for key in ("gradients", "statistics")]
        ratio = f"{statistics.median(ratios):.2f}" if ratios and name != first else "–"
        batch = MODELS[model][3] * factor
        lines.append([model, name, str(batch), f"{medians['images']:.1f}", ratio, *shares, f"{medians['busy']:.2f}"])
    return lines


def section(results: Results) -> str:
    """Return the section as Markdown."""
    columns = ("model", "arrangement", "whole batch", "images/s", "times", "gradients", "statistics", "busy")
    lines = rows(results)
    content = table(columns, lines) if lines else "Not measured yet."
    return f"{TITLE}\n\n{NOTE}\n\n{results.provenance(items())}\n\n{content}"


def _results(results: Results, model: str, arrangement: str) -> dict[int, Result]:
    """Return the results of an arrangement by repeat."""
    chosen = [item for item in items() if (item["model"], item["arrangement"]) == (model, arrangement)]
    return {item["repeat"]: result for item in chosen if (result := results.result(item))}


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


def run(item: Item) -> Result:
    """Train, and measure the steps after the first ones. `first`, `last` of the item: other steps, for a rehearsal."""
    from equipoise.core.events import Stepped
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete
    from equipoise.experiment.settings import Experiment, PlugSpec

    data, options, model, batch, first, last = MODELS[item["model"]]
    first, last = item.get("first", first), item.get("last", last)
    processes, threads, factor = ARRANGEMENTS[item["arrangement"]]
    experiment = Experiment(
        data=PlugSpec(data, options),
        model=PlugSpec(model),
        controller=PlugSpec("fixed"),
        metric=PlugSpec("none"),
        device="cpu",
        steps=last,
        batch_size=batch * factor,
        devices=processes if processes > 1 else None,
        **{f"{name}_every": 10 * last for name in ("sample", "save", "evaluate", "sense")},
        threads=threads,
        precision="fp32",
        repair=False,
    )
    exchange, moments = ExchangeTimes(), []
    with tempfile.TemporaryDirectory() as folder:
        for event in launch.start(complete(experiment), Path(folder) / "run"):
            if isinstance(event, Stepped) and event.step in (first, last):
                moments.append((time.perf_counter(), time.process_time(), exchange.gradients, exchange.statistics))
    duration, cpu, gradients, statistic = (end - begin for begin, end in zip(*moments, strict=True))
    return {
        "images": batch * factor * (last - first) / duration,
        "gradients": gradients / duration,
        "statistics": statistic / duration,
        "busy": cpu / duration / threads,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[sys.argv.index("--item") + 1]))))
