"""Every controller on eight and on nine Gaussians, well set and mis-set, twenty seeds each: who wins, and by how much?

    nice -n 10 python benchmarks/control/two_dimensional.py             about 32 minutes of one core; a restart goes on
    python benchmarks/control/two_dimensional.py --table     rewrite two_dimensional.md from its results

How. Tasks and score as in `_plane.py`; many runs are trained in one stack. An arm is a controller of the package, by
name and preset; one that must turn a knob which points have not (augmentation) is left out. Before, each arm gets the
same SIXTEEN bases to try (learning rates and penalty, drawn from about those among which headroom.py finds the best
constants), one seed each, on two other tasks: six Gaussians on a wider ring, sixteen on a grid. The base with the best
mean is kept: `fixed` is so a tuned constant. Then twenty seeds on ring and grid, which no arm was tuned on, from that
base (well set), and from that base with lr_d / lr_g x 4 and both gammas / 30 (mis-set). Controllers look at coverage of
held-out points, which is not what is reported. A run that diverged scores 0.

Interquartile means over runs with 95 % intervals by a bootstrap within tasks, and the probability that a run of the arm
beats one of the tuned constant, in comparison/aggregate.py (Agarwal 2021).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from _plane import AT_ONCE, BATCH, HERE, POINTS, STEPS, TASKS, TUNING, WIDTH, Run, scores
from _results import Item, Results, parser, table, write

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate, ScoresBySetting
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs

TRIALS, TRIAL_SEEDS = 16, (1000,)
SEEDS = tuple(range(20))
RANGES = AdversarialKnobs.ranges()
BASELINE = "fixed"
REGIMES = ("well set", "mis-set")
IDLE = frozenset({"augment_p", "gp_weight"})
"""Knobs that the perceptrons have not."""


def arms() -> dict[str, Any]:
    """Controllers by name and preset, each once, the constant first."""
    names = catalog.names("controllers")
    typed = [*names, *(f"{name}:{preset}" for name in names for preset in catalog.presets("controllers", name))]
    result: dict[str, Any] = {BASELINE: catalog.build("controllers", BASELINE)}
    for name in sorted(typed):
        controller = catalog.build("controllers", name)
        if controller not in result.values() and not controller.turns() & IDLE:
            result[name] = controller
    return result


def base(number: int) -> dict[str, float]:
    """Knobs of one trial. Rates have room for what headroom.md finds best (5.1e-3, 4.3e-3), gamma for its divisor."""
    source = np.random.default_rng([2, number])
    lows, highs = np.log10([1e-3, 6e-4, 3e-3]), np.log10([1e-2, 8e-3, 1.0])
    lr_g, lr_d, gamma = (10 ** source.uniform(lows, highs)).tolist()
    return {"lr_g": lr_g, "lr_d": lr_d, "r1_gamma": gamma, "r2_gamma": gamma}


def spoilt(knobs: Mapping[str, float]) -> dict[str, float]:
    """The mis-set regime of control.md, section 5.10, but for the number of points, which are few in both.

    Where lr_d's range ends before the fourfold, lr_g falls by what is missing: every base loses the same balance.
    """
    lr_d = min(4 * knobs["lr_d"], RANGES["lr_d"].high)
    gamma = knobs["r1_gamma"] / 30
    return {"lr_g": knobs["lr_g"] * lr_d / (4 * knobs["lr_d"]), "lr_d": lr_d, "r1_gamma": gamma, "r2_gamma": gamma}


def trial(task: str, arm: str) -> Item:
    return {"stage": "trial", "task": task, "arm": arm}


def run(regime: str, task: str, arm: str, number: int) -> Item:
    """`number`: the base that the arm was tuned to."""
    return {"stage": "run", "regime": regime, "task": task, "arm": arm, "base": number}


def runs_of(item: Item) -> list[Run]:
    """What an item asks for: a trial of each base, or all seeds."""
    controller = catalog.build("controllers", item["arm"])
    if item["stage"] == "trial":
        return [(seed, base(number), controller) for number in range(TRIALS) for seed in TRIAL_SEEDS]
    knobs = base(item["base"]) if item["regime"] == "well set" else spoilt(base(item["base"]))
    return [(seed, knobs, controller) for seed in SEEDS]


def measure(results: Results, items: Sequence[Item]) -> None:
    """Answer items of one task, several arms in one stack."""
    asked = [runs_of(item) for item in items]
    result = scores(items[0]["task"], [run for runs in asked for run in runs], watched=True)
    start = 0
    for item, runs in zip(items, asked, strict=True):
        stop = start + len(runs)
        results.append(
            item,
            {
                "scores": result["scores"][start:stop],
                "diverged": [number - start for number in result["diverged"] if start <= number < stop],
                "cpu_seconds": result["cpu_seconds"] * len(runs) / sum(map(len, asked)),
            },
        )
        start = stop


def stacks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items of one task at a time, as many as a stack takes."""
    for _, alike in itertools.groupby(items, lambda item: (item["stage"], item["task"])):
        together = list(alike)
        size = AT_ONCE // len(runs_of(together[0]))
        yield from (together[start : start + size] for start in range(0, len(together), size))


def tuned(results: Results, arm: str) -> int | None:
    """The base that did best in the arm's trials, None while some are missing."""
    result = [results.result(trial(task, arm)) for task in TUNING]
    known = [one["scores"] for one in result if one]
    if len(known) < len(TUNING):
        return None
    means = np.mean(known, axis=0).reshape(TRIALS, len(TRIAL_SEEDS)).mean(axis=1)
    return int(means.argmax())


def items_of(results: Results, names: Sequence[str]) -> list[Item]:
    """What is to be measured as far as it is known: an arm's runs follow from its trials."""
    items = [trial(task, arm) for task in TUNING for arm in names]
    bases = {arm: number for arm in names if (number := tuned(results, arm)) is not None}
    return items + [run(regime, task, arm, n) for regime in REGIMES for task in TASKS for arm, n in bases.items()]


def grouped(results: Results, regime: str, arm: str, tasks: Sequence[str]) -> ScoresBySetting | None:
    """Task -> its scores, seed by seed; None while some are missing."""
    number = tuned(results, arm)
    result = {task: results.result(run(regime, task, arm, number)) for task in tasks} if number is not None else {}
    if not result or not all(result.values()):
        return None
    return {task: np.array(one["scores"]) for task, one in result.items() if one}


def rows_of(results: Results, regime: str, names: Sequence[str]) -> list[list[Any]]:
    """A row an arm, the best first."""
    tasks = list(TASKS)
    best = grouped(results, regime, BASELINE, tasks)
    rows = []
    for arm in names:
        known, number = grouped(results, regime, arm, tasks), tuned(results, arm)
        if known is None or best is None or number is None:
            continue
        alone = [aggregate.estimate_interquartile_mean({task: known[task]}) for task in tasks]
        whole = aggregate.estimate_interquartile_mean(known)
        chance = aggregate.estimate_probability_of_improvement(known, best) if arm != BASELINE else None
        result = [results.result(run(regime, task, arm, number)) for task in tasks]
        lost = sum(len(one["diverged"]) for one in result if one)
        rows.append([whole.value, arm, *map(told, [*alone, whole]), told(chance) if chance else "", lost, number])
    return [row[1:] for row in sorted(rows, key=lambda row: -row[0])]


def told(one: IntervalEstimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def verdict(results: Results, regime: str, names: Sequence[str]) -> str:
    """Who beats the tuned constant for sure, who loses to it for sure, and who is not told apart from it."""
    tasks = list(TASKS)
    sides: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    best = grouped(results, regime, BASELINE, tasks)
    pairs = {arm: known for arm in names if arm != BASELINE and (known := grouped(results, regime, arm, tasks))}
    if best is None or not pairs:
        return f"{regime.capitalize()}: not measured yet."
    differences = {arm: np.concatenate([known[task] - best[task] for task in tasks]) for arm, known in pairs.items()}
    p_values = aggregate.holm_correction({arm: aggregate.wilcoxon_signed_rank(result) for arm, result in differences.items()})
    for arm, result in differences.items():
        sure = p_values[arm] < 0.05
        sides["neither" if not sure else "better" if aggregate.signed_rank_direction(result) > 0 else "worse"].append(arm)
    said = {side: ", ".join(result) or "none" for side, result in sides.items()}
    return (
        f"{regime.capitalize()}: better than the tuned constant: {said['better']}; worse: {said['worse']}; "
        f"not to be told apart: {said['neither']} (Wilcoxon, Holm over arms, 5 %)."
    )


def caution(results: Results) -> list[str]:
    """What must be known before the well-set regime is believed: whether spoiling the constant made it better."""
    known = [grouped(results, regime, BASELINE, list(TASKS)) for regime in REGIMES]
    if None in known:
        return []
    well, spoilt_ = (aggregate.estimate_interquartile_mean(one).value for one in known if one)
    if spoilt_ <= well:
        return []
    return [
        f"**How well the constant was set:** badly. Spoilt it scores {spoilt_:.2f}, as tuned {well:.2f}: a faster "
        "discriminator and a thirtieth of the penalty suit these two tasks better than what the trials on two others "
        "chose. An arm that beats it well set, and not mis-set, has found better values, which a search for constants "
        "finds too (headroom.md); it has not shown that turning knobs while training runs is needed."
    ]


def planned(names: Sequence[str]) -> int:
    """Items: trials on both tuning tasks, runs on each task in each regime."""
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
        "# Every controller in the plane",
        f"`python benchmarks/control/two_dimensional.py`; {results.head(items)} {done} of {planned(names)} done; "
        f"{seconds / 60:.1f} minutes of CPU.",
        f"Perceptrons of width {WIDTH}, batches of {BATCH}, {STEPS:,} steps, {POINTS} training points, "
        f"{len(SEEDS)} seeds. Interquartile mean of the score, from 0 to 1, and its 95 % interval. Tuning: {TRIALS} "
        "bases for every arm, the same ones, tried on two other tasks.",
        *(verdict(results, regime, names) for regime in REGIMES),
        *caution(results),
        *pages,
        "Bases, by number:",
        table(
            ["base", *base(0)],
            [[n, *(f"{value:.2g}" for value in base(n).values())] for n in range(TRIALS)],
        ),
    )


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=HERE)
    made.add_argument("--only", nargs="+", metavar="ARM", help="measure these arms alone")
    asked = made.parse_args()
    names, results = list(arms()), Results(asked.out / "results" / "two_dimensional.jsonl")
    wanted = [name for name in names if not asked.only or name in asked.only]
    while not asked.table:
        missing = [item for item in items_of(results, wanted) if not results.line(item)]
        if not missing:
            break
        for together in stacks(missing):
            measure(results, together)
            print(f"{len(results.lines())} of {planned(wanted)} done", flush=True)
    write_table(results, names, asked.out)


if __name__ == "__main__":
    main()
