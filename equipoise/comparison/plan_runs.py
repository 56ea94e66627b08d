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
from equipoise.comparison.plan import WELL_SET, Arm, ComparisonPlan, SearchRange, Task
from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.core.data import DataSet
from equipoise.core.independence import check_not_trained_with
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.metric import FeatureMetric, Metric, check_independent
from equipoise.core.model import Model
from equipoise.errors import EquipoiseError, SettingError
from equipoise.evaluation.selection import AnyMetric, select_metrics
from equipoise.evaluation.sources import OpenedData
from equipoise.evaluation.subject import EvaluationContext, EvaluationRequest
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, build_recipe, require
from equipoise.pilot.pilot import SENSE_EVERY, Pilot
from equipoise.training.loop import Training

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


def test_settings(plan: ComparisonPlan) -> list[TaskSetting]:
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


def test_runs(plan: ComparisonPlan) -> list[RunSpec]:
    """Return the compared runs. All arms of a seed are adjacent, so that unfinished comparisons contain pairs."""
    return [RunSpec(setting, arm, seed) for seed in plan.seeds for setting in test_settings(plan) for arm in plan.arms]


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


def build_experiment(plan: ComparisonPlan, run: RunSpec, options: Mapping[str, object]) -> Experiment:
    """Return the complete experiment of a run. `options`: tuned settings of the arm, as in :func:`trial_options`.

    A regime mis-sets all arms equally before the first decision of the controller. A controller that sets a knob to
    an absolute value overwrites it (see caveats). The same seed gives the same initial weights and order of reals
    for every arm. Latents, noise and augmentation share one random generator, so the latents are equal only until
    the arms draw different numbers of values for noise or augmentation. Raises EquipoiseError for invalid settings.
    """
    task, arm = get_task(plan, run.setting), apply_options(plan.arms[run.arm], options)
    base = base_experiment(plan, task, run.setting, run.seed)
    model: Model[Any] = build_recipe(base).build(build_data(base).spec, torch.Generator().manual_seed(0))
    changes = model.knobs.differences(_initial_knobs(model.knobs, plan, run.setting, arm))
    return complete(
        dataclasses.replace(
            base,
            controller=arms.with_seed(arm.controller, run.seed),
            knobs={name: pair[1] for name, pair in changes.items()},
            freeze=tuple(model.turnable & {AVERAGING}),
            repair=plan.repair if arm.repair is None else arm.repair,
        )
    )


def _initial_knobs(defaults: Knobs, plan: ComparisonPlan, setting: TaskSetting, arm: Arm) -> Knobs:
    """Return the knobs of model, task and arm, multiplied by the factors of the arm and of the regime.

    Raises EquipoiseError for an unknown knob, or a value out of range.
    """
    knobs = defaults.with_values({**get_task(plan, setting).knobs, **arm.knobs}).values()
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


def check_plan(plan: ComparisonPlan) -> None:
    """Build every arm in every setting once, so that errors appear before hours of training.

    Any tuning trial may be selected, so the settings of all trials are checked in every setting. Raises EquipoiseError,
    naming the arm, the setting and the trial.
    """
    settings = [*test_settings(plan), *dict.fromkeys(run.setting for run in tuning_runs(plan))]
    for setting in settings:
        check_metrics(plan, setting)
    for setting in settings:
        for name in plan.arms:
            _check_arm(plan, setting, name)
    arms.check_policies(plan)


def _check_arm(plan: ComparisonPlan, setting: TaskSetting, name: str) -> None:
    """Raise SettingError if an arm, as written or in a tuning trial, cannot be run in a setting."""
    arm, trial = plan.arms[name], 0
    try:
        _check_averaging(arm)
        experiment = build_experiment(plan, RunSpec(setting, name, plan.seeds[0]), {})
        training = assemble(dataclasses.replace(experiment, metric=None), None)
        if training.state.model.source is not None:
            raise SettingError("it translates images; comparisons need a model that generates samples from noise")
        _check_features(get_task(plan, setting), experiment, training)
        for trial in range(1, plan.tuning.trials if plan.tuning else 1):
            _check_first_decision(plan, setting, apply_options(arm, trial_options(plan, name, trial)), training)
    except EquipoiseError as error:
        values = ", ".join(f"{key} = {value}" for key, value in trial_options(plan, name, trial).items())
        suffix = f", trial {trial} ({values})" if trial else ""
        raise SettingError(f"arm '{name}' on '{setting.name}'{suffix}: {error}") from error


def check_metrics(plan: ComparisonPlan, setting: TaskSetting) -> None:
    """Raise SettingError if a metric does not suit the data, or if the reported and live metric share a network.

    Raises DataError if the weights of a metric's network are not available.
    """
    task = get_task(plan, setting)
    experiment = base_experiment(plan, task, setting, plan.seeds[0])
    data, live = build_data(experiment), experiment.training_metric
    reported = catalog.build("metrics", task.reported.name, task.reported.options)
    if not isinstance(reported, Metric) or not reported.suits(data.spec):
        raise SettingError(
            f"the metric '{task.reported.name}' does not suit the data of task '{setting.task}'; set 'reported' to "
            "another metric"
        )
    if live is not None:
        live_metric: Metric = catalog.build("metrics", live.name, live.options)
        digests = {live.name.partition(":")[0]: live_metric.features_digest}
        check_independent(digests, {task.reported.name.partition(":")[0]: reported.features_digest})
    also = _additional_metrics(task, data)
    pair = data.stream("train", 2, 0).batch(0).real
    for metric in (reported, *also.values()):
        if isinstance(metric, FeatureMetric):
            metric.features(pair)  # raises now, not after hours, if the network is not available


def _check_features(task: Task, experiment: Experiment, training: Training) -> None:
    """Raise SettingError if a metric of a task has the features of a frozen network of the model."""
    model, live = training.state.model, experiment.training_metric
    if model.frozen:
        plugs = [task.reported, *([live] if live else [])]
        metrics = {plug.name: catalog.build("metrics", plug.name, plug.options) for plug in plugs}
        metrics |= _additional_metrics(task, build_data(experiment))
        digests = {name: metric.features_digest for name, metric in metrics.items()}
        check_not_trained_with(model.frozen, digests, model.name)


def _additional_metrics(task: Task, data: DataSet) -> dict[str, AnyMetric]:
    """Return the metrics that a task reports in addition, with the features that suit its data."""
    request = EvaluationRequest(samples=Path(), metrics=task.also)
    return select_metrics(EvaluationContext(request, OpenedData(task.data, data))) if task.also else {}


def _check_first_decision(plan: ComparisonPlan, setting: TaskSetting, arm: Arm, training: Training) -> None:
    """Raise EquipoiseError if a run with this arm could not make its first decision.

    Only knobs and controller differ from `training`, which was assembled for the same setting.
    """
    _check_averaging(arm)
    model = training.state.model
    knobs = _initial_knobs(model.knobs, plan, setting, arm)
    check_turnable(model.knobs.differences(knobs), model.turnable, model.name)
    controller = catalog.build("controllers", arm.controller.name, arm.controller.options)
    Pilot(controller, steps=training.plan.steps, knobs=knobs, model_info=training.pilot.model_info)


def _check_averaging(arm: Arm) -> None:
    """Raise SettingError if an arm, or its controller, changes how samples are averaged."""
    controller: AnyController = catalog.build("controllers", arm.controller.name, arm.controller.options)
    search = (key.partition(".")[2] for key in arm.search)
    if AVERAGING in {*arm.knobs, *arm.factors, *search, *controller.required_knobs()}:
        raise SettingError(f"{AVERAGING} must be the same for every arm; set it in the task")


def base_experiment(plan: ComparisonPlan, task: Task, setting: TaskSetting, seed: int) -> Experiment:
    """Return the complete experiment of a task in a regime without an arm: controller `fixed`, knobs of the task."""
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
        )
    )
    steps = require(experiment.steps, "steps")
    every = max(1, steps // plan.evaluations)
    sense_every = min(SENSE_EVERY, max(steps // READINGS, MIN_SENSE_EVERY))
    return dataclasses.replace(
        experiment, sense_every=sense_every, sample_every=steps, evaluate_every=every, save_every=every, keep="last"
    )


def _sample_value(space: SearchRange | tuple[object, ...], generator: np.random.Generator) -> object:
    if not isinstance(space, SearchRange):
        return space[int(generator.integers(len(space)))]
    if space.scale == "linear":
        return float(generator.uniform(space.low, space.high))
    return float(np.exp(generator.uniform(np.log(space.low), np.log(space.high))))
