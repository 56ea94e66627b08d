"""The page of benchmarks/rescue.py: who was saved, how soon, at what price, and who was treated without need."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from _results import HERE, Item, Result, Results, table, write
from rescue import ARMS, HEALTHY_SEEDS, SEEDS, SETTINGS, TASKS, WATCHED_SEEDS

ROUND_OFF = 1e-9
AFTER = ("delay", "remedies", "lost", "last/best", "first")
NOTES = HERE / "rescue_notes.md"
DOUBT = 1.96
"""Standard errors of a 95 % interval."""

Run = Result
Bound = Mapping[str, float]


def write_table(results: Results, items: Sequence[Item], asked: Any) -> None:
    """rescue.md, of whatever is measured."""
    runs = {(item["what"], item["arm"], item["seed"]): result for item in items if (result := results.result(item))}
    bounds = {task: bound for task in TASKS if (bound := bound_of(runs, task))}
    rows = [row for name in SETTINGS if (row := setting_row(runs, bounds, name))]
    write(
        asked.out / "rescue.md",
        "# Hostile settings: nothing done, started again, repaired",
        f"{results.head(items)} One thread a process. What the arms are and what counts as saved: head of "
        "`benchmarks/rescue.py`; the settings and their origins: `benchmarks/rescue.toml`.",
        "## Of the runs that fail with nothing done, saved",
        table(("arm", "saved", "of", "share"), saved_rows(runs, bounds)),
        "## By setting",
        "Distances at the end, median of the seeds (ring: share of good samples times that of modes). `bound`: what "
        "counts as saved (ring: of 8 modes, of good samples). "
        "`delay`: the step of the first remedy; `remedies`: in all seeds together; `lost`: the share of the steps that "
        "rolling back threw away, each arm having the same number in all; `last/best`: of ours.",
        table(
            ("setting", "bound", *(f"{arm}: saved" for arm in ARMS), *ARMS, *AFTER),
            rows,
        ),
        "## Healthy runs",
        "The same seeds, watched only and with repair on. A run with a remedy was treated without need. The ratio of "
        "the distances is of repaired to watched, geometric mean with a 95 % interval (normal, paired by seed).",
        table(("task", "runs", "treated", "ratio of distances", "interval"), healthy_rows(runs)),
        *([NOTES.read_text().strip()] if NOTES.exists() else []),
    )


def quality(run: Run) -> float:
    """One number, lower is better: the distance, or for the ring the share of samples that are not good ones."""
    last = run["last"]
    if run["reason"] == "diverged":
        return math.inf
    return float(last["distance"]) if "distance" in last else 1 - last["high_quality"] * last["modes"] / 8


def shown(run: Run) -> float:
    return quality(run) if "distance" in run["last"] else 1 - quality(run)


def bound_of(runs: Mapping[Any, Run], task: str) -> Bound | None:
    """By name, the worst numbers that count as saved; None until every healthy run is there."""
    healthy = [run for seed in HEALTHY_SEEDS if (run := runs.get((task, "nothing", seed)))]
    if len(healthy) < len(HEALTHY_SEEDS):
        return None
    if "distance" not in healthy[0]["last"]:
        return {name: 0.9 * statistics.median(run["last"][name] for run in healthy) for name in healthy[0]["last"]}
    values = [quality(run) for run in healthy]
    middle = statistics.median(values)
    return {"distance": max(1.5 * middle, middle + 2 * statistics.stdev(values))}


def is_saved(run: Run, bound: Bound) -> bool:
    """Whether every number is as good as asked for."""
    if run["reason"] == "diverged":
        return False
    last = run["last"]
    return all(last[name] <= most if name == "distance" else last[name] >= most for name, most in bound.items())


def failing(runs: Mapping[Any, Run], bounds: Mapping[str, Bound], name: str) -> list[int]:
    """The seeds that fail with nothing done."""
    bound = bounds.get(SETTINGS[name]["healthy"])
    result = [(seed, runs.get((name, "nothing", seed))) for seed in SEEDS]
    return [seed for seed, run in result if run and bound is not None and not is_saved(run, bound)]


def saved_rows(runs: Mapping[Any, Run], bounds: Mapping[str, Bound]) -> list[list[object]]:
    """Each arm over all settings, and without those of which it was said beforehand that no knob can mend them."""
    mendable = [name for name, setting in SETTINGS.items() if setting.get("mendable", True)]
    rows: list[list[object]] = []
    for arm in ("restart", "ours"):
        for names, told in ((list(SETTINGS), arm), (mendable, f"{arm}, where a knob could")):
            pairs = [
                (runs.get((name, arm, seed)), bounds[SETTINGS[name]["healthy"]])
                for name in names
                for seed in failing(runs, bounds, name)
            ]
            judged = [is_saved(run, bound) for run, bound in pairs if run]
            share = f"{sum(judged) / len(judged):.0%}" if judged else "–"
            rows.append([told, sum(judged), len(judged), share])
    return rows


def setting_row(runs: Mapping[Any, Run], bounds: Mapping[str, Bound], name: str) -> list[object] | None:
    bound = bounds.get(SETTINGS[name]["healthy"])
    by_arm = {arm: [run for seed in SEEDS if (run := runs.get((name, arm, seed)))] for arm in ARMS}
    if bound is None or not any(by_arm.values()):
        return None
    ours = by_arm["ours"]
    remedied = [remedy for run in ours for remedy in run["remedied"]]
    first = [run["remedied"][0] for run in ours if run["remedied"]]
    return [
        name + ("" if SETTINGS[name].get("mendable", True) else " (no knob can)"),
        ", ".join(f"{most:.3g}" for most in bound.values()),
        *(f"{sum(is_saved(run, bound) for run in result)} of {len(result)}" for result in by_arm.values()),
        *(f"{statistics.median(map(shown, result)):.3g}" if result else "–" for result in by_arm.values()),
        f"{statistics.median(remedy['step'] for remedy in first):.0f}" if first else "–",
        len(remedied),
        f"{sum(one['lost'] for one in remedied) / sum(run['steps'] for run in ours):.0%}" if ours else "–",
        f"{statistics.median(map(last_over_best, ours)):.2f}" if ours else "–",
        ", ".join(dict.fromkeys(f"{remedy['symptom']} {remedy['rung']}" for remedy in first)) or "–",
    ]


def last_over_best(run: Run) -> float:
    values = [quality({**run, "last": look}) for look in run["looks"]]
    best = min(values)
    return values[-1] / max(best, ROUND_OFF)


def healthy_rows(runs: Mapping[Any, Run]) -> list[list[object]]:
    rows: list[list[object]] = []
    logs, treated, count = [], 0, 0
    for task in TASKS:
        pairs = [(runs.get((task, "nothing", seed)), runs.get((task, "ours", seed))) for seed in WATCHED_SEEDS]
        both = [(watched, repaired) for watched, repaired in pairs if watched and repaired]
        if not both:
            continue
        ratios = [math.log(quality(repaired) / quality(watched)) for watched, repaired in both]
        sick = sum(bool(repaired["remedied"]) for _, repaired in both)
        rows.append([task, len(both), sick, *interval(ratios)])
        logs, treated, count = logs + ratios, treated + sick, count + len(both)
    return [*rows, ["all", count, f"{treated} ({treated / count:.0%})" if count else 0, *interval(logs)]]


def interval(logs: Sequence[float]) -> tuple[str, str]:
    if len(logs) < 2:
        return "–", "–"
    middle, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    low, high = (math.exp(middle + sign * DOUBT * error) for sign in (-1, 1))
    return f"{math.exp(middle):.3f}", f"{low:.3f} to {high:.3f}"
