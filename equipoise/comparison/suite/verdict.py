"""The verdict on arms: each against one constant for all tasks, with the same tasks and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.comparison.aggregate import IntervalEstimate, holm_correction, wilcoxon_signed_rank
from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.records import Endpoint, RunArray, SuiteRecords
from equipoise.errors import SettingError

SIGNIFICANCE = 0.05
VerdictWord = Literal["wins", "loses", "no difference"]


@dataclass(frozen=True)
class SuiteStudy:
    """What is compared. `settings`: JSON text per arm. `base`: name of the arm that is one constant for all tasks.

    `tasks`: names, in the order of all arrays. `noise`: eps per task. `oracle`: JSON text of the best constant of each
    task, chosen with another seed; empty if unknown.
    """

    records: SuiteRecords
    settings: Mapping[str, str]
    base: str
    tasks: Sequence[str]
    seeds: Sequence[int]
    noise: Mapping[str, float]
    oracle: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.base not in self.settings:
            raise SettingError(f"there is no arm '{self.base}', to which all others are compared")
        if lacking := [task for task in self.tasks if task not in self.noise]:
            raise SettingError(f"the noise of task '{lacking[0]}' is not known; measure it first")

    @property
    def floor(self) -> RunArray:
        """(T,) eps of the tasks."""
        return np.array([self.noise[task] for task in self.tasks])

    def subset(self, tasks: Sequence[str]) -> "SuiteStudy":
        """Return the study of some of the tasks."""
        return SuiteStudy(self.records, self.settings, self.base, tasks, self.seeds, self.noise, self.oracle)

    def distances(self, endpoint: Endpoint) -> dict[str, RunArray]:
        """Return distances (T, S) per arm, in which diverged runs have their replacement."""
        distances = {
            name: self.records.distances(self.tasks, text, self.seeds, endpoint) for name, text in self.settings.items()
        }
        distances[ORACLE] = self._oracle_distances(endpoint)
        return statistics.replace_diverged(distances, self.floor)

    def log_ratios(self, endpoint: Endpoint) -> dict[str, RunArray]:
        """Return log ratios (T, S) to the base per arm; those of the oracle under ORACLE, NaN where it did not run."""
        distances = self.distances(endpoint)
        return {
            name: statistics.log_ratios(values, distances[self.base], self.floor) for name, values in distances.items()
        }

    def missing(self) -> dict[str, int]:
        """Return the number of runs that do not exist, per arm that lacks any."""
        total = len(self.tasks) * len(self.seeds)
        counts = {
            name: total - len(self.records.runs(self.tasks, text, self.seeds)) for name, text in self.settings.items()
        }
        return {name: count for name, count in counts.items() if count}

    def _oracle_distances(self, endpoint: Endpoint) -> RunArray:
        rows = [
            self.records.distances([task], self.oracle.get(task, ""), self.seeds, endpoint)[0] for task in self.tasks
        ]
        return np.array(rows).reshape(len(self.tasks), len(self.seeds))


ORACLE = "best of 24 constants on the task"
"""Name of the oracle in arrays and tables."""


@dataclass(frozen=True, slots=True)
class ArmVerdict:
    """The verdict on one arm. `ratio`: geometric mean ratio of distances to the base, resampling seeds.

    `over_tasks`: the same, resampling tasks as well. `worse`: share of tasks that are worse by more than 10 %;
    `worse_by_noise`: what noise alone would show. `failures`: runs that diverged. `regret`: ratio to the oracle.
    `headroom`: share of the oracle's gain. `cpu_ratio`: geometric mean of processor time; `cpu_seconds`: mean
    difference. `p_signed_rank`, `p_sign_flip`: over tasks; `p`: the latter after Holm's correction for all arms.
    """

    name: str
    ratio: IntervalEstimate
    over_tasks: IntervalEstimate
    worse: IntervalEstimate
    worse_by_noise: float
    failures: int
    runs: int
    regret: IntervalEstimate
    headroom: IntervalEstimate
    cpu_ratio: float
    cpu_seconds: float
    p_signed_rank: float
    p_sign_flip: float
    p: float

    @property
    def word(self) -> VerdictWord:
        """Whether the arm wins: both the corrected p-value and the interval over tasks exclude no difference."""
        return verdict_word(self.over_tasks, self.p)


def verdict_word(ratio: IntervalEstimate, p: float) -> VerdictWord:
    """Return the verdict on a ratio with its interval and p-value."""
    if p < SIGNIFICANCE and ratio.high < 1:
        return "wins"
    return "loses" if p < SIGNIFICANCE and ratio.low > 1 else "no difference"


def judge(study: SuiteStudy, endpoint: Endpoint) -> list[ArmVerdict]:
    """Judge all arms but the base, in the order of their ratios. Arms without any run are left out."""
    ratios = study.log_ratios(endpoint)
    names = [name for name in study.settings if name != study.base and np.isfinite(ratios[name]).any()]
    flips = {name: statistics.sign_flip_test(statistics.task_means(ratios[name])) for name in names}
    corrected = holm_correction(flips)
    verdicts = [_judge_arm(study, name, ratios, flips[name], corrected[name], endpoint) for name in names]
    return sorted(verdicts, key=lambda verdict: verdict.ratio.value)


def compare_arms(study: SuiteStudy, endpoint: Endpoint, first: str, second: str) -> tuple[IntervalEstimate, float]:
    """Return the ratio of the distances of two arms, with the interval over tasks, and the sign-flip p-value."""
    ratios = study.log_ratios(endpoint)
    pair = [ratios[first], ratios[second]]
    estimate = statistics.estimate_over_tasks(pair, statistics.mean_log_difference)
    differences = statistics.task_means(pair[0]) - statistics.task_means(pair[1])
    return statistics.as_ratio(estimate), statistics.sign_flip_test(differences)


def _judge_arm(
    study: SuiteStudy, name: str, ratios: Mapping[str, RunArray], flip: float, corrected: float, endpoint: Endpoint
) -> ArmVerdict:
    values, oracle = ratios[name], ratios[ORACLE]
    means = statistics.task_means(values)
    runs = study.records.runs(study.tasks, study.settings[name], study.seeds)
    cpu, base_cpu = (study.records.cpu(study.tasks, study.settings[arm], study.seeds) for arm in (name, study.base))
    return ArmVerdict(
        name=name,
        ratio=statistics.as_ratio(statistics.estimate_over_seeds([values], statistics.mean_log_ratio)),
        over_tasks=statistics.as_ratio(statistics.estimate_over_tasks([values], statistics.mean_log_ratio)),
        worse=statistics.share_of_worse_tasks(values),
        worse_by_noise=statistics.expected_share_of_worse_tasks(values),
        failures=sum(not np.isfinite(run.value(endpoint)) for run in runs),
        runs=len(runs),
        regret=statistics.as_ratio(statistics.estimate_over_tasks([values, oracle], statistics.mean_log_difference)),
        headroom=statistics.estimate_over_seeds([values, oracle], statistics.headroom_share),
        cpu_ratio=float(np.exp(np.nanmean(np.log(cpu / base_cpu)))),
        cpu_seconds=float(np.nanmean(cpu - base_cpu)),
        p_signed_rank=wilcoxon_signed_rank(means[np.isfinite(means)]),
        p_sign_flip=flip,
        p=corrected,
    )
