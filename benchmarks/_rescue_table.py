"""The tables of benchmarks/rescue.py: which runs were saved, how soon, at what cost, and false alarms."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from _results import HERE, Item, Result, Results, table, write
from rescue import ARMS, HEALTHY_SEEDS, MONITORED_SEEDS, SEEDS, SETTINGS, TASKS

ROUND_OFF = 1e-9
AFTER = ("delay", "remedies", "lost", "last/best", "first remedy")
NOTES = HERE / "rescue_notes.md"
STANDARD_ERRORS = 1.96
"""Half of a 95 % interval, in standard errors."""

Run = Result
Bound = Mapping[str, float]


def write_table(results: Results, items: Sequence[Item], args: Any) -> None:
    """Write rescue.md from the available results."""
    runs = {(item["what"], item["arm"], item["seed"]): result for item in items if (result := results.result(item))}
    bounds = {task: bound for task in TASKS if (bound := bound_of(runs, task))}
    rows = [row for name in SETTINGS if (row := setting_row(runs, bounds, name))]
    write(
        args.out / "rescue.md",
        "# Runs that are set up to fail: without intervention, restarted, repaired",
        f"{results.provenance(items)} One thread per process. Arms and criterion of success: docstring of "
        "`benchmarks/rescue.py`; settings and their sources: `benchmarks/rescue.toml`.",
        "## Saved, of the runs that fail without intervention",
        table(("arm", "saved", "of", "share"), saved_rows(runs, bounds)),
        "## By setting",
        "Distances at the end, median of the seeds (ring: share of good samples times share of modes). `bound`: the "
        "limit for a saved run (ring: number of modes of 8, share of good samples). "
        "`delay`: step of the first remedy; `remedies`: number in all seeds; `lost`: share of the steps that were "
        "rolled back, where every arm has the same total number; `last/best`: final distance over the best, of ours; "
        "`first`: symptom and rung of the first remedy.",
        table(
            ("setting", "bound", *(f"{arm}: saved" for arm in ARMS), *ARMS, *AFTER),
            rows,
        ),
        "## Healthy runs",
        "The same seeds with repair off and on. Every remedy is a false alarm. Ratio of the distances with repair to "
        "those without: geometric mean with a 95 % interval (normal, paired by seed).",
        table(("task", "runs", "runs with a remedy", "ratio of distances", "interval"), healthy_rows(runs)),
        *([NOTES.read_text().strip()] if NOTES.exists() else []),
    )


def quality(run: Run) -> float:
    """Return one number, lower is better: the distance, or for the ring the share of samples that are not good."""
    last = run["last"]
    if run["reason"] == "diverged":
        return math.inf
    return float(last["distance"]) if "distance" in last else 1 - last["high_quality"] * last["modes"] / 8


def displayed_quality(run: Run) -> float:
    return quality(run) if "distance" in run["last"] else 1 - quality(run)


def bound_of(runs: Mapping[Any, Run], task: str) -> Bound | None:
    """Return by name the worst values that count as saved; None until every healthy run is available."""
    healthy = [run for seed in HEALTHY_SEEDS if (run := runs.get((task, "nothing", seed)))]
    if len(healthy) < len(HEALTHY_SEEDS):
        return None
    if "distance" not in healthy[0]["last"]:
        return {name: 0.9 * statistics.median(run["last"][name] for run in healthy) for name in healthy[0]["last"]}
    values = [quality(run) for run in healthy]
    center = statistics.median(values)
    return {"distance": max(1.5 * center, center + 2 * statistics.stdev(values))}


def is_saved(run: Run, bound: Bound) -> bool:
    """Whether every value is within its bound."""
    if run["reason"] == "diverged":
        return False
    last = run["last"]
    return all(last[name] <= most if name == "distance" else last[name] >= most for name, most in bound.items())


def failing(runs: Mapping[Any, Run], bounds: Mapping[str, Bound], name: str) -> list[int]:
    """Return the seeds that fail without intervention."""
    bound = bounds.get(SETTINGS[name]["healthy"])
    result = [(seed, runs.get((name, "nothing", seed))) for seed in SEEDS]
    return [seed for seed, run in result if run and bound is not None and not is_saved(run, bound)]


def saved_rows(runs: Mapping[Any, Run], bounds: Mapping[str, Bound]) -> list[list[object]]:
    """Return a row per arm over all settings, and over those that a knob can repair."""
    repairable = [name for name, setting in SETTINGS.items() if setting.get("repairable", True)]
    rows: list[list[object]] = []
    for arm in ("restart", "ours"):
        for names, label in ((list(SETTINGS), arm), (repairable, f"{arm}, repairable by knobs")):
            pairs = [
                (runs.get((name, arm, seed)), bounds[SETTINGS[name]["healthy"]])
                for name in names
                for seed in failing(runs, bounds, name)
            ]
            outcomes = [is_saved(run, bound) for run, bound in pairs if run]
            share = f"{sum(outcomes) / len(outcomes):.0%}" if outcomes else "–"
            rows.append([label, sum(outcomes), len(outcomes), share])
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
        name + ("" if SETTINGS[name].get("repairable", True) else " (not repairable by knobs)"),
        ", ".join(f"{most:.3g}" for most in bound.values()),
        *(f"{sum(is_saved(run, bound) for run in result)} of {len(result)}" for result in by_arm.values()),
        *(f"{statistics.median(map(displayed_quality, result)):.3g}" if result else "–" for result in by_arm.values()),
        f"{statistics.median(remedy['step'] for remedy in first):.0f}" if first else "–",
        len(remedied),
        f"{sum(one['lost'] for one in remedied) / sum(run['steps'] for run in ours):.0%}" if ours else "–",
        f"{statistics.median(map(last_over_best, ours)):.2f}" if ours else "–",
        ", ".join(dict.fromkeys(f"{remedy['symptom']} {remedy['rung']}" for remedy in first)) or "–",
    ]


def last_over_best(run: Run) -> float:
    values = [quality({**run, "last": evaluation}) for evaluation in run["looks"]]
    best = min(values)
    return values[-1] / max(best, ROUND_OFF)


def healthy_rows(runs: Mapping[Any, Run]) -> list[list[object]]:
    rows: list[list[object]] = []
    logs, repaired_runs, count = [], 0, 0
    for task in TASKS:
        pairs = [(runs.get((task, "nothing", seed)), runs.get((task, "ours", seed))) for seed in MONITORED_SEEDS]
        both = [(monitored, repaired) for monitored, repaired in pairs if monitored and repaired]
        if not both:
            continue
        ratios = [math.log(quality(repaired) / quality(monitored)) for monitored, repaired in both]
        false_alarms = sum(bool(repaired["remedied"]) for _, repaired in both)
        rows.append([task, len(both), false_alarms, *interval(ratios)])
        logs, repaired_runs, count = logs + ratios, repaired_runs + false_alarms, count + len(both)
    return [*rows, ["all", count, f"{repaired_runs} ({repaired_runs / count:.0%})" if count else 0, *interval(logs)]]


def interval(logs: Sequence[float]) -> tuple[str, str]:
    if len(logs) < 2:
        return "–", "–"
    center, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    low, high = (math.exp(center + sign * STANDARD_ERRORS * error) for sign in (-1, 1))
    return f"{math.exp(center):.3f}", f"{low:.3f} to {high:.3f}"
