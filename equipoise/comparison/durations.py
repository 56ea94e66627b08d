"""Estimates of how long the runs of a plan take, without the evaluations."""

import dataclasses
import tempfile
from pathlib import Path

from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import (
    RunSpec,
    TaskSetting,
    build_experiment,
    compared_runs,
    get_task,
    trained_run,
    tuning_runs,
)
from equipoise.comparison.population import member_count
from equipoise.comparison.provisional import provisional_start
from equipoise.experiment.estimates import estimate


def estimate_durations(plan: ComparisonPlan) -> dict[RunSpec, float]:
    """Return run -> seconds of training: its budget, or an estimate from a few steps; 0 for one that trains nothing.

    A run that shows the best member of a population takes the time of all members.
    Only the baseline is trained for the estimate, unless arms have models of their own.
    """
    known: dict[tuple[TaskSetting, str], float] = {}
    result = {}
    for run in (*tuning_runs(plan), *compared_runs(plan)):
        key = run.setting, run.arm if plan.compares_models else plan.baseline
        if key not in known:
            known[key] = _estimate(plan, RunSpec(run.setting, key[1], plan.seeds[0]))
        has_members = plan.arms[run.arm].population in ("winner", "constants")
        result[run] = known[key] * (member_count(plan) if has_members else 1)
    return result


def _estimate(plan: ComparisonPlan, run: RunSpec) -> float:
    """Return the seconds that a run trains."""
    if trained_run(plan, run) != run:
        return 0.0
    if (budget := get_task(plan, run.setting).cpu_seconds) is not None:
        return budget
    with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
        experiment = build_experiment(plan, run, {}, provisional_start(plan, run, Path(folder)))
        return estimate(dataclasses.replace(experiment, metric=None)).seconds
