"""Section of scale.md on one run of several processes: images per second, and the share of a step in the reduction."""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from _results import Item, Result, Results, run_in_subprocess, table

TITLE = "## One run on several processes"
STEPS, FIRST = 24, 6
"""Steps of a measurement, and those of them that are not counted."""
MODELS = {
    "digits": ("digits", {"image_size": 32}, "dcgan:lab32"),
    "celeba64": ("openmoji", {"image_size": 64}, "dcgan:celeba64"),
}
"""Name -> data, its options, and the model."""
NOTE = (
    "Each process has one thread. *Whole fixed*: the batch is divided among the processes. *Growing*: each process has "
    "as many samples as one process has alone. *Reduction*: share of the time of a step in the exchange of gradients, "
    "waiting for the slower process included, on process 0. Readings after every step are part of the time; samples, "
    "evaluations and checkpoints are not."
)


def items() -> list[Item]:
    """List what is measured: one process, two with the whole batch fixed, and two with a batch twice as large."""
    batches = {"digits": 64, "celeba64": 32}
    return [
        {"section": "processes", "model": model, "ranks": ranks, "batch": batches[model] * factor, "repeat": repeat}
        for model, repeat, (ranks, factor) in itertools.product(MODELS, range(3), ((1, 1), (2, 1), (2, 2)))
    ]


def measure(item: Item) -> Result:
    """Measure one item in a new process, which starts the others."""
    return run_in_subprocess(__file__, item, 1)


def rows(results: Results) -> list[list[str]]:
    """Return a row per model and arrangement: the median of the repeats, and ratios to one process."""
    lines = []
    for model in MODELS:
        alone = _median(results, model, ranks=1, factor=0)
        for name, ranks, factor in (("1 process", 1, 0), ("2, whole fixed", 2, 0), ("2, growing", 2, 1)):
            found = _median(results, model, ranks=ranks, factor=factor)
            if found is None:
                continue
            ratio = f"{found['images'] / alone['images']:.2f}" if alone else "–"
            share = f"{found['reduction']:.0%}" if ranks > 1 else "–"
            lines.append([model, name, str(found["batch"]), f"{found['images']:.1f}", ratio, share])
    return lines


def section(results: Results) -> str:
    """Return the section as Markdown."""
    columns = ("model", "processes", "whole batch", "images/s", "times one process", "reduction")
    lines = rows(results)
    content = table(columns, lines) if lines else "Not measured yet."
    return f"{TITLE}\n\n{NOTE}\n\n{results.provenance(items())}\n\n{content}"


def _median(results: Results, model: str, *, ranks: int, factor: int) -> Result | None:
    chosen = [item for item in items() if item["model"] == model and item["ranks"] == ranks]
    smallest = min(item["batch"] for item in chosen)
    batch = smallest * (factor + 1)
    values = [result for item in chosen if item["batch"] == batch and (result := results.result(item))]
    if not values:
        return None
    values.sort(key=lambda result: float(result["images"]))
    return {**values[len(values) // 2], "batch": batch}


def run(item: Item) -> Result:
    """Train, and measure the steps after the first ones."""
    from equipoise.core.events import Stepped
    from equipoise.core.world import World
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete
    from equipoise.experiment.settings import Experiment, PlugSpec

    data, options, model = MODELS[item["model"]]
    experiment = Experiment(
        data=PlugSpec(data, options),
        model=PlugSpec(model),
        controller=PlugSpec("fixed"),
        metric=PlugSpec("none"),
        steps=STEPS,
        batch_size=item["batch"],
        devices=item["ranks"] if item["ranks"] > 1 else None,
        **{f"{name}_every": 10 * STEPS for name in ("sample", "save", "evaluate")},
        threads=1,
        precision="fp32",
        repair=False,
    )
    seconds, add = [0.0], World.add

    def timed(world: World, numbers: object) -> object:
        start = time.perf_counter()
        result = add(world, numbers)
        seconds.append(time.perf_counter() - start)
        return result

    World.add = timed
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for event in launch.start(complete(experiment), Path(folder) / "run"):
            if isinstance(event, Stepped):
                times.append(time.perf_counter())
                if len(times) == FIRST:
                    seconds.clear()
                if len(times) == STEPS:
                    reduction = sum(seconds)
    duration = times[-1] - times[FIRST - 1]
    return {"images": item["batch"] * (STEPS - FIRST) / duration, "reduction": reduction / duration}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[sys.argv.index("--item") + 1]))))
