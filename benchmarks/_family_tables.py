"""Tables of the benchmark of the model family."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from _family_arms import Arm, all_arms
from _results import Results, format_range, table

Runs = Sequence[dict[str, Any]]
"""Results of one arm, one per seed."""
MISSING = "not measured"


class Measured:
    """Results of the arms, by row."""

    def __init__(self, results: Results) -> None:
        self.arms = all_arms()
        by_item: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        for line in results.lines():
            item = line["item"]
            if "row" in item:
                by_item.setdefault((item["row"], item["arm"]), {})[item["seed"]] = line["result"]
        self.by_item = by_item

    def of_row(self, row: str) -> list[tuple[Arm, Runs]]:
        """Return the arms of a row that have results."""
        return [(arm, self.of_arm(arm.row, arm.name)) for arm in self.arms if arm.row == row and self.has(arm)]

    def has(self, arm: Arm) -> bool:
        """Return whether an arm has results."""
        return (arm.row, arm.name) in self.by_item

    def of_arm(self, row: str, name: str) -> Runs:
        """Return the results of an arm."""
        found = self.by_item.get((row, name), {})
        return [found[seed] for seed in sorted(found)]

    def median(self, row: str, name: str, value: str) -> float | None:
        """Return the median of a value over the seeds; None without results."""
        values = [run[value] for run in self.of_arm(row, name) if run.get(value) is not None]
        return statistics.median(values) if values else None


def span(runs: Runs, value: str | Callable[[dict[str, Any]], float], form: str = ".2f") -> str:
    """Format a value of all seeds: one number, or the median with the range."""
    read = value if callable(value) else lambda run: run[value]
    values = [read(run) for run in runs]
    return format(values[0], form) if len(values) == 1 else format_range(values, form)


def with_interval(runs: Runs, value: str, form: str = ".2f") -> str:
    """Format a value of one seed with its interval over samples, or of several seeds with their range."""
    if len(runs) > 1 or not runs[0].get(f"{value}_interval"):
        return span(runs, value, form)
    low, high = runs[0][f"{value}_interval"]
    return f"{runs[0][value]:{form}} [{low:{form}}, {high:{form}}]"


def weights(runs: Runs) -> str:
    """Format the number of weights of each network, in thousands."""
    return " + ".join(f"{count / 1000:,.0f}" for count in runs[0]["parameters"].values())


def common_cells(arm: Arm, runs: Runs) -> list[str]:
    """Return the cells that every table begins with."""
    return [arm.name, weights(runs), span(runs, "steps", ",.0f"), span(runs, "cpu_seconds", ".0f"), str(len(runs))]


COMMON = ("arm", "weights, thousands", "steps", "CPU s", "seeds")


def quality_table(measured: Measured, row: str) -> str:
    """Return the table of distances of a row."""
    rows = [
        [
            *common_cells(arm, runs),
            with_interval(runs, "kd"),
            with_interval(runs, "precision"),
            with_interval(runs, "recall", ".3f"),
            span(runs, "cpu_seconds_per_1000", ".1f"),
            *([with_interval(runs, "authentic", ".1f")] if "authentic" in runs[0] else []),
        ]
        for arm, runs in sorted(measured.of_row(row), key=lambda pair: statistics.median(r["kd"] for r in pair[1]))
    ]
    columns = (*COMMON, "kernel distance ↓", "precision ↑", "recall ↑", "CPU s per 1,000 samples")
    extra = ("no copies, % ↑",) if rows and len(rows[0]) > len(columns) else ()
    return table((*columns, *extra), rows) if rows else MISSING


def digits_table(measured: Measured) -> str:
    """Return the table of conditional models on digits."""
    rows = [
        [
            *common_cells(arm, runs),
            span(runs, lambda run: 100 * run["agrees"], ".1f"),
            span(runs, "distance", ".3f"),
            span(runs, lambda run: statistics.mean(run["class_recall"]), ".3f"),
            span(runs, lambda run: min(run["class_recall"]), ".3f"),
            span(runs, "cpu_seconds_per_1000", ".1f"),
        ]
        for arm, runs in measured.of_row("digits")
    ]
    columns = ("labels confirmed, % ↑", "kernel distance ↓", "recall of a class, mean ↑", "lowest ↑")
    return table((*COMMON, *columns, "CPU s per 1,000 samples"), rows) if rows else MISSING


def sweep_table(measured: Measured, row: str, option: str) -> str:
    """Return the table of precision and recall for values of an option of sampling."""
    rows = []
    for arm, runs in measured.of_row(row):
        if option in runs[0]:
            rows += [
                [
                    arm.name,
                    value,
                    *(span(runs, lambda run, n=name, v=value: run[option][v][n], form) for name, form in SWEPT),
                ]
                for value in runs[0][option]
            ]
    return table(("arm", option, "kernel distance ↓", "precision ↑", "recall ↑"), rows) if rows else MISSING


SWEPT = (("kd", ".2f"), ("precision", ".2f"), ("recall", ".3f"))


def modes_table(measured: Measured) -> str:
    """Return the table of modes."""
    rows = []
    for arm, runs in measured.of_row("modes"):
        stacks = "stacks" in runs[0]
        counted = "stacks" if stacks else "modes"
        of = runs[0]["stacks_of_reals"] if stacks else runs[0]["of_modes"]
        quality = "" if stacks else span(runs, lambda run: 100 * run["high_quality"], ".1f")
        each = ", ".join(str(run[counted]) for run in runs)
        rows.append([*common_cells(arm, runs), f"{span(runs, counted, '.0f')} of {of}", each, quality])
    return table((*COMMON, "modes ↑", "of each seed", "good samples, %"), rows) if rows else MISSING
