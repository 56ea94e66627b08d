"""Calibration of a CPU budget: how many steps of each arm fit into the same CPU seconds of training.

The speed of a shared machine changes from minute to minute, for CPU seconds too, because programs share its caches. So
the arms of a task are measured in turn, several times, in one process, and the median of each counts: what slows one
down slows all down. The result is stored, so that a resumed comparison has the same steps, and the same seed the same
bytes.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from equipoise.comparison.folder import ComparisonFolder, read_json, write_json
from equipoise.comparison.plan import ArmInTask, ComparisonPlan
from equipoise.comparison.plan_runs import RunSpec, TaskSetting, build_experiment, with_intervals
from equipoise.comparison.provisional import provisional_start
from equipoise.errors import RunError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, require
from equipoise.training.loop import Training
from equipoise.training.timing import Intervals, RunCosts, measure_costs, steps_within

ROUNDS = 3
"""How often each arm is measured; the median is not changed by one slow round."""
ROUND_SHARE, MIN_SECONDS, MAX_SECONDS = 0.005, 0.2, 2.0
"""Share of the budget for one measurement of an arm, and its bounds in CPU seconds. Slow parts of a run, such as a
checkpoint, take longer."""
MANY_STEPS = 10**9
"""Length of the measured runs, so that schedules barely change, and the largest calibrated number of steps."""


@dataclass(frozen=True, slots=True)
class ArmCalibration:
    """The steps of an arm that take `budget` CPU seconds. `costs`: median CPU seconds of the parts of a run.

    `rounds`: CPU seconds of a step in each round, which shows how steady the machine was.
    """

    steps: int
    budget: float
    costs: RunCosts
    rounds: tuple[float, ...]


def calibrate(
    plan: ComparisonPlan, task: str, interrupted: Callable[[], bool] = lambda: False
) -> dict[str, ArmCalibration] | None:
    """Measure every arm of a task that has runs of its own, in turn; return arm -> its steps; None if interrupted."""
    budget = plan.tasks[task].cpu_seconds
    assert budget is not None, f"{task} has no budget"
    names = [name for name, arm in plan.arms.items() if arm.run is None]
    seconds = min(max(ROUND_SHARE * budget, MIN_SECONDS), MAX_SECONDS)
    measured: dict[str, list[RunCosts]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
        runs = {name: RunSpec(TaskSetting(task), name, plan.seeds[0]) for name in names}
        starts = {name: provisional_start(plan, run, Path(folder) / name) for name, run in runs.items()}
        experiments = {name: build_experiment(plan, run, {}, starts[name]) for name, run in runs.items()}
        for _ in range(ROUNDS):
            for name, experiment in experiments.items():
                if interrupted():
                    return None
                training = _training(plan, experiment)
                measured[name].append(measure_costs(training, seconds, time.process_time))
    return {name: _calibrated(plan, experiments[name], budget, costs) for name, costs in measured.items()}


def _training(plan: ComparisonPlan, experiment: Experiment) -> Training:
    """Build a training that is measured and not used afterwards."""
    training = assemble(with_intervals(plan, experiment, MANY_STEPS), None)
    load_initial_weights(training, experiment)
    return training


def _calibrated(
    plan: ComparisonPlan, experiment: Experiment, budget: float, measured: list[RunCosts]
) -> ArmCalibration:
    """Return the steps that fit into the budget, by the medians of the measured costs."""
    fields = [field.name for field in dataclasses.fields(RunCosts)]
    medians = {name: median(getattr(costs, name) for costs in measured) for name in fields}
    costs = RunCosts(**{**medians, "start": measured[0].start})

    def every(steps: int) -> Intervals:
        intervals = with_intervals(plan, experiment, steps)
        return Intervals(
            sense=require(intervals.sense_every, "sense_every"),
            sample=require(intervals.sample_every, "sample_every"),
            evaluate=require(intervals.evaluate_every, "evaluate_every") if experiment.training_metric else MANY_STEPS,
            save=require(intervals.save_every, "save_every"),
            keep_best=False,
        )

    parts = max(1, steps_within(costs, every, budget, MANY_STEPS) // plan.evaluations)
    steps = parts * plan.evaluations  # so that the last evaluation is one interval after the one before
    return ArmCalibration(steps, budget, costs, tuple(one.step for one in measured))


def write_calibration(folder: ComparisonFolder, task: str, arms: Mapping[str, ArmCalibration]) -> None:
    """Write the calibration of a task to the folder of a comparison."""
    write_json(folder.calibration(task), {name: dataclasses.asdict(arm) for name, arm in arms.items()})


def read_calibration(folder: ComparisonFolder, task: str) -> dict[str, ArmCalibration]:
    """Read the calibration of a task: arm -> its steps; {} if the task was not calibrated (yet)."""
    path = folder.calibration(task)
    try:
        return {
            name: ArmCalibration(
                values["steps"], values["budget"], RunCosts(**values["costs"]), tuple(values["rounds"])
            )
            for name, values in read_json(path).items()
        }
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}; restore it, or start the comparison in another folder") from error


def with_calibrated_steps(plan: ComparisonPlan, folder: ComparisonFolder) -> ComparisonPlan:
    """Return the plan whose arms have their calibrated steps in the tasks with a budget.

    Raises RunError if a task was not calibrated yet.
    """
    arms = dict(plan.arms)
    for task in (name for name, task in plan.tasks.items() if task.cpu_seconds is not None):
        calibrated = read_calibration(folder, task)
        if not calibrated:
            raise RunError(f"{folder.path} has no calibration of task '{task}' yet; run the same command again")
        for name, calibration in calibrated.items():
            own = dataclasses.replace(arms[name].tasks.get(task, ArmInTask()), steps=calibration.steps)
            arms[name] = dataclasses.replace(arms[name], tasks={**arms[name].tasks, task: own})
    return dataclasses.replace(plan, arms=arms)
