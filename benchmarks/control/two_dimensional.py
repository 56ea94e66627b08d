"""All controllers on eight and nine Gaussians, well set and mis-set, twenty seeds each: which is best, and by how much?

    nice -n 10 python benchmarks/control/two_dimensional.py             about 32 minutes of one core; a restart
    continues python benchmarks/control/two_dimensional.py --table     rewrite two_dimensional.md from its results

Method. Tasks and score as in `_plane.py`; many runs are trained in one stack. An arm is a controller of the package, by
name and preset; one that requires a knob that models of points do not have (augmentation) is omitted. First, every arm
tries the same SIXTEEN bases (learning rates and penalty, sampled from the region where headroom.py finds the best
constants), one seed each, on two other tasks: six Gaussians on a wider ring, sixteen on a grid. The base with the best
mean is selected: so `fixed` is a tuned constant. Then twenty seeds on ring and grid, which were not used for tuning,
from that base (well set), and from that base with lr_d / lr_g x 4 and both gammas / 30 (mis-set). Controllers observe
coverage of held-out points, which is not what is reported. A run that diverged scores 0.

Interquartile means over runs with 95 % intervals by a bootstrap within tasks, and the probability that a run of the arm
beats one of the tuned constant, from comparison/aggregate.py (Agarwal 2021).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from _plane import BATCH, HERE, MAX_STACK, POINTS, STEPS, TASKS, TUNING, WIDTH, Run, scores
from _results import Item, Results, create_parser, table, write

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate, ScoresBySetting
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs

TRIALS, TRIAL_SEEDS = 16, (1000,)
SEEDS = tuple(range(20))
RANGES = AdversarialKnobs.ranges()
BASELINE = "fixed"
REGIMES = ("well set", "mis-set")
UNAVAILABLE = frozenset({"augment_p", "gp_weight"})
"""Knobs that perceptrons do not have."""


def arms() -> dict[str, Any]:
    """Return the controllers by name and preset, each once, the constant first."""
    names = catalog.names("controllers")
    candidates = [*names, *(f"{name}:{preset}" for name in names for preset in catalog.presets("controllers", name))]
    result: dict[str, Any] = {BASELINE: catalog.build("controllers", BASELINE)}
    for name in sorted(candidates):
        controller = catalog.build("controllers", name)
        if controller not in result.values() and not controller.required_knobs() & UNAVAILABLE:
            result[name] = controller
    return result


def base(number: int) -> dict[str, float]:
    """Return the knobs of one trial. Ranges include the best of headroom.md (lr 5.1e-3, 4.3e-3), and room for gamma
    to be divided.
    """
    source = np.random.default_rng([2, number])
    lows, highs = np.log10([1e-3, 6e-4, 3e-3]), np.log10([1e-2, 8e-3, 1.0])
    lr_g, lr_d, gamma = (10 ** source.uniform(lows, highs)).tolist()
    return {"lr_g": lr_g, "lr_d": lr_d, "r1_gamma": gamma, "r2_gamma": gamma}


def mis_set(knobs: Mapping[str, float]) -> dict[str, float]:
    """Return the knobs of the mis-set regime.

    Where the range of lr_d ends before four times its value, lr_g is lowered instead: every base loses the same
    balance.
    """
    lr_d = min(4 * knobs["lr_d"], RANGES["lr_d"].high)
    gamma = knobs["r1_gamma"] / 30
    return {"lr_g": knobs["lr_g"] * lr_d / (4 * knobs["lr_d"]), "lr_d": lr_d, "r1_gamma": gamma, "r2_gamma": gamma}


def trial(task: str, arm: str) -> Item:
    return {"stage": "trial", "task": task, "arm": arm}


def run(regime: str, task: str, arm: str, number: int) -> Item:
    """Return an item. `number`: the base that the arm was tuned to."""
    return {"stage": "run", "regime": regime, "task": task, "arm": arm, "base": number}


def runs_of(item: Item) -> list[Run]:
    """Return the runs of an item: a trial of each base, or all seeds."""
    controller = catalog.build("controllers", item["arm"])
    if item["stage"] == "trial":
        return [(seed, base(number), controller) for number in range(TRIALS) for seed in TRIAL_SEEDS]
    knobs = base(item["base"]) if item["regime"] == "well set" else mis_set(base(item["base"]))
    return [(seed, knobs, controller) for seed in SEEDS]


def measure(results: Results, items: Sequence[Item]) -> None:
    """Measure items of one task, several arms in one stack."""
    args = [runs_of(item) for item in items]
    result = scores(items[0]["task"], [run for runs in args for run in runs], watched=True)
    start = 0
    for item, runs in zip(items, args, strict=True):
        stop = start + len(runs)
        results.append(
            item,
            {
                "scores": result["scores"][start:stop],
                "diverged": [number - start for number in result["diverged"] if start <= number < stop],
                "cpu_seconds": result["cpu_seconds"] * len(runs) / sum(map(len, args)),
            },
        )
        start = stop


def stacks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield items of one task at a time, as many as fit in a stack."""
    for _, group in itertools.groupby(items, lambda item: (item["stage"], item["task"])):
        batch = list(group)
        size = MAX_STACK // len(runs_of(batch[0]))
        yield from (batch[start : start + size] for start in range(0, len(batch), size))


def tuned_base(results: Results, arm: str) -> int | None:
    """Return the base that was best in the trials of the arm, None while some are missing."""
    result = [results.result(trial(task, arm)) for task in TUNING]
    scores_by_task = [one["scores"] for one in result if one]
    if len(scores_by_task) < len(TUNING):
        return None
    means = np.mean(scores_by_task, axis=0).reshape(TRIALS, len(TRIAL_SEEDS)).mean(axis=1)
    return int(means.argmax())


def items_of(results: Results, names: Sequence[str]) -> list[Item]:
    """Return the items that are known so far: the runs of an arm depend on its trials."""
    items = [trial(task, arm) for task in TUNING for arm in names]
    bases = {arm: number for arm in names if (number := tuned_base(results, arm)) is not None}
    return items + [run(regime, task, arm, n) for regime in REGIMES for task in TASKS for arm, n in bases.items()]


def grouped(results: Results, regime: str, arm: str, tasks: Sequence[str]) -> ScoresBySetting | None:
    """Map tasks to their scores, seed by seed; None while some are missing."""
    number = tuned_base(results, arm)
    result = {task: results.result(run(regime, task, arm, number)) for task in tasks} if number is not None else {}
    if not result or not all(result.values()):
        return None
    return {task: np.array(one["scores"]) for task, one in result.items() if one}


def rows_of(results: Results, regime: str, names: Sequence[str]) -> list[list[Any]]:
    """Return a row per arm, the best first."""
    tasks = list(TASKS)
    best = grouped(results, regime, BASELINE, tasks)
    rows = []
    for arm in names:
        scores_by_task, number = grouped(results, regime, arm, tasks), tuned_base(results, arm)
        if scores_by_task is None or best is None or number is None:
            continue
        by_task = [aggregate.estimate_interquartile_mean({task: scores_by_task[task]}) for task in tasks]
        whole = aggregate.estimate_interquartile_mean(scores_by_task)
        chance = aggregate.estimate_probability_of_improvement(scores_by_task, best) if arm != BASELINE else None
        result = [results.result(run(regime, task, arm, number)) for task in tasks]
        diverged = sum(len(one["diverged"]) for one in result if one)
        rows.append(
            [
                whole.value,
                arm,
                *map(format_estimate, [*by_task, whole]),
                format_estimate(chance) if chance else "",
                diverged,
                number,
            ]
        )
    return [row[1:] for row in sorted(rows, key=lambda row: -row[0])]


def format_estimate(one: IntervalEstimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def verdict(results: Results, regime: str, names: Sequence[str]) -> str:
    """State which arms are significantly better or worse than the tuned constant, and which are neither."""
    tasks = list(TASKS)
    sides: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    best = grouped(results, regime, BASELINE, tasks)
    pairs = {
        arm: scores_by_task
        for arm in names
        if arm != BASELINE and (scores_by_task := grouped(results, regime, arm, tasks))
    }
    if best is None or not pairs:
        return f"{regime.capitalize()}: not measured yet."
    differences = {
        arm: np.concatenate([scores_by_task[task] - best[task] for task in tasks])
        for arm, scores_by_task in pairs.items()
    }
    p_values = aggregate.holm_correction(
        {arm: aggregate.wilcoxon_signed_rank(result) for arm, result in differences.items()}
    )
    for arm, result in differences.items():
        is_significant = p_values[arm] < 0.05
        sides[
            "neither" if not is_significant else "better" if aggregate.signed_rank_direction(result) > 0 else "worse"
        ].append(arm)
    names_by_side = {side: ", ".join(result) or "none" for side, result in sides.items()}
    return (
        f"{regime.capitalize()}: better than the tuned constant: {names_by_side['better']}; worse: "
        f"{names_by_side['worse']}; no significant difference: {names_by_side['neither']} (Wilcoxon test, Holm "
        "correction over arms, 5 %)."
    )


def caveat(results: Results) -> list[str]:
    """Return a warning if the mis-set constant is better than the well-set one."""
    scores_by_task = [grouped(results, regime, BASELINE, list(TASKS)) for regime in REGIMES]
    if None in scores_by_task:
        return []
    well_set_score, mis_set_score = (aggregate.estimate_interquartile_mean(one).value for one in scores_by_task if one)
    if mis_set_score <= well_set_score:
        return []
    return [
        f"**The constant is not well set.** Mis-set it scores {mis_set_score:.2f}, as tuned {well_set_score:.2f}: a "
        "faster discriminator and a thirtieth of the penalty suit these two tasks better than the values selected on "
        "two others. An arm that beats it well set, but not mis-set, has found better values, which a search for "
        "constants finds, too (headroom.md); this does not show that changing knobs during training is necessary."
    ]


def item_count(names: Sequence[str]) -> int:
    """Return the number of items: trials on both tuning tasks, runs on each task in each regime."""
    return len(names) * (len(TUNING) + len(REGIMES) * len(TASKS))


def write_table(results: Results, names: Sequence[str], out: Any) -> None:
    items = items_of(results, names)
    seconds = sum(line["result"]["cpu_seconds"] for item in items if (line := results.line(item)))
    columns = ["arm", *TASKS, "both", "P(better than fixed)", "diverged", "base"]
    done = sum(results.line(item) is not None for item in items)
    pages = []
    for regime in REGIMES:
        pages += [f"## {regime.capitalize()}", table(columns, rows_of(results, regime, names))]
    write(
        out / "two_dimensional.md",
        "# All controllers on two-dimensional data",
        f"`python benchmarks/control/two_dimensional.py`; {results.provenance(items)} {done} of {item_count(names)} "
        f"items finished; {seconds / 60:.1f} minutes of CPU.",
        f"Perceptrons of width {WIDTH}, batch size {BATCH}, {STEPS:,} steps, {POINTS} training points, "
        f"{len(SEEDS)} seeds. Interquartile mean of the score, from 0 to 1, and its 95 % interval. Tuning: the same "
        f"{TRIALS} bases for every arm, tried on two other tasks.",
        *(verdict(results, regime, names) for regime in REGIMES),
        *caveat(results),
        *pages,
        "Bases, by number:",
        table(
            ["base", *base(0)],
            [[n, *(f"{value:.2g}" for value in base(n).values())] for n in range(TRIALS)],
        ),
    )


def main() -> None:
    parser = create_parser(__doc__)
    parser.set_defaults(out=HERE)
    parser.add_argument("--only", nargs="+", metavar="ARM", help="measure only these arms")
    args = parser.parse_args()
    names, results = list(arms()), Results(args.out / "results" / "two_dimensional.jsonl")
    selected = [name for name in names if not args.only or name in args.only]
    while not args.table:
        missing = [item for item in items_of(results, selected) if not results.line(item)]
        if not missing:
            break
        for batch in stacks(missing):
            measure(results, batch)
            print(f"{len(results.lines())} of {item_count(selected)} finished", flush=True)
    write_table(results, names, args.out)


if __name__ == "__main__":
    main()
