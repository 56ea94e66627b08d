"""What the shipped policies are worth on the tasks that their kind of run was held back for: short runs on points.

    python benchmarks/policies.py             about a minute of one core; a restart goes on
    python benchmarks/policies.py --table     rewrite policies.md from results/policies.jsonl

How. 32 tasks drawn from the `check` families of experiments/policies/residual.toml (checkerboard and cross, on which no
policy was trained; 300 steps, few reals, learning rates and penalties well set and badly), from another seed than the
checks of the plans. Every controller plays the same tasks from the same weights, data and draws. The distance is that
of equipoise/meta/held_out.py; advantages are those of equipoise/meta/episodes.py, in units of its logarithm.

Expected: learnable above rank, time_only above annealed. Short runs on points, near to what was trained on: how
policies do on images and in long runs is measured in benchmarks/control.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _results import ROOT, Item, Result, Results, parser, table, write

from equipoise.core import catalog
from equipoise.meta.episodes import Episode, advantages, merit, play
from equipoise.meta.plan import read_plan

PLAN = ROOT / "experiments" / "policies" / "residual.toml"
PAIRS = (
    *((name, "fixed") for name in ("annealed", "rank", "learnable", "time_only")),
    *(("learnable", "rank"), ("time_only", "annealed"), ("learnable", "time_only")),
)
NAMES = ("fixed", "annealed", "rank", "learnable", "time_only")


def measure(item: Item) -> Result:
    """Every episode of one controller."""
    torch.set_num_threads(1)
    plan = read_plan(Path(PLAN))
    tasks = plan.checks.drawn(item["tasks"], plan.seed, item["draw"])
    played = play(tasks, [catalog.build("controllers", item["controller"]) for _ in tasks])
    return {"episodes": [[one.measured, one.diverged] for one in played]}


def episodes(result: Result) -> list[Episode]:
    """As they were played."""
    return [Episode(tuple((step, value) for step, value in matches), lost) for matches, lost in result["episodes"]]


def row(one: str, other: str, mine: Sequence[Episode], theirs: Sequence[Episode], noise: float) -> list[str]:
    """How one controller does beside another."""
    gains = advantages(mine, theirs, noise)
    error = float(np.std(gains, ddof=1)) / len(gains) ** 0.5
    better = float(np.mean([gain > 0 for gain in gains]))
    return [f"{one} over {other}", f"{np.mean(gains):+.2f} ± {error:.2f}", f"{merit(gains):+.2f}", f"{better:.0%}"]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--tasks", type=int, default=32, help="tasks that each controller plays")
    asked = made.parse_args()
    items: list[Item] = [{"controller": name, "tasks": asked.tasks, "draw": 3} for name in NAMES]
    results = Results(asked.out / "results" / "policies.jsonl")
    if not asked.table:
        results.measure(items, measure)
    evolution = read_plan(Path(PLAN)).evolution
    assert evolution is not None
    matches = {item["controller"]: episodes(result) for item in items if (result := results.result(item))}
    ends = [
        [name, f"{statistics.median(one.measured[-1][1] for one in played):.4f}", sum(one.diverged for one in played)]
        for name, played in matches.items()
    ]
    pairs = [
        row(*pair, *(matches[name] for name in pair), evolution.noise) for pair in PAIRS if {*pair} <= matches.keys()
    ]
    write(
        asked.out / "policies.md",
        "# Learned policies, on short runs that they were not trained on",
        f"{results.head(items)} {asked.tasks} tasks, all controllers on the same. Mean advantage ± its standard error; "
        "merit is the mean plus half the mean of the worst quarter. How: the head of `benchmarks/policies.py`.",
        table(("controller", "median distance at the end", "diverged"), ends),
        table(("pair", "advantage", "merit", "better on"), pairs),
    )


if __name__ == "__main__":
    main()
