"""The runs of a plan: every combination of setting, arm and seed, and the complete experiment of each."""

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.comparison import arms
from equipoise.comparison.plan import WELL_SET, Arm, ArmInTask, ComparisonPlan, SearchRange, Task
from equipoise.comparison.population import ARM_NAMES, member_count, round_count
from equipoise.core.knobs import Knobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, build_recipe, require
from equipoise.pilot.pilot import SENSE_EVERY

READINGS, MIN_SENSE_EVERY = 40, 10
"""Number of readings of a short run, so that a controller makes enough decisions, and the minimum number of steps
between two readings: more frequent ones would take more than 5 % of the time."""
AVERAGING = "ema_half_life"
"""The knob that must be the same for every arm, because a longer average alone improves the samples."""
AMOUNT_OPTIONS = frozenset({"training_images", "training_points"})
"""Options of data sets that do not change the held-out data."""


@dataclass(frozen=True, slots=True)
class TaskSetting:
    """A task in a regime. `tuning`: whether the task is one of the tuning tasks."""

    task: str
    regime: str = WELL_SET
    tuning: bool = False

    @property
    def name(self) -> str:
        """Name for display and for files."""
        return self.task if self.regime == WELL_SET else f"{self.task}.{self.regime}"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of a plan. `trial`: number of the tuning trial; None in the comparison itself."""

    setting: TaskSetting
    arm: str
    seed: int
    trial: int | None = None

    @property
    def name(self) -> str:
        """Name of the run folder."""
        arm = self.arm if self.trial is None else f"{self.arm}.trial{self.trial}"
        return f"{'tuning.' * self.setting.tuning}{self.setting.name}.{arm}.seed{self.seed}"


@dataclass(frozen=True, slots=True)
class MemberRound:
    """One round of a member of a population. `run`: the run that shows the best member; `number`: of the round."""

    run: RunSpec
    number: int
    member: int

    @property
    def name(self) -> str:
        """Name of the job."""
        return f"{self.run.name}.round{self.number}.member{self.member}"


def compared_settings(plan: ComparisonPlan) -> list[TaskSetting]:
    """Return the settings in which arms are compared, task by task."""
    return [
        TaskSetting(task, regime)
        for task in plan.tasks
        for regime in (WELL_SET, *plan.regimes)
        if regime == WELL_SET or task in (plan.regimes[regime].tasks or plan.tasks)
    ]


def anchor_setting(plan: ComparisonPlan, setting: TaskSetting) -> TaskSetting:
    """Return the setting whose anchors apply: the setting if its regime changes the held-out data, else the task."""
    regime = plan.regimes.get(setting.regime)
    has_own_data = regime is not None and not regime.data.keys() <= AMOUNT_OPTIONS
    return setting if has_own_data else TaskSetting(setting.task, tuning=setting.tuning)


def compared_runs(plan: ComparisonPlan) -> list[RunSpec]:
    """Return the compared runs. All arms of a seed are adjacent, so that unfinished comparisons contain pairs."""
    return [
        RunSpec(setting, arm, seed) for seed in plan.seeds for setting in compared_settings(plan) for arm in plan.arms
    ]


def tuning_runs(plan: ComparisonPlan) -> list[RunSpec]:
    """Return the runs of all tuning trials."""
    if plan.tuning is None:
        return []
    return [
        RunSpec(TaskSetting(task, tuning=True), arm, seed, trial)
        for trial in range(plan.tuning.trials)
        for task in plan.tuning.tasks
        for seed in plan.tuning.seeds
        for arm in plan.arms
    ]


def trial_options(plan: ComparisonPlan, arm: str, trial: int) -> dict[str, object]:
    """Return the settings of a tuning trial: search key -> value. Trial 0 is the arm as written, {}.

    Arms with the same key and the same candidate values get the same value in each trial.
    """
    if trial == 0 or plan.tuning is None:
        return {}
    return {
        key: _sample_value(space, np.random.default_rng([plan.tuning.seed, zlib.crc32(key.encode()), trial]))
        for key, space in plan.arms[arm].search.items()
    }


def trained_run(plan: ComparisonPlan, run: RunSpec) -> RunSpec:
    """Return the run whose weights a run samples from: itself, unless its arm samples from the runs of another arm."""
    return dataclasses.replace(run, arm=plan.arms[run.arm].run or run.arm)


def start_run(plan: ComparisonPlan, run: RunSpec) -> RunSpec | None:
    """Return the run that a run starts from, with the same seed; None if it starts from random weights."""
    start = plan.arms[run.arm].start_from
    return None if start is None else dataclasses.replace(run, arm=start)


def is_start(plan: ComparisonPlan, arm: str) -> bool:
    """Whether runs of another arm start from those of an arm."""
    return any(other.start_from == arm for other in plan.arms.values())


def required_run(plan: ComparisonPlan, run: RunSpec) -> RunSpec | None:
    """Return the run that has to be finished before a run can be executed, if any."""
    if plan.arms[run.arm].population == "schedule":
        return dataclasses.replace(run, arm=ARM_NAMES["winner"])
    trained = trained_run(plan, run)
    return start_run(plan, run) if trained == run else trained


def members_of_round(plan: ComparisonPlan, run: RunSpec, number: int) -> list[MemberRound]:
    """Return all members of a run that shows the best of them, in one round."""
    return [MemberRound(run, number, member) for member in range(member_count(plan))]


def member_rounds(plan: ComparisonPlan) -> list[MemberRound]:
    """Return the rounds of all members of a plan."""
    return [
        spec
        for run in compared_runs(plan)
        if (part := plan.arms[run.arm].population) in ("winner", "constants")
        for number in range(round_count(plan, part))
        for spec in members_of_round(plan, run, number)
    ]


def required_jobs(plan: ComparisonPlan, run: RunSpec) -> list[str]:
    """Return the names of the jobs that have to be finished before a run can be executed."""
    if (part := plan.arms[run.arm].population) in ("winner", "constants"):
        return [member.name for member in members_of_round(plan, run, round_count(plan, part) - 1)]
    required = required_run(plan, run)
    return [] if required is None else [required.name]


def arm_in_setting(plan: ComparisonPlan, setting: TaskSetting, name: str) -> Arm:
    """Return an arm with its settings for the task of a setting; tuning tasks have none of their own."""
    arm = plan.arms[name]
    own = ArmInTask() if setting.tuning else arm.tasks.get(setting.task, ArmInTask())
    return dataclasses.replace(
        arm,
        model=own.model or arm.model,
        options={**arm.options, **own.options},
        batch_size=own.batch_size or arm.batch_size,
        steps=own.steps or arm.steps,
        knobs={**arm.knobs, **own.knobs},
    )


def task_of_arm(task: Task, arm: Arm) -> Task:
    """Return a task with the settings that an arm overrides; a model of an arm comes without the knobs of the task."""
    model = arm.model or task.model
    return dataclasses.replace(
        task,
        model=model.with_options(**arm.options) if model else model,
        steps=arm.steps or task.steps,
        batch_size=arm.batch_size or task.batch_size,
        precision=arm.precision or task.precision,
        knobs={} if arm.model else task.knobs,
    )


def build_experiment(
    plan: ComparisonPlan, run: RunSpec, options: Mapping[str, object], start: Path | None = None
) -> Experiment:
    """Return the complete experiment of a run. `options`: tuned settings of the arm, as in :func:`trial_options`.

    `start`: folder of the run that it starts from, for an arm that has one. A regime mis-sets all arms equally before
    the first decision of the controller. A controller that sets a knob to an absolute value overwrites it (see
    caveats). The same seed gives the same initial weights and order of reals for every arm with the same model.
    Latents, noise and augmentation share one random generator, so the latents are equal only until the arms draw
    different numbers of values for noise or augmentation. Raises EquipoiseError for invalid settings.
    """
    arm = apply_options(arm_in_setting(plan, run.setting, run.arm), options)
    task = task_of_arm(get_task(plan, run.setting), arm)
    base = base_experiment(plan, task, run.setting, run.seed, start)
    model: Model[Any] = build_recipe(base).build(build_data(base).spec, torch.Generator().manual_seed(0))
    changes = model.knobs.differences(initial_knobs(model.knobs, plan, run.setting, arm))
    return complete(
        dataclasses.replace(
            base,
            controller=arms.with_seed(arm.controller, run.seed),
            knobs={name: pair[1] for name, pair in changes.items()},
            freeze=tuple(model.turnable & {AVERAGING}),
            repair=plan.repair if arm.repair is None else arm.repair,
        )
    )


def initial_knobs(defaults: Knobs, plan: ComparisonPlan, setting: TaskSetting, arm: Arm) -> Knobs:
    """Return the knobs of model, task and arm, multiplied by the factors of the arm and of the regime.

    Raises EquipoiseError for an unknown knob, or a value out of range.
    """
    task = task_of_arm(get_task(plan, setting), arm)
    knobs = defaults.with_values({**task.knobs, **arm.knobs}).values()
    regime = plan.regimes.get(setting.regime)
    for factors in (arm.factors, regime.factors if regime else {}):
        for name in factors:
            defaults.with_values({name: knobs.get(name, 0.0)})  # raises for an unknown knob
        knobs = {name: value * factors.get(name, 1.0) for name, value in knobs.items()}
    return defaults.with_values(knobs)


def get_task(plan: ComparisonPlan, setting: TaskSetting) -> Task:
    """Return the task of a setting, from the tuning tasks if it belongs to tuning."""
    return plan.tuning.tasks[setting.task] if setting.tuning and plan.tuning else plan.tasks[setting.task]


def apply_options(arm: Arm, options: Mapping[str, object]) -> Arm:
    """Return an arm with tuned settings: `knobs.NAME`, `factors.NAME` or `controller.OPTION` -> value."""
    for key, value in options.items():
        owner, _, name = key.partition(".")
        if owner == "controller":
            arm = dataclasses.replace(arm, controller=arm.controller.with_options(**{name: value}))
        elif owner == "knobs":
            arm = dataclasses.replace(arm, knobs={**arm.knobs, name: _number(key, value)})
        else:
            arm = dataclasses.replace(arm, factors={**arm.factors, name: _number(key, value)})
    return arm


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{key} = {value!r}: it must be a number")
    return value


def base_experiment(
    plan: ComparisonPlan, task: Task, setting: TaskSetting, seed: int, start: Path | None = None
) -> Experiment:
    """Return the complete experiment of a task in a regime without an arm: controller `fixed`, knobs of the task.

    `start`: folder of the run that it starts from; None: random weights.
    """
    regime = plan.regimes.get(setting.regime)
    data = task.data.with_options(**(regime.data if regime else {}))
    experiment = complete(
        Experiment(
            data=data,
            model=task.model,
            metric=task.metric,
            controller=PlugSpec("fixed"),
            steps=task.steps,
            batch_size=task.batch_size,
            precision=task.precision,
            seed=seed,
            threads=1,
            start_from=None if start is None else str(start),
        )
    )
    return with_intervals(plan, experiment, require(experiment.steps, "steps"))


def with_intervals(plan: ComparisonPlan, experiment: Experiment, steps: int) -> Experiment:
    """Return an experiment of `steps` steps with the intervals of readings, samples, evaluations and checkpoints."""
    every = max(1, steps // plan.evaluations)
    sense_every = min(SENSE_EVERY, max(steps // READINGS, MIN_SENSE_EVERY))
    return dataclasses.replace(
        experiment,
        steps=steps,
        sense_every=sense_every,
        sample_every=steps,
        evaluate_every=every,
        save_every=every,
        keep="last",
    )


def _sample_value(space: SearchRange | tuple[object, ...], generator: np.random.Generator) -> object:
    return space.sample(generator) if isinstance(space, SearchRange) else space[int(generator.integers(len(space)))]
