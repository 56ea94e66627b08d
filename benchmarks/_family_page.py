"""The page of the benchmark of the model family."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from _family_arms import Arm, all_arms
from _results import Results, format_range, table, write

Runs = Sequence[dict[str, Any]]
"""Results of one arm, one per seed."""
INTENDED = 300
"""CPU seconds for which the acceptance limits were set."""
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


def pictures(measured: Measured, row: str, folder: Path) -> list[str]:
    """Return the samples of the arms of a row."""
    arms = [arm for arm, _ in measured.of_row(row) if (folder / "family" / arm.picture).exists()]
    return [f"{arm.name}:\n\n![samples of {arm.name}](family/{arm.picture})" for arm in arms]


def settings_table(measured: Measured) -> str:
    """Return the table of the short looks."""
    rows = [
        [arm.name, span(runs, "steps", ".0f"), span(runs, "cpu_seconds", ".0f"), with_interval(runs, "kd")]
        for arm, runs in measured.of_row("settings")
    ]
    return table(("model, learning rates of G and D", "steps", "CPU s", "kernel distance ↓"), rows) if rows else MISSING


def join(paragraphs: Iterable[str | Sequence[str]]) -> list[str]:
    """Flatten paragraphs and lists of them."""
    return [part for each in paragraphs for part in ([each] if isinstance(each, str) else each)]


def write_page(results: Results, out: Path, checks: Callable[[Measured], str]) -> None:
    """Write family.md. `checks`: the table of acceptance."""
    measured = Measured(results)
    runs = [(arm, seed) for arm in measured.arms for seed in range(arm.seeds)]
    items = [{"row": arm.row, "arm": arm.name, "seed": seed} for arm, seed in runs]
    notes = out / "family_notes.md"
    write(
        out / "family.md",
        "# The model family on one CPU core",
        f"{results.provenance(items)} Values are those of one seed, with the 95 % interval over samples, or the median "
        "[lowest, highest] of several seeds. Method: docstring of `benchmarks/family.py`.",
        *([notes.read_text().strip()] if notes.exists() else []),
        "## Acceptance",
        f"Limits were set for {INTENDED} CPU seconds on emoji and 200 on 100 emoji. Runs here are half as long, to fit "
        "the time there was: 150 and 100; 75 on digits, 30 and 15 on points.",
        checks(measured),
        *join(
            (
                *("## Emoji, 32 pixels, 150 CPU seconds", quality_table(measured, "emoji")),
                "Samples, uncurated: the first 24, which are a class each in turn.",
                *(pictures(measured, "emoji", out), "Truncation of styles and latents, 300 samples each:"),
                *(sweep_table(measured, "emoji", "psi"), sweep_table(measured, "emoji", "truncation")),
                *("## 100 emoji, 32 pixels, 100 CPU seconds", quality_table(measured, "100 emoji")),
                *(pictures(measured, "100 emoji", out), "## Emoji, 64 pixels, 150 CPU seconds"),
                "Features of MobileNetV2: projected was trained with those of EfficientNet-Lite0. Batches of 16 for "
                "projected.",
                *(quality_table(measured, "emoji 64"), pictures(measured, "emoji 64", out)),
                *("## Digits with labels, 75 CPU seconds", digits_table(measured)),
                *(pictures(measured, "digits", out), "## Modes that can be counted", modes_table(measured)),
                *("## Learning rates, 16 pixels, 12 CPU seconds", settings_table(measured)),
            )
        ),
    )
