"""Tuning: the same number of trials for every arm, on tasks that are not tested on; the best trial becomes the arm."""

import dataclasses
from statistics import fmean

from equipoise.comparison import plan_runs, results
from equipoise.comparison.folder import ComparisonFolder, TunedArm, write_json
from equipoise.comparison.plan import ComparisonPlan
from equipoise.errors import RunError


def select_trials(plan: ComparisonPlan, folder: ComparisonFolder) -> None:
    """Write the trial of each arm with the highest mean score over tasks and seeds; of equal ones the first.

    A diverged trial scores 0. The selection is final, so it is not made while a trial is missing: raises RunError.
    """
    assert plan.tuning is not None
    rows = {run: results.load_result(plan, folder, run) for run in plan_runs.tuning_runs(plan)}
    if missing := [run.name for run, row in rows.items() if row.state == "failed" or not row.counts]:
        raise RunError(
            f"arms could not be tuned, so nothing was compared: {len(missing)} of {len(rows)} trials failed, first "
            f"{missing[0]}; their output is in {folder.path / 'failed'}; run the same command to try them again"
        )
    tuned = {}
    for arm in plan.arms:
        means = [
            fmean(row.known_score for run, row in rows.items() if run.arm == arm and run.trial == trial)
            for trial in range(plan.tuning.trials)
        ]
        best = max(range(len(means)), key=means.__getitem__)
        tuned[arm] = dataclasses.asdict(TunedArm(best, plan_runs.trial_options(plan, arm, best), tuple(means)))
    write_json(folder.tuned, tuned)
