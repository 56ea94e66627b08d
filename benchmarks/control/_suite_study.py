"""What the page of the suite shows, computed from the results: studies of both endpoints, gate, subgroups, power."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from _suite_arms import constants
from _suite_runs import RESULTS_FILE, SUITE_FILE, RunStore

from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.checks import ArmInfo, check_suite
from equipoise.comparison.suite.gate import Gate, choose_constants, measure_gate
from equipoise.comparison.suite.noise import load_noise
from equipoise.comparison.suite.power import PilotVariance, pilot_variance
from equipoise.comparison.suite.records import ENDPOINTS, Endpoint, RunArray, SuiteRecords, settings_text
from equipoise.comparison.suite.stability import RunStability, measure_stability
from equipoise.comparison.suite.tasks import Suite, SuiteTask, load_suite
from equipoise.comparison.suite.verdict import ORACLE, ArmVerdict, SuiteStudy, judge

NOISE_FILE = RESULTS_FILE.with_name("suite_noise.json")
BASE = "constant"
SEEDS = (1, 2, 3, 4, 5)
LONG = 800
"""Runs of at least this many steps are long."""
POINTS, TABLES = ("mixtures", "spirals"), ("tables",)


@dataclass(frozen=True)
class SuitePage:
    """All that the page shows. `records`: of the store. `arms`: without the oracle; one of them is `base`."""

    suite: Suite
    records: SuiteRecords
    arms: Mapping[str, ArmInfo]
    seeds: Sequence[int] = SEEDS
    base: str = BASE
    noise: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> tuple[SuiteTask, ...]:
        """The test tasks."""
        return self.suite.half("test")

    @cached_property
    def constants(self) -> list[str]:
        """The settings of the constants of the gate; the first are the published ones."""
        return [settings_text(settings) for settings in constants()]

    @cached_property
    def studies(self) -> dict[Endpoint, SuiteStudy]:
        """The study of each endpoint: their oracles may differ."""
        return {endpoint: self._study(endpoint) for endpoint in ENDPOINTS}

    def _study(self, endpoint: Endpoint) -> SuiteStudy:
        names = [task.name for task in self.tasks]
        oracle = choose_constants(self.records, self.constants, names, "selected")
        by_endpoint = choose_constants(self.records, self.constants, names, endpoint)
        for task, text in by_endpoint.items():
            if self.records.runs([task], text, self.seeds):  # fresh seeds may exist for the other choice only
                oracle[task] = text
        settings = {name: settings_text(arm.settings) for name, arm in self.arms.items()}
        return SuiteStudy(self.records, settings, self.base, names, self.seeds, self.noise, oracle)

    @cached_property
    def gates(self) -> dict[Endpoint, Gate]:
        """The gate at each endpoint."""
        return {endpoint: measure_gate(study, self.constants, endpoint) for endpoint, study in self.studies.items()}

    @cached_property
    def verdicts(self) -> dict[Endpoint, list[ArmVerdict]]:
        """The verdicts on all arms but the base at each endpoint, best first."""
        return {endpoint: judge(study, endpoint) for endpoint, study in self.studies.items()}

    @cached_property
    def ratios(self) -> dict[Endpoint, dict[str, RunArray]]:
        """Log ratios (T, S) per arm, and of the oracle, at each endpoint."""
        return {endpoint: study.log_ratios(endpoint) for endpoint, study in self.studies.items()}

    @cached_property
    def stability(self) -> dict[str, RunStability]:
        """Stability per arm."""
        study = self.studies["selected"]
        base = {
            (run.task, run.seed): run for run in self.records.runs(study.tasks, study.settings[self.base], self.seeds)
        }
        runs = {name: self.records.runs(study.tasks, text, self.seeds) for name, text in study.settings.items()}
        return {name: measure_stability(result, base, self.noise) for name, result in runs.items() if result}

    def subgroups(self) -> dict[str, dict[str, list[int]]]:
        """Return subgroups of the test tasks: kind of subgroup -> label -> positions of its tasks."""
        groups: dict[str, dict[str, list[int]]] = {}
        for place, task in enumerate(self.tasks):
            for kind, label in subgroup_labels(task).items():
                groups.setdefault(kind, {}).setdefault(label, []).append(place)
        return groups

    def mis_set(self) -> list[int]:
        """Return the positions of the tasks whose knobs are mis-set."""
        return [place for place, task in enumerate(self.tasks) if task.factors]

    def damage_undone(self, name: str, endpoint: Endpoint) -> float:
        """Return the share of the damage of mis-set knobs that an arm undoes; NaN without runs of the default."""
        study, places = self.studies[endpoint], self.mis_set()
        everyone = replace(study, settings={**study.settings, "published": self.constants[0]})
        ratios = everyone.log_ratios(endpoint)
        means = [statistics.task_means(ratios[arm][places])[None] for arm in ("published", name, ORACLE)]
        return float(statistics.damage_undone(means)[0])

    def pilot(self) -> tuple[PilotVariance | None, int]:
        """Return variances of log ratios to the base on training tasks, and the number of arms with several seeds."""
        tasks = [task.name for task in self.suite.half("training") if task.name in self.noise]
        base = settings_text(self.arms[self.base].settings)
        floor = np.array([self.noise[task] for task in tasks])
        result = {record.settings: record for record in self.records.all() if record.task in tasks}
        arrays = []
        for text in result.keys() - {base}:
            seeds = sorted({seed for task in tasks for seed in self.records.seeds(task, text)})
            pair = {
                name: self.records.distances(tasks, settings, seeds, "selected")
                for name, settings in (("arm", text), ("base", base))
            }
            pair = statistics.replace_diverged(pair, floor)
            arrays.append(statistics.log_ratios(pair["arm"], pair["base"], floor))
        several = [array for array in arrays if (np.isfinite(array).sum(axis=1) > 1).sum() > 1]
        return (pilot_variance(several) if several else None), len(several)


def subgroup_labels(task: SuiteTask) -> dict[str, str]:
    """Return the subgroups of a task: kind -> label."""
    kind = "points" if task.source in POINTS else "tables" if task.source in TABLES else "pictures"
    return {
        "number of samples": str(task.training_images or "all"),
        "length": "long" if task.steps >= LONG else "short",
        "model": task.model.partition(":")[0],
        "regime": task.regime,
        "kind of data": kind,
        "source": task.source,
    }


def open_page(
    store: RunStore, arms: Mapping[str, ArmInfo], *, seeds: Sequence[int] = SEEDS, noise_file: Path = NOISE_FILE
) -> SuitePage:
    """Check the arms and read all that the page needs. Measures the noise of tasks, seconds, where it is unknown."""
    suite = load_suite(SUITE_FILE)
    check_suite(suite, arms)
    records = SuiteRecords.of_lines(store.results.values())
    return SuitePage(suite, records, arms, seeds, noise=load_noise(noise_file, suite.tasks))
