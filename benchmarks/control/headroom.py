"""How much can changing knobs during training improve results at all? Random schedules against random constants.

    nice -n 10 python benchmarks/control/headroom.py             about 12 minutes of one core; a restart continues
    python benchmarks/control/headroom.py --table     rewrite headroom.md from results/headroom.jsonl

Method. Tasks and score as in `_plane.py`. Knobs, sampled uniformly in these coordinates:

  log10 of the mean learning rate in [-3.3, -2.3], log2(lr_d / lr_g) in [-2, 2], log10 of both gammas in [-3, 0.5],
  instance noise in [0, 0.2] of the distance between modes

A constant is one sample; a schedule is four, at 0, 1/3, 2/3 and the end of the run, interpolated linearly. 200
schedules and 50 constants run once (seed 0). The 6 best of each run with 3 other seeds, and the best of these by all 4
runs with 16 new seeds; only these are reported. A second row of schedules uses only the first 50, so that trials are
equal.
"""

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from _plane import BATCH, HERE, POINTS, STEPS, TASKS, WIDTH, Run, scores
from _results import Item, Result, Results, create_parser, table, write

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.fixed import Fixed

TRIALS = {"constants": 50, "schedules": 200, "schedules, 50 trials": 50}
KNOTS, PER_ITEM = 4, 50
FINALISTS, CHOICE_SEEDS, FRESH_SEEDS = 6, (1, 2, 3), tuple(range(100, 116))
COORDINATES = {"log10_lr": (-3.3, -2.3), "log2_ratio": (-2.0, 2.0), "log10_gamma": (-3.0, 0.5), "noise": (0.0, 0.2)}
ITEM_COUNT = len(TASKS) * (5 + 3 + 3)
"""Number of items: trials of 50 samples, selections and finals of three rows, for each task."""
MODE_DISTANCE = {"ring": 0.765, "grid": 1.0}
"""Distance between neighbouring modes."""


def sample_coordinates(kind: str, number: int) -> dict[str, list[float]]:
    """Sample coordinates at the knots, one for a constant; the first 50 schedules are the same for both of their
    rows.
    """
    is_constant = kind == "constants"
    source = np.random.default_rng([int(is_constant), number])
    knots = 1 if is_constant else KNOTS
    return {name: source.uniform(low, high, knots).tolist() for name, (low, high) in COORDINATES.items()}


def knots_of(task: str, kind: str, number: int) -> list[dict[str, float]]:
    """Return the knobs at each knot."""
    coordinates = sample_coordinates(kind, number)
    return [
        {
            "lr_g": 10**log_lr * 2 ** (-ratio / 2),
            "lr_d": 10**log_lr * 2 ** (ratio / 2),
            "r1_gamma": 10**log_gamma,
            "r2_gamma": 10**log_gamma,
            "instance_noise": noise * MODE_DISTANCE[task],
        }
        for log_lr, ratio, log_gamma, noise in zip(*coordinates.values(), strict=True)
    ]


def schedule(knots: Sequence[Mapping[str, float]]) -> Annealed:
    """Return lines between the knots: of the logarithm, for noise of the value."""
    bounds = [f", {part / (len(knots) - 1):.6f}, " for part in range(1, len(knots) - 1)] + [""]

    def text(knob: str) -> str:
        shape = "linear" if knob == "instance_noise" else "exponential"
        values = [knot[knob] for knot in knots]
        pieces = [f"{shape}({a!r}, {b!r})" for a, b in itertools.pairwise(values)]
        return f"join({''.join(piece + bound for piece, bound in zip(pieces, bounds, strict=True))})"

    return Annealed(schedules={knob: text(knob) for knob in knots[0]})


def measure(item: Item) -> Result:
    """Compute the scores of some samples of one kind, each with all seeds."""
    task = item["task"]
    runs: list[Run] = []
    for number in item["numbers"]:
        knots = knots_of(task, item["kind"], number)
        controller = Fixed() if len(knots) == 1 else schedule(knots)
        runs += [(seed, knots[0], controller) for seed in item["seeds"]]
    return scores(task, runs)


def item_of(stage: str, task: str, kind: str, numbers: Sequence[int], seeds: Sequence[int]) -> Item:
    return {"stage": stage, "task": task, "kind": kind, "numbers": list(numbers), "seeds": list(seeds)}


def trials(task: str) -> list[Item]:
    """Return the items that run every sample once. The row of 50 schedules needs none of its own."""
    return [
        item_of("trial", task, kind, range(start, start + PER_ITEM), [0])
        for kind in ("constants", "schedules")
        for start in range(0, TRIALS[kind], PER_ITEM)
    ]


def choices(results: Results, task: str) -> list[Item]:
    return [item_of("choice", task, kind, ranked(results, task, kind)[:FINALISTS], CHOICE_SEEDS) for kind in TRIALS]


def finals(results: Results, task: str) -> list[Item]:
    return [item_of("final", task, kind, [winner(results, task, kind)], FRESH_SEEDS) for kind in TRIALS]


def results_of(results: Results, stage: str, task: str, kind: str) -> Iterator[tuple[int, list[float]]]:
    """Yield (number of the sample, its scores) of a stage."""
    for line in results.lines():
        item = line["item"]
        if (item["stage"], item["task"], item["kind"]) == (stage, task, kind):
            count = len(item["seeds"])
            for index, number in enumerate(item["numbers"]):
                yield number, line["result"]["scores"][index * count : (index + 1) * count]


def ranked(results: Results, task: str, kind: str) -> list[int]:
    """Return the numbers of the samples of a row by their trial, best first."""
    scores_by_number = dict(results_of(results, "trial", task, kind.partition(",")[0]))
    return sorted((n for n in scores_by_number if n < TRIALS[kind]), key=lambda number: -scores_by_number[number][0])


def winner(results: Results, task: str, kind: str) -> int:
    """Return the best finalist by its trial and the four runs that followed."""
    trial_scores = dict(results_of(results, "trial", task, kind.partition(",")[0]))
    scores_by_number = {
        number: [*trial_scores[number], *result] for number, result in results_of(results, "choice", task, kind)
    }
    return max(scores_by_number, key=lambda number: statistics.mean(scores_by_number[number]))


def main() -> None:
    parser = create_parser(__doc__)
    parser.set_defaults(out=HERE)
    args = parser.parse_args()
    results = Results(args.out / "results" / "headroom.jsonl")
    for task in TASKS:
        while not args.table and len(items := known_items(results, task)) > len(finished(results, items)):
            results.measure(items, measure)
    write_table(results, args.out)


def known_items(results: Results, task: str) -> list[Item]:
    """Return the items that are known so far: a stage depends on the results of the one before."""
    items = trials(task)
    for stage in (choices, finals):
        if len(finished(results, items)) == len(items):
            items += stage(results, task)
    return items


def finished(results: Results, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if results.line(item)]


def rows_of(results: Results, task: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return a row per kind: the score of its winner, and its knobs. Empty while a task is incomplete."""
    final = {kind: dict(results_of(results, "final", task, kind)) for kind in TRIALS}
    if not all(final.values()):
        return [], []
    base = next(iter(final["constants"].values()))
    rows, knobs = [], []
    for kind, scores_by_number in final.items():
        trial_scores = dict(results_of(results, "trial", task, kind.partition(",")[0]))
        first = [trial_scores[number][0] for number in ranked(results, task, kind)]
        number, result = next(iter(scores_by_number.items()))
        gain = "" if kind == "constants" else format_gain(result, base)
        rows.append([task, kind, len(first), f"{statistics.median(first):.3f}", f"{first[0]:.3f}", mean(result), gain])
        knobs.append([task, kind, *format_knobs(task, kind, number)])
    return rows, knobs


def write_table(results: Results, out: Any) -> None:
    items = [item for task in TASKS for item in known_items(results, task)]
    seconds = sum(line["result"]["cpu_seconds"] for item in items if (line := results.line(item)))
    rows, knobs = ([row for task in TASKS for row in rows_of(results, task)[part]] for part in (0, 1))
    write(
        out / "headroom.md",
        "# Headroom: how much can changing knobs during training improve results?",
        f"`python benchmarks/control/headroom.py`; {results.provenance(items)} {len(finished(results, items))} of "
        f"{ITEM_COUNT} items finished; {seconds / 60:.1f} minutes of CPU.",
        f"Perceptrons of width {WIDTH}, batch size {BATCH}, {STEPS:,} steps, {POINTS} training points, relativistic "
        "loss with R1 and R2. Score: share of modes × share of samples near one / 0.9889 × (1 - KL from uniform / ln "
        "modes), from 0 to 1, of 2,500 samples of the averaged generator after the last step. The last two "
        "columns are the result: 16 seeds that were not used for selection, mean ± standard error, and the difference "
        "to the constants.",
        table(["task", "kind", "trials", "median trial", "best trial", "winner, new seeds", "gain"], rows),
        "The winners; values of a schedule at 0, 1/3, 2/3 and the end of the run:",
        table(["task", "kind", "number", "lr_g", "lr_d", "gamma", "noise"], knobs),
    )


def mean(result: Sequence[float]) -> str:
    return f"{statistics.mean(result):.3f} ± {statistics.stdev(result) / len(result) ** 0.5:.3f}"


def format_gain(result: Sequence[float], base: Sequence[float]) -> str:
    """Format the difference of means, with the standard error of two independent samples, and in per cent."""
    difference = statistics.mean(result) - statistics.mean(base)
    error = (statistics.variance(result) / len(result) + statistics.variance(base) / len(base)) ** 0.5
    return f"{difference:+.3f} ± {error:.3f} ({difference / statistics.mean(base):+.0%})"


def format_knobs(task: str, kind: str, number: int) -> list[str]:
    knots = knots_of(task, kind, number)
    names = ("lr_g", "lr_d", "r1_gamma", "instance_noise")
    return [str(number), *(" → ".join(f"{knot[name]:.2g}" for knot in knots) for name in names)]


if __name__ == "__main__":
    main()
