"""Tuning: the same number of trials for every arm, on tasks that nothing is tested on; the best becomes the arm."""

from statistics import fmean

from equipoise.comparison import planned, results
from equipoise.comparison.folder import Folder, write_json
from equipoise.comparison.plan import Plan


def choose(plan: Plan, folder: Folder) -> None:
    """Write what each arm is tuned to: of its trials the one with the highest mean score over tasks and seeds.

    A trial that diverged or could not be run counts 0. Of equals the first, so that nothing is changed without need.
    """
    assert plan.tuning is not None
    found = {run: results.row(plan, folder, run).score for run in planned.trials(plan)}
    chosen = {}
    for arm in plan.arms:
        means = [
            fmean(score for run, score in found.items() if run.arm == arm and run.trial == trial)
            for trial in range(plan.tuning.trials)
        ]
        best = max(range(len(means)), key=means.__getitem__)
        chosen[arm] = {"trial": best, "tried": planned.drawn(plan, arm, best), "scores": means}
    write_json(folder.tuned, chosen)
