"""How much is there to win by turning knobs while training runs, at all? Schedules against constants, both at random.

    nice -n 10 python benchmarks/control/headroom.py             about 12 minutes of one core; a restart goes on
    python benchmarks/control/headroom.py --table     rewrite headroom.md from results/headroom.jsonl

How. Tasks and score as in `_plane.py`. Knobs, drawn evenly in these coordinates:

  log10 of the mean learning rate in [-3.3, -2.3], log2(lr_d / lr_g) in [-2, 2], log10 of both gammas in [-3, 0.5],
  instance noise in [0, 0.2] of the distance between modes

A constant is one draw; a schedule is four, at 0, 1/3, 2/3 and the end of the run, and lines between them. 200 schedules
and 50 constants run once (seed 0). The 6 best of each run on 3 other seeds, and the best of these by all 4 runs on 16
fresh seeds, which alone are reported. A second row of schedules sees the first 50 only, so that trials are equal.
"""

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from _plane import BATCH, HERE, POINTS, STEPS, TASKS, WIDTH, Run, scores
from _results import Item, Result, Results, parser, table, write

from equipoise.controllers.annealed import Annealed
from equipoise.controllers.fixed import Fixed

TRIALS = {"constants": 50, "schedules": 200, "schedules, 50 trials": 50}
KNOTS, TOGETHER = 4, 50
FINALISTS, CHOICE_SEEDS, FRESH_SEEDS = 6, (1, 2, 3), tuple(range(100, 116))
COORDINATES = {"log10_lr": (-3.3, -2.3), "log2_ratio": (-2.0, 2.0), "log10_gamma": (-3.0, 0.5), "noise": (0.0, 0.2)}
PLANNED = len(TASKS) * (5 + 3 + 3)
"""Items: trials of 50 draws, choices and finals of three rows, for each task."""
APART = {"ring": 0.765, "grid": 1.0}
"""Distance of neighbouring modes."""


def drawn(kind: str, number: int) -> dict[str, list[float]]:
    """Coordinates at the knots, one knot for a constant; the first 50 schedules are the same for both of their rows."""
    is_constant = kind == "constants"
    source = np.random.default_rng([int(is_constant), number])
    knots = 1 if is_constant else KNOTS
    return {name: source.uniform(low, high, knots).tolist() for name, (low, high) in COORDINATES.items()}


def knots_of(task: str, kind: str, number: int) -> list[dict[str, float]]:
    """Knobs at each knot."""
    coordinates = drawn(kind, number)
    return [
        {
            "lr_g": 10**log_lr * 2 ** (-ratio / 2),
            "lr_d": 10**log_lr * 2 ** (ratio / 2),
            "r1_gamma": 10**log_gamma,
            "r2_gamma": 10**log_gamma,
            "instance_noise": noise * APART[task],
        }
        for log_lr, ratio, log_gamma, noise in zip(*coordinates.values(), strict=True)
    ]


def schedule(knots: Sequence[Mapping[str, float]]) -> Annealed:
    """Lines between the knots: of the logarithm, of noise itself."""
    bounds = [f", {part / (len(knots) - 1):.6f}, " for part in range(1, len(knots) - 1)] + [""]

    def text(knob: str) -> str:
        shape = "linear" if knob == "instance_noise" else "exponential"
        values = [knot[knob] for knot in knots]
        pieces = [f"{shape}({a!r}, {b!r})" for a, b in itertools.pairwise(values)]
        return f"join({''.join(piece + bound for piece, bound in zip(pieces, bounds, strict=True))})"

    return Annealed(schedules={knob: text(knob) for knob in knots[0]})


def measure(item: Item) -> Result:
    """The scores of some draws of one kind, each on all seeds, draw by draw."""
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
    """Every draw once. The row of 50 schedules needs none of its own."""
    return [
        item_of("trial", task, kind, range(start, start + TOGETHER), [0])
        for kind in ("constants", "schedules")
        for start in range(0, TRIALS[kind], TOGETHER)
    ]


def choices(results: Results, task: str) -> list[Item]:
    return [item_of("choice", task, kind, ranked(results, task, kind)[:FINALISTS], CHOICE_SEEDS) for kind in TRIALS]


def finals(results: Results, task: str) -> list[Item]:
    return [item_of("final", task, kind, [winner(results, task, kind)], FRESH_SEEDS) for kind in TRIALS]


def answered(results: Results, stage: str, task: str, kind: str) -> Iterator[tuple[int, list[float]]]:
    """(number of the draw, its scores) of a stage."""
    for line in results.lines():
        item = line["item"]
        if (item["stage"], item["task"], item["kind"]) == (stage, task, kind):
            each = len(item["seeds"])
            for place, number in enumerate(item["numbers"]):
                yield number, line["result"]["scores"][place * each : (place + 1) * each]


def ranked(results: Results, task: str, kind: str) -> list[int]:
    """The draws of a row by their trial, best first."""
    known = dict(answered(results, "trial", task, kind.partition(",")[0]))
    return sorted((n for n in known if n < TRIALS[kind]), key=lambda number: -known[number][0])


def winner(results: Results, task: str, kind: str) -> int:
    """The best finalist by its trial and the four runs that followed."""
    tried = dict(answered(results, "trial", task, kind.partition(",")[0]))
    known = {number: [*tried[number], *result] for number, result in answered(results, "choice", task, kind)}
    return max(known, key=lambda number: statistics.mean(known[number]))


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=HERE)
    asked = made.parse_args()
    results = Results(asked.out / "results" / "headroom.jsonl")
    for task in TASKS:
        while not asked.table and len(items := known_items(results, task)) > len(done(results, items)):
            results.measure(items, measure)
    write_table(results, asked.out)


def known_items(results: Results, task: str) -> list[Item]:
    """What is to be measured as far as it is known: a stage follows from what came of the one before."""
    items = trials(task)
    for stage in (choices, finals):
        if len(done(results, items)) == len(items):
            items += stage(results, task)
    return items


def done(results: Results, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if results.line(item)]


def rows_of(results: Results, task: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """A row a kind: how good its winner is, and what it is. Nothing while a task is not through."""
    final = {kind: dict(answered(results, "final", task, kind)) for kind in TRIALS}
    if not all(final.values()):
        return [], []
    base = next(iter(final["constants"].values()))
    rows, knobs = [], []
    for kind, known in final.items():
        tried = dict(answered(results, "trial", task, kind.partition(",")[0]))
        first = [tried[number][0] for number in ranked(results, task, kind)]
        number, result = next(iter(known.items()))
        gain = "" if kind == "constants" else gained(result, base)
        rows.append([task, kind, len(first), f"{statistics.median(first):.3f}", f"{first[0]:.3f}", mean(result), gain])
        knobs.append([task, kind, *shown(task, kind, number)])
    return rows, knobs


def write_table(results: Results, out: Any) -> None:
    items = [item for task in TASKS for item in known_items(results, task)]
    seconds = sum(line["result"]["cpu_seconds"] for item in items if (line := results.line(item)))
    rows, knobs = ([row for task in TASKS for row in rows_of(results, task)[part]] for part in (0, 1))
    write(
        out / "headroom.md",
        "# Headroom: how much is there to win by turning knobs while training runs?",
        f"`python benchmarks/control/headroom.py`; {results.head(items)} {len(done(results, items))} of {PLANNED} "
        f"done; {seconds / 60:.1f} minutes of CPU.",
        f"Perceptrons of width {WIDTH}, batches of {BATCH}, {STEPS:,} steps, {POINTS} training points, relativistic "
        "loss with R1 and R2. Score: modes found × share of samples near one / 0.9889 × (1 - KL to evenness / ln "
        "modes), from 0 to 1, of 2,500 samples of the averaged generator after the last step. Read the last two "
        "columns: 16 seeds that chose nothing, mean ± standard error, and the difference of means from the constants'.",
        table(["task", "kind", "trials", "median trial", "best trial", "winner, fresh seeds", "gain"], rows),
        "What won; a schedule's values at 0, 1/3, 2/3 and the end of the run:",
        table(["task", "kind", "draw", "lr_g", "lr_d", "gamma", "noise"], knobs),
    )


def mean(result: Sequence[float]) -> str:
    return f"{statistics.mean(result):.3f} ± {statistics.stdev(result) / len(result) ** 0.5:.3f}"


def gained(result: Sequence[float], base: Sequence[float]) -> str:
    """Difference of means, with the standard error of two independent samples (seeds pair poorly), and in per cent."""
    difference = statistics.mean(result) - statistics.mean(base)
    error = (statistics.variance(result) / len(result) + statistics.variance(base) / len(base)) ** 0.5
    return f"{difference:+.3f} ± {error:.3f} ({difference / statistics.mean(base):+.0%})"


def shown(task: str, kind: str, number: int) -> list[str]:
    knots = knots_of(task, kind, number)
    names = ("lr_g", "lr_d", "r1_gamma", "instance_noise")
    return [str(number), *(" → ".join(f"{knot[name]:.2g}" for knot in knots) for name in names)]


if __name__ == "__main__":
    main()
