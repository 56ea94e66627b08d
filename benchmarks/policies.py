"""How good are the shipped policies on tasks of a kind that they were not trained on: short runs on points?

    python benchmarks/policies.py             about a minute of one core; a restart continues
    python benchmarks/policies.py --table     rewrite policies.md from results/policies.jsonl

Method. 32 tasks sampled from the `check` families of experiments/policies/residual.toml (checkerboard and cross, on
which no policy was trained; 300 steps, few reals, learning rates and penalties well set and mis-set), with another seed
than the checks of the plans. All controllers have the same tasks with the same weights, data and noise. The distance is
that of equipoise/meta/held_out.py; advantages are those of equipoise/meta/episodes.py, in units of its logarithm.

Expected: learnable better than rank, time_only better than annealed. These are short runs on points, similar to the
training tasks: images and long runs are measured in benchmarks/control.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _results import ROOT, Item, Result, Results, create_parser, table, write

from equipoise.core import catalog
from equipoise.meta.episodes import EpisodeResult, compute_advantages, compute_merit, play_episodes
from equipoise.meta.plan import load_policy_plan

PLAN = ROOT / "experiments" / "policies" / "residual.toml"
PAIRS = (
    *((name, "fixed") for name in ("annealed", "rank", "learnable", "time_only")),
    *(("learnable", "rank"), ("time_only", "annealed"), ("learnable", "time_only")),
)
NAMES = ("fixed", "annealed", "rank", "learnable", "time_only")


def measure(item: Item) -> Result:
    """Run every episode of one controller."""
    torch.set_num_threads(1)
    plan = load_policy_plan(Path(PLAN))
    tasks = plan.checks.sample_many(item["tasks"], plan.seed, item["draw"])
    episodes_of_controller = play_episodes(tasks, [catalog.build("controllers", item["controller"]) for _ in tasks])
    return {"episodes": [[episode.distances, episode.diverged] for episode in episodes_of_controller]}


def episodes(result: Result) -> list[EpisodeResult]:
    """Return the recorded episodes."""
    return [
        EpisodeResult(tuple((step, value) for step, value in episodes_by_controller), diverged)
        for episodes_by_controller, diverged in result["episodes"]
    ]


def row(
    name: str, baseline: str, first: Sequence[EpisodeResult], second: Sequence[EpisodeResult], noise: float
) -> list[str]:
    """Compare one controller with another."""
    advantages = compute_advantages(first, second, noise)
    error = float(np.std(advantages, ddof=1)) / len(advantages) ** 0.5
    better = float(np.mean([gain > 0 for gain in advantages]))
    return [
        f"{name} over {baseline}",
        f"{np.mean(advantages):+.2f} ± {error:.2f}",
        f"{compute_merit(advantages):+.2f}",
        f"{better:.0%}",
    ]


def main() -> None:
    parser = create_parser(__doc__)
    parser.add_argument("--tasks", type=int, default=32, help="tasks per controller")
    args = parser.parse_args()
    items: list[Item] = [{"controller": name, "tasks": args.tasks, "draw": 3} for name in NAMES]
    results = Results(args.out / "results" / "policies.jsonl")
    if not args.table:
        results.measure(items, measure)
    evolution = load_policy_plan(Path(PLAN)).evolution
    assert evolution is not None
    episodes_by_controller = {
        item["controller"]: episodes(result) for item in items if (result := results.result(item))
    }
    ends = [
        [
            name,
            f"{statistics.median(episode.distances[-1][1] for episode in episodes_of_controller):.4f}",
            sum(episode.diverged for episode in episodes_of_controller),
        ]
        for name, episodes_of_controller in episodes_by_controller.items()
    ]
    pairs = [
        row(*pair, *(episodes_by_controller[name] for name in pair), evolution.noise)
        for pair in PAIRS
        if {*pair} <= episodes_by_controller.keys()
    ]
    write(
        args.out / "policies.md",
        "# Learned policies on short runs of unseen tasks",
        f"{results.provenance(items)} {args.tasks} tasks, the same for all controllers. Mean advantage ± its standard "
        "error; merit is the mean plus half the mean of the worst quarter. Method: docstring of "
        "`benchmarks/policies.py`.",
        table(("controller", "median distance at the end", "diverged"), ends),
        table(("pair", "advantage", "merit", "better on"), pairs),
    )


if __name__ == "__main__":
    main()
