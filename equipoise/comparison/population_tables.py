"""Tables of a population: its score against baselines of equal cost, and the schedules that it found."""

from collections.abc import Sequence
from statistics import fmean

from equipoise.comparison import plan_runs
from equipoise.comparison.execution import read_anchors
from equipoise.comparison.folder import ComparisonFolder, read_json
from equipoise.comparison.measurements import read_measurements
from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec
from equipoise.comparison.population import ARM_NAMES
from equipoise.comparison.results import RunResult
from equipoise.comparison.tables import NONE, ReportTable
from equipoise.report.formatting import format_duration


def population_tables(plan: ComparisonPlan, folder: ComparisonFolder, runs: Sequence[RunResult]) -> list[ReportTable]:
    """Return the tables of a plan with a population, none for another plan.

    A population costs the time of all its members. Its baselines are as many runs with constant knobs, which cost the
    same: the best of them, chosen by the live metric as the best member is, and their mean, the score of a single run
    on average. The schedule of the best member, trained alone, shows what it is worth once it is known.
    """
    if plan.population is None:
        return []
    return [_baselines_table(plan, folder, runs), _schedules_table(plan, folder)]


def _baselines_table(plan: ComparisonPlan, folder: ComparisonFolder, runs: Sequence[RunResult]) -> ReportTable:
    assert plan.population is not None
    rows = []
    for setting in plan_runs.compared_settings(plan):
        here = [run for run in runs if run.setting == setting.name and run.trial is None and run.counts]
        cells = [
            _mean_score([run for run in here if run.arm == ARM_NAMES[part]])
            for part in ("winner", "constants", "schedule")
        ]
        members = [
            score
            for seed in plan.seeds
            for score in _constant_scores(plan, folder, RunSpec(setting, ARM_NAMES["constants"], seed))
        ]
        mean = f"{fmean(members):.3f}" if members else NONE
        rows.append((setting.name, *cells[:2], mean, cells[2]))
    count = plan.population.members
    headings = (
        *("setting", "population", f"best of {count} constants", f"mean of {count} constants"),
        "schedule of the best member, alone",
    )
    return ReportTable("Population: mean score, and CPU time of a run", headings, tuple(rows))


def _mean_score(runs: Sequence[RunResult]) -> str:
    if not runs:
        return NONE
    times = [run.cpu for run in runs if run.cpu is not None]
    time = f" ({format_duration(fmean(times))})" if times else ""
    return f"{fmean(run.known_score for run in runs):.3f}{time}"


def _constant_scores(plan: ComparisonPlan, folder: ComparisonFolder, run: RunSpec) -> list[float]:
    """Return the last scores of all runs with constant knobs; one that diverged has 0."""
    anchors = read_anchors(folder, plan_runs.anchor_setting(plan, run.setting))
    result = []
    for spec in plan_runs.members_of_round(plan, run, 0):
        path = folder.member(spec)
        record = read_json(path.with_name(f"{path.name}.json"))
        if record and anchors:
            measured = read_measurements(path.with_name(f"{path.name}.jsonl"))
            value = measured[-1].value if measured and record["live"] is not None else None
            result.append(0.0 if value is None else anchors.score(value))
    return result


def _schedules_table(plan: ComparisonPlan, folder: ComparisonFolder) -> ReportTable:
    assert plan.population is not None
    rows = []
    for run in plan_runs.compared_runs(plan):
        if run.arm == ARM_NAMES["winner"]:
            values = read_json(folder.population(run) / "schedule.json")
            if values:
                rows.append(
                    (
                        f"{run.setting.name}, seed {run.seed}",
                        " → ".join(map(str, values["members"])),
                        *(_format_schedule(values["schedule"][knob]) for knob in plan.population.search),
                    )
                )
    headings = ("setting and seed", "members that it descends from", *plan.population.search)
    return ReportTable("Schedules of the best members", headings, tuple(rows))


def _format_schedule(entries: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{value:.3g} after step {step}" if step else f"{value:.3g}" for step, value in entries)
