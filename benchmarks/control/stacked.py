"""Many runs in one process: how much faster than one by one, and are the results the same?

    python benchmarks/control/stacked.py             about 2 minutes of one quiet core; a restart continues
    python benchmarks/control/stacked.py --table     rewrite stacked.md from results/stacked.jsonl

Method. `mlp` at width 32, batch size 64, relativistic loss with R1 and R2, usual monitoring, one thread. Speed: 64 runs
in a stack, then one alone in the loop of `equipoise train`, 500 steps each, alternating, three times in one process;
imports, which a process per run would add, are not counted. CPU seconds, which a busy machine increases for both.

Equality: the largest difference of any weight, average or moment of Adam between a stacked run and its single twin
(same experiment, same seed) after 20 steps, for each loss; and the metric of 12 seeds after 200 steps, stacked and
alone. Rounding separates the two over time, as between two processors; they should not differ on average.
"""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from _plane import HERE
from _results import Item, Result, Results, create_parser, format_range, table, write

from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.losses.adversarial import LOSSES
from equipoise.meta.stacked import train_together
from equipoise.training.loop import Training, train

RUNS, SPEED_STEPS, REPEATS = 64, 500, 3
TWINS, TWIN_STEPS, CLOSE = 4, 20, 1e-5
SEEDS, LATE = 12, 200
MIN_SPEEDUP = 5
"""Minimum speed-up."""


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


def train_alone(single: Experiment) -> Training:
    training = assemble(replace(single, sample_every=None), None)
    for _ in train(training):
        pass
    return training


def speed(item: Item) -> Result:
    """Measure the CPU seconds of a run, stacked and alone."""
    single = experiment(SPEED_STEPS)
    start_time = time.process_time()
    train_together([replace(single, seed=seed) for seed in range(RUNS)])
    middle_time = time.process_time()
    train_alone(single)
    return {"stacked": (middle_time - start_time) / RUNS, "alone": time.process_time() - middle_time}


def twins(item: Item) -> Result:
    """Return the largest difference of any number of the state, over some seeds of both tasks."""
    experiments = [replace(experiment(TWIN_STEPS, ("ring", "grid")[n % 2], item["loss"]), seed=n) for n in range(TWINS)]
    pairs = [
        (run.training, train_alone(single))
        for single, run in zip(experiments, train_together(experiments), strict=True)
    ]
    return {"furthest": max(largest_difference(*pair) for pair in pairs)}


def largest_difference(first: Training, second: Training) -> float:
    a, b = first.state.tensors(), second.state.tensors()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a if not name.startswith("random"))


def late(item: Item) -> Result:
    """Return the metric of each seed at the end, stacked and alone."""
    experiments = [replace(experiment(LATE, item["data"], metric="high_quality"), seed=seed) for seed in range(SEEDS)]
    result = [train_alone(single).best for single in experiments]
    return {"stacked": [run.value for run in train_together(experiments)], "alone": [single.value for single in result]}


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
    if speed_results := [result for item in speeds() if (result := results.result(item))]:
        ratios = [result["alone"] / result["stacked"] for result in speed_results]
        stacked, alone = ([3600 / result[name] for result in speed_results] for name in ("stacked", "alone"))
        rows.append(["runs per hour of CPU, stacked", format_range(stacked, ".0f"), ""])
        rows.append(["runs per hour of CPU, alone", format_range(alone, ".0f"), ""])
        rows.append(
            [
                "speed-up",
                format_range(ratios, ".1f"),
                verdict(statistics.median(ratios) >= MIN_SPEEDUP, f">= {MIN_SPEEDUP}"),
            ]
        )
    for item in all_twins():
        if result := results.result(item):
            passed = verdict(result["furthest"] < CLOSE, f"< {CLOSE:g}")
            rows.append(
                [
                    f"largest difference to the twin after {TWIN_STEPS} steps, {item['loss']}",
                    f"{result['furthest']:.1e}",
                    passed,
                ]
            )
    for item in all_late():
        if result := results.result(item):
            differences = [a - b for a, b in zip(result["stacked"], result["alone"], strict=True)]
            error = statistics.stdev(differences) / math.sqrt(SEEDS)
            means = [statistics.mean(result[name]) for name in ("stacked", "alone")]
            text = f"{means[0]:.4f} and {means[1]:.4f}, difference {means[0] - means[1]:+.4f} ± {error:.4f}"
            passed = verdict(abs(means[0] - means[1]) <= 2 * error + 1e-9, "within 2 s.e.")
            rows.append([f"high quality after {LATE} steps, {item['data']}, stacked and alone", text, passed])
    write(
        out / "stacked.md",
        "# Many runs in one process",
        "`python benchmarks/control/stacked.py`; " + results.provenance(items),
        f"`mlp` of width 32, batch size 64, one thread; {RUNS} runs in a stack, {SPEED_STEPS} steps. Median "
        "[minimum, maximum] of three measurements in one process.",
        table(["quantity", "measured", "target"], rows),
    )


def verdict(passed: bool, limit: str) -> str:
    return f"{limit}: {'pass' if passed else '**fail**'}"


def main() -> None:
    parser = create_parser(__doc__)
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    results = Results(args.out / "results" / "stacked.jsonl")
    if not args.table:
        results.measure([*speeds(), *all_twins(), *all_late()], measure)
    write_table(results, args.out)


if __name__ == "__main__":
    main()
