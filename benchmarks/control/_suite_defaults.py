"""What `train` does by default: shipped controllers on published settings, and in runs three times as long.

These comparisons are not part of the verdict, whose arms are tuned: they choose the default of `train`. The controllers
on published settings were added after the verdict had been looked at, except for the learned policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _results import table
from _suite_arms import constants
from _suite_runs import FOLDER, SUITE_FILE, RunStore, SuiteRun
from _suite_text import equals_p, format_interval, format_p

from equipoise.comparison.aggregate import holm_correction
from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.noise import load_noise
from equipoise.comparison.suite.records import ENDPOINTS, Endpoint, RunArray, SuiteRecords, settings_text
from equipoise.comparison.suite.tasks import SuiteTask, load_suite

LONG_FILE, SEEDS = FOLDER / "suite_long.toml", (1, 2, 3, 4, 5)
LONG_SEEDS = (1, 2, 3)
CONTROLLERS = ("annealed", "ada", "rank", "learnable:suite")


@dataclass(frozen=True)
class Comparison:
    """Arms that are compared on test tasks. `settings`: by name of the arm. `base`: the arm of the ratios."""

    file: Path
    settings: Mapping[str, Mapping[str, Any]]
    base: str

    @property
    def tasks(self) -> tuple[SuiteTask, ...]:
        """The test tasks of the file."""
        return load_suite(self.file).half("test")

    def missing(self, store: RunStore, seeds: Sequence[int] = SEEDS) -> list[SuiteRun]:
        """Return the runs without a result under any name of an arm, seed by seed."""
        known = {(line["task"], settings_text(line["settings"]), line["seed"]) for line in store.results.values()}
        runs = [
            SuiteRun.of(task.name, name, dict(settings), seed)
            for seed in seeds
            for name, settings in self.settings.items()
            for task in self.tasks
        ]
        return [run for run in runs if (run.task, run.settings, run.seed) not in known]

    def complete_seeds(self, store: RunStore) -> list[int]:
        """Return the seeds whose runs all exist."""
        return [seed for seed in SEEDS if not self.missing(store, [seed])]


def on_published_settings() -> Comparison:
    """Return controllers as they are shipped on the published setting of every test task; ratios are to no control."""
    settings = {name: {"controller": name} for name in CONTROLLERS}
    return Comparison(SUITE_FILE, {"fixed": constants()[0], **settings}, "fixed")


def in_longer_runs() -> Comparison:
    """Return the same controllers and settings on the longer tasks."""
    return replace(on_published_settings(), file=LONG_FILE)


def untuned_quality(store: RunStore, noise_file: Path) -> str:
    """Return the first half of a sentence: the learned policy against the schedule and no control, none of them tuned.

    Empty without a complete seed.
    """
    comparison = on_published_settings()
    if not (seeds := comparison.complete_seeds(store)):
        return ""
    ratios = _log_ratios(store, comparison, seeds, "selected", noise_file)
    learned, annealed = (ratios[name] for name in ("learnable:suite", "annealed"))
    pair = statistics.estimate_over_tasks([learned, annealed], statistics.mean_log_difference)
    differences = statistics.task_means(learned) - statistics.task_means(annealed)
    cells = (_interval(values) for values in (learned, annealed))
    return (
        "without any tuning, on published settings, the learned policy `learnable:suite` has "
        f"{format_interval(statistics.as_ratio(pair))} times the distance to test reals of the annealed schedule "
        f"`annealed` (p {equals_p(statistics.sign_flip_test(differences))}); relative to no control the two are "
        f"{' and '.join(cells)}"
    )


def _interval(log_ratios: RunArray) -> str:
    return format_interval(statistics.as_ratio(statistics.estimate_over_tasks([log_ratios], statistics.mean_log_ratio)))


def default_sections(store: RunStore, noise_file: Path) -> list[str]:
    """Return both sections of the page as Markdown; one without a complete seed is left out."""
    texts = {
        "Without any tuning: the default of `train`": (
            on_published_settings(),
            "Controllers as they are shipped, on the published settings of every model. Ratios to no control; p of "
            "sign flips over tasks, corrected for the arms of this table.",
        ),
        "Longer runs": (
            in_longer_runs(),
            "The same in runs of 2,400 steps, three times as long (`suite_long.toml`).",
        ),
    }
    lines = []
    for title, (comparison, text) in texts.items():
        if seeds := comparison.complete_seeds(store):
            text = f"{text} {len(comparison.tasks)} tasks, {len(seeds)} seeds."
            lines += [f"## {title}", text, _table(store, comparison, seeds, noise_file)]
    return lines


def _table(store: RunStore, comparison: Comparison, seeds: Sequence[int], noise_file: Path) -> str:
    ratios = {endpoint: _log_ratios(store, comparison, seeds, endpoint, noise_file) for endpoint in ENDPOINTS}
    means = {name: statistics.task_means(values) for name, values in ratios["selected"].items()}
    rivals = [name for name in means if name != comparison.base]
    corrected = holm_correction({name: statistics.sign_flip_test(means[name]) for name in rivals})
    rows = []
    for name in sorted(means, key=lambda name: float(means[name].mean())):
        cells = [_interval(ratios[endpoint][name]) for endpoint in ENDPOINTS]
        p = format_p(corrected[name]) if name in corrected else "–"
        rows.append((name, *cells, p, *(f"{ratio:.2f}" for ratio in np.exp(means[name]))))
    names = (task.name.removesuffix("_longer").replace("_", " ") for task in comparison.tasks)
    return table(("controller", *(f"{endpoint} [tasks]" for endpoint in ENDPOINTS), "p, Holm", *names), rows)


def _log_ratios(
    store: RunStore, comparison: Comparison, seeds: Sequence[int], endpoint: Endpoint, noise_file: Path
) -> dict[str, RunArray]:
    names, noise = [task.name for task in comparison.tasks], load_noise(noise_file, comparison.tasks)
    floor = np.array([noise[name] for name in names])
    records = SuiteRecords.of_lines(store.results.values())
    distances = {
        name: records.distances(names, settings_text(settings), seeds, endpoint)
        for name, settings in comparison.settings.items()
    }
    distances = statistics.replace_diverged(distances, floor)
    base = distances[comparison.base]
    return {name: statistics.log_ratios(values, base, floor) for name, values in distances.items()}
