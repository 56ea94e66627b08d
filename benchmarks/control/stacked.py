"""Many runs in one process: how much faster than one by one, and are they the same runs?

    python benchmarks/control/stacked.py             about 2 minutes of one quiet core; a restart goes on
    python benchmarks/control/stacked.py --table     rewrite stacked.md from results/stacked.jsonl

How. `mlp` at width 32, batches of 64, relativistic loss with R1 and R2, watched as ever, one thread. Speed: 64 runs in
a stack, then one alone in the loop of `equipoise train`, 500 steps each, in turn, three times in one process;
importing, which a process a run would pay on top, is not counted. CPU seconds, which a busy machine inflates for both.

Sameness: the largest difference of any weight, average or moment of Adam between a stacked run and its lone twin (same
experiment, same seed) after 20 steps, for each loss; and the metric of 12 seeds after 200 steps, stacked and alone.
Rounding parts the two in time, as it does for two processors; they should not differ on average.
"""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from _plane import HERE
from _results import Item, Result, Results, parser, spread, table, write

from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.losses.adversarial import LOSSES
from equipoise.meta.stacked import train_together
from equipoise.training.loop import Training, train

RUNS, SPEED_STEPS, REPEATS = 64, 500, 3
TWINS, TWIN_STEPS, CLOSE = 4, 20, 1e-5
SEEDS, LATE = 12, 200
LEAST = 5
"""Times as fast, at least, as the issue wants it."""


def experiment(steps: int, data: str = "ring", loss: str = "relativistic", metric: str = "none") -> Experiment:
    model = PlugSpec("mlp", {"width": 32, "loss": loss})
    return complete(
        Experiment(
            data=PlugSpec(data),
            model=model,
            controller=PlugSpec("fixed"),
            metric=PlugSpec(metric),
            steps=steps,
            batch_size=64,
            seed=0,
            threads=1,
            device="cpu",
            precision="fp32",
            repair=False,
            evaluate_every=steps,
        )
    )


def alone(one: Experiment) -> Training:
    training = assemble(replace(one, sample_every=None), None)
    for _ in train(training):
        pass
    return training


def speed(item: Item) -> Result:
    """CPU seconds of a run, stacked and alone."""
    one = experiment(SPEED_STEPS)
    begun = time.process_time()
    train_together([replace(one, seed=seed) for seed in range(RUNS)])
    between = time.process_time()
    alone(one)
    return {"stacked": (between - begun) / RUNS, "alone": time.process_time() - between}


def twins(item: Item) -> Result:
    """The largest difference of any number of the state, over a few seeds of both tasks."""
    ones = [replace(experiment(TWIN_STEPS, ("ring", "grid")[n % 2], item["loss"]), seed=n) for n in range(TWINS)]
    pairs = [(run.training, alone(one)) for one, run in zip(ones, train_together(ones), strict=True)]
    return {"furthest": max(furthest(*pair) for pair in pairs)}


def furthest(mine: Training, theirs: Training) -> float:
    a, b = mine.state.tensors(), theirs.state.tensors()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a if not name.startswith("random"))


def late(item: Item) -> Result:
    """The metric of each seed at the end, stacked and alone."""
    ones = [replace(experiment(LATE, item["data"], metric="high_quality"), seed=seed) for seed in range(SEEDS)]
    result = [alone(one).best for one in ones]
    return {"stacked": [run.value for run in train_together(ones)], "alone": [one.value for one in result]}


MEASURES: Mapping[str, Any] = {"speed": speed, "twins": twins, "late": late}


def measure(item: Item) -> Result:
    torch.set_num_threads(1)
    return dict(MEASURES[item["what"]](item))


def speeds() -> list[Item]:
    return [{"what": "speed", "repeat": repeat} for repeat in range(REPEATS)]


def all_twins() -> list[Item]:
    return [{"what": "twins", "loss": loss} for loss in LOSSES]


def all_late() -> list[Item]:
    return [{"what": "late", "data": data} for data in ("ring", "grid")]


def write_table(results: Results, out: Any) -> None:
    items = [*speeds(), *all_twins(), *all_late()]
    rows = []
    if fast := [result for item in speeds() if (result := results.result(item))]:
        ratios = [result["alone"] / result["stacked"] for result in fast]
        stacked, lone = ([3600 / result[name] for result in fast] for name in ("stacked", "alone"))
        rows.append(["runs an hour of CPU, stacked", spread(stacked, ".0f"), ""])
        rows.append(["runs an hour of CPU, alone", spread(lone, ".0f"), ""])
        rows.append(
            ["times as many", spread(ratios, ".1f"), verdict(statistics.median(ratios) >= LEAST, f">= {LEAST}")]
        )
    for item in all_twins():
        if result := results.result(item):
            right = verdict(result["furthest"] < CLOSE, f"< {CLOSE:g}")
            rows.append(
                [f"furthest from the twin after {TWIN_STEPS} steps, {item['loss']}", f"{result['furthest']:.1e}", right]
            )
    for item in all_late():
        if result := results.result(item):
            differences = [a - b for a, b in zip(result["stacked"], result["alone"], strict=True)]
            error = statistics.stdev(differences) / math.sqrt(SEEDS)
            means = [statistics.mean(result[name]) for name in ("stacked", "alone")]
            said = f"{means[0]:.4f} and {means[1]:.4f}, difference {means[0] - means[1]:+.4f} ± {error:.4f}"
            right = verdict(abs(means[0] - means[1]) <= 2 * error + 1e-9, "within 2 s.e.")
            rows.append([f"high quality after {LATE} steps, {item['data']}, stacked and alone", said, right])
    write(
        out / "stacked.md",
        "# Many runs in one process",
        "`python benchmarks/control/stacked.py`; " + results.head(items),
        f"`mlp` of width 32, batches of 64, one thread; {RUNS} runs in a stack, {SPEED_STEPS} steps. Median [least, "
        "most] of three turns in one process.",
        table(["what", "measured", "wanted"], rows),
    )


def verdict(right: bool, wanted: str) -> str:
    return f"{wanted}: {'pass' if right else '**fail**'}"


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    results = Results(asked.out / "results" / "stacked.jsonl")
    if not asked.table:
        results.measure([*speeds(), *all_twins(), *all_late()], measure)
    write_table(results, asked.out)


if __name__ == "__main__":
    main()
