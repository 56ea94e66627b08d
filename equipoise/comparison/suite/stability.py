"""Stability and efficiency of runs of the suite, from their distances over the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from equipoise.comparison.suite.records import RunArray, SuiteRecord


@dataclass(frozen=True, slots=True)
class RunStability:
    """Stability of an arm, over its runs.

    `rise`: geometric mean ratio of the last distance to the best of the run. `fluctuation`: mean standard deviation of
    the log distance in the last third. `diverged`: runs that diverged, of `runs`. `share_of_steps`: median share of the
    run until the last distance of the constant with the same task and seed is reached; runs that do not reach it count
    as 1. `reached`: share of runs that reach it. Means are over tasks, of means over runs; `diverged` runs are left out
    of the first two.
    """

    rise: float
    fluctuation: float
    diverged: int
    runs: int
    share_of_steps: float
    reached: float


def measure_stability(
    runs: Sequence[SuiteRecord], reference: Mapping[tuple[str, int], SuiteRecord], noise: Mapping[str, float]
) -> RunStability:
    """Measure the stability of runs. `reference`: the constant's runs by task and seed. `noise`: eps per task."""
    rises: dict[str, list[float]] = {}
    fluctuations: dict[str, list[float]] = {}
    shares: list[float] = []
    for run in runs:
        if not run.diverged and run.distances and math.isfinite(run.distances[-1]):
            logs = _log_distances(run, noise[run.task])
            rises.setdefault(run.task, []).append(float(logs[-1] - logs.min()))
            fluctuations.setdefault(run.task, []).append(_fluctuation(run, logs))
        if constant := reference.get((run.task, run.seed)):
            shares.append(share_of_steps(run, constant.last))
    return RunStability(
        rise=math.exp(_mean_over_tasks(rises)),
        fluctuation=_mean_over_tasks(fluctuations),
        diverged=sum(run.diverged or math.isinf(run.last) for run in runs),
        runs=len(runs),
        share_of_steps=median(min(share, 1.0) for share in shares) if shares else math.nan,
        reached=fmean(math.isfinite(share) for share in shares) if shares else math.nan,
    )


def share_of_steps(run: SuiteRecord, distance: float) -> float:
    """Return the share of a run after which its distance is at most `distance`; infinity if it never is."""
    reached = [step for step, value in zip(run.steps, run.distances, strict=True) if value <= distance]
    return reached[0] / run.steps[-1] if reached else math.inf


def _log_distances(run: SuiteRecord, noise: float) -> RunArray:
    finite = np.array([value for value in run.distances if math.isfinite(value)])
    logs: RunArray = np.log(np.maximum(finite, 0) + noise)
    return logs


def _fluctuation(run: SuiteRecord, logs: RunArray) -> float:
    count = sum(step > run.steps[-1] * 2 / 3 for step in run.steps)
    return float(logs[-max(2, count) :].std())


def _mean_over_tasks(values: Mapping[str, Sequence[float]]) -> float:
    return fmean(fmean(group) for group in values.values()) if values else math.nan
