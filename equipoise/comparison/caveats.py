"""Caveats on the rank of an arm, derived from the logs of its runs.

- The arm overwrites a regime: its first decision sets a knob to a fixed value, whatever the regime set, so only the
  other arms are mis-set.
- The arm cannot be tuned in this way: its first decision overwrites a knob that its trials were meant to vary.
- The arm is blind: it controls by a distance, and no run of the task measured a metric where lower is better.
- The arm is idle: it changed nothing in any run of the task, because a signal was missing or there was no reason to.
- A person changed knobs in runs of the arm.
- The arm took more or less CPU time than its budget: the machine was slower or faster than in the calibration.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from equipoise.comparison import arms, plan_runs
from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.plan import WELL_SET, ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec
from equipoise.comparison.results import RunResult
from equipoise.core import catalog
from equipoise.core.events import MANUAL, REPAIR
from equipoise.report.formatting import format_duration
from equipoise.runs.manual_control import hold_periods
from equipoise.runs.run import EXPERIMENT_FILE, Run

MAX_BUDGET_RATIO = 1.25
"""Largest factor by which the mean CPU time of an arm may differ from its budget without a caveat."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """A caveat of an arm. `label`: short form, shown with the name of the arm in a table. `text`: a sentence."""

    arm: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class InitialKnobs:
    """Knobs of a run: `base` as configured, `first` after the first decision of the controller."""

    base: Mapping[str, float]
    first: Mapping[str, float]


def find_caveats(plan: ComparisonPlan, folder: ComparisonFolder) -> list[Caveat]:
    """Return all caveats, arm by arm. Runs that do not exist yet have none."""
    starts: dict[RunSpec, InitialKnobs] = {}
    for run in (*plan_runs.compared_runs(plan), *plan_runs.tuning_runs(plan)):
        if (start := _initial_knobs(folder, run)) is not None:
            starts[run] = start
    result: list[Caveat] = []
    for arm in plan.arms:
        result += [*_overwritten_regimes(plan, arm, starts), *_overwritten_trials(plan, arm, starts)]
    return [*result, *_blind_arms(plan, folder), *_idle_arms(plan, folder), *_manual_arms(plan, folder)]


def find_budget_caveats(plan: ComparisonPlan, runs: Iterable[RunResult]) -> Iterator[Caveat]:
    """Yield a caveat for each arm whose mean CPU time on a task differs too much from its budget."""
    times: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run.trial is None and run.cpu is not None and plan.arms[run.arm].run is None:
            times.setdefault((run.arm, run.task), []).append(run.cpu)
    for (arm, task), seconds in times.items():
        budget = plan.tasks[task].cpu_seconds
        if budget is not None and not budget / MAX_BUDGET_RATIO <= fmean(seconds) <= budget * MAX_BUDGET_RATIO:
            text = (
                f"{arm} took {format_duration(fmean(seconds))} of CPU time on {task}, not the budget of "
                f"{format_duration(budget)}: the machine ran at a different speed during the calibration."
            )
            yield Caveat(arm, "off budget", text)


def label_arms(caveats: Iterable[Caveat]) -> dict[str, str]:
    """Return arm -> its name with the labels of its caveats."""
    labels: dict[str, list[str]] = {}
    for caveat in caveats:
        labels.setdefault(caveat.arm, []).append(caveat.label)
    return {arm: f"{arm} ({', '.join(dict.fromkeys(group))})" for arm, group in labels.items()}


def overwritten_knobs(starts: Iterable[InitialKnobs], knobs: Iterable[str]) -> list[str]:
    """Return the knobs whose configured values differ between runs but are equal after the first decision."""
    pairs = list(combinations(starts, 2))
    return [
        knob
        for knob in dict.fromkeys(knobs)
        if (differing := [(a, b) for a, b in pairs if a.base.get(knob) != b.base.get(knob)])
        and all(a.first.get(knob) == b.first.get(knob) for a, b in differing)
    ]


def _initial_knobs(folder: ComparisonFolder, run: RunSpec) -> InitialKnobs | None:
    """Read the initial knobs from the log of a run; None if it has not started."""
    path = folder.run(run)
    lines = Run(path).lines() if (path / EXPERIMENT_FILE).exists() else []
    base = next((dict(line["knobs"]) for line in lines if line["event"] == "started"), None)
    if base is None:
        return None
    changes = {line["knob"]: line["to"] for line in lines if line["event"] == "turned" and line["step"] == 0}
    return InitialKnobs(base, base | changes)


def _overwritten_regimes(plan: ComparisonPlan, arm: str, starts: Mapping[RunSpec, InitialKnobs]) -> Iterator[Caveat]:
    for name, regime in plan.regimes.items():
        knobs: list[str] = []
        for task in regime.tasks or plan.tasks:
            own_starts = [
                start
                for run, start in starts.items()
                if run.arm == arm and run.trial is None and run.setting.task == task
                if run.setting.regime in (WELL_SET, name)
            ]
            knobs += overwritten_knobs(own_starts, regime.factors)
        if knobs:
            names = ", ".join(dict.fromkeys(knobs))
            text = f"{arm} is not mis-set by {name} in {names}: its first decision overwrites the value of the regime."
            yield Caveat(arm, f"overwrites {name}", text)


def _overwritten_trials(plan: ComparisonPlan, arm: str, starts: Mapping[RunSpec, InitialKnobs]) -> Iterator[Caveat]:
    keys = [key.partition(".") for key in plan.arms[arm].search]
    knobs = [name for owner, _, name in keys if owner != "controller"]
    by_setting: dict[str, list[InitialKnobs]] = {}
    for run, start in starts.items():
        if run.arm == arm and run.trial is not None:
            by_setting.setdefault(run.setting.name, []).append(start)
    names = dict.fromkeys(knob for group in by_setting.values() for knob in overwritten_knobs(group, knobs))
    if names:
        text = (
            f"Tuning {', '.join(names)} has no effect on {arm}: its first decision overwrites the value of the trial."
        )
        yield Caveat(arm, "not tuned" if len(names) == len(keys) else "partly tuned", text)


def _blind_arms(plan: ComparisonPlan, folder: ComparisonFolder) -> Iterator[Caveat]:
    reason = "its controller needs a distance as live metric (lower is better), and these runs measured none."
    for name, arm in plan.arms.items():
        controllers = (catalog.load("controllers", controller) for controller in arms.controller_names(arm.controller))
        if any(getattr(controller, "sees_distance", False) for controller in controllers):
            yield from _caveat_of_tasks(plan, folder, name, _measures_distance, "blind", reason)


def _idle_arms(plan: ComparisonPlan, folder: ComparisonFolder) -> Iterator[Caveat]:
    reason = (
        "it changed nothing in any run, because a signal was missing or there was no reason to, so these runs equal "
        "those of fixed."
    )
    for name, arm in plan.arms.items():
        if arms.controller_names(arm.controller) != ["fixed"]:
            yield from _caveat_of_tasks(plan, folder, name, _has_decided, "idle", reason)


def _manual_arms(plan: ComparisonPlan, folder: ComparisonFolder) -> Iterator[Caveat]:
    """Yield a caveat for each arm with runs in which a person held a knob: its rank is not that of its controller."""
    for name in plan.arms:
        runs = [run for group in _started_runs(plan, folder, name).values() for run in group]
        held = [run.name for run in runs if hold_periods(run.lines("requested"))]
        if held:
            text = (
                f"A person changed knobs of {name} in {len(held)} of {len(runs)} runs ({', '.join(held)}): its rank is "
                "not that of its controller; delete these runs, and repeat the comparison."
            )
            yield Caveat(name, "manual control", text)


def _caveat_of_tasks(
    plan: ComparisonPlan,
    folder: ComparisonFolder,
    arm: str,
    condition: Callable[[Run], bool],
    label: str,
    reason: str,
) -> Iterator[Caveat]:
    """Yield the caveat of an arm if there are tasks in which no run meets a condition."""
    runs = _started_runs(plan, folder, arm)
    tasks = [task for task, group in runs.items() if not any(map(condition, group))]
    if tasks:
        part = label if len(tasks) == len(runs) else f"{label} in part"
        yield Caveat(arm, part, f"{arm} is {label} in {', '.join(tasks)}: {reason}")


def _started_runs(plan: ComparisonPlan, folder: ComparisonFolder, arm: str) -> dict[str, list[Run]]:
    """Return task -> the runs of an arm that have started."""
    result: dict[str, list[Run]] = {}
    for run in plan_runs.compared_runs(plan):
        if run.arm == arm and (folder.run(run) / EXPERIMENT_FILE).exists():
            result.setdefault(run.setting.task, []).append(Run(folder.run(run)))
    return result


def _measures_distance(run: Run) -> bool:
    return any(line["better"] == "lower" for line in run.lines("evaluated"))


def _has_decided(run: Run) -> bool:
    """Whether the controller has changed a knob, or still may."""
    return not run.lines("finished") or any(line["by"] not in (REPAIR, MANUAL) for line in run.lines("turned"))
