"""Tuning: the same number of trials for every arm, on tasks that nothing is tested on; the best becomes the arm."""

from statistics import fmean

from equipoise.comparison import planned, results
from equipoise.comparison.folder import Folder, write_json
from equipoise.comparison.plan import Plan
from equipoise.errors import RunError


def choose(plan: Plan, folder: Folder) -> None:
    """Write what each arm is tuned to: of its trials the one with the highest mean score over tasks and seeds.

    A trial that diverged counts 0. Of equals the first, so that nothing is changed without need. What was chosen stands
    for good, so nothing is as long as a trial could not be run: raises RunError.
    """
    assert plan.tuning is not None
    rows = {run: results.row(plan, folder, run) for run in planned.trials(plan)}
    if missing := [run.name for run, row in rows.items() if row.state == "failed" or not row.counts]:
        raise RunError(
            f"no arm is tuned, and nothing tested: {len(missing)} of {len(rows)} trials could not be run, {missing[0]} "
            f"the first; what they said lies in {folder.path / 'failed'}, the same command tries them again"
        )
    result = {run: row.scored for run, row in rows.items()}
    chosen = {}
    for arm in plan.arms:
        means = [
            fmean(score for run, score in result.items() if run.arm == arm and run.trial == trial)
            for trial in range(plan.tuning.trials)
        ]
        best = max(range(len(means)), key=means.__getitem__)
        chosen[arm] = {"trial": best, "tried": planned.drawn(plan, arm, best), "scores": means}
    write_json(folder.tuned, chosen)
