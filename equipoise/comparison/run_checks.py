"""Checks of a plan before hours of training: every arm is built in every setting."""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from equipoise.comparison import arms
from equipoise.comparison.claims import check_measures
from equipoise.comparison.measurements import count_weights
from equipoise.comparison.plan import Arm, ComparisonPlan, Task
from equipoise.comparison.plan_runs import (
    AVERAGING,
    RunSpec,
    TaskSetting,
    apply_options,
    arm_in_setting,
    base_experiment,
    build_experiment,
    compared_settings,
    get_task,
    initial_knobs,
    trained_run,
    trial_options,
    tuning_runs,
)
from equipoise.comparison.population import schedule_controller
from equipoise.comparison.provisional import provisional_start
from equipoise.core import catalog
from equipoise.core.conditions import conditions_in_turn
from equipoise.core.controller import AnyController
from equipoise.core.data import DataSet
from equipoise.core.equivariance import EquivarianceMetric
from equipoise.core.independence import check_not_trained_with
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.metric import CaptionMetric, FeatureMetric, LikelihoodMetric, Metric, PathMetric, check_independent
from equipoise.core.model import Model
from equipoise.core.sampling import Sampling
from equipoise.errors import EquipoiseError, SettingError
from equipoise.evaluation.selection import AnyMetric, select_metrics
from equipoise.evaluation.sources import OpenedData
from equipoise.evaluation.subject import EvaluationContext, EvaluationRequest
from equipoise.experiment.assembly import assemble
from equipoise.experiment.settings import Experiment, PlugSpec, build_data
from equipoise.experiment.start import TEACHER
from equipoise.pilot.pilot import Pilot
from equipoise.training.loop import Training


def check_plan(plan: ComparisonPlan) -> None:
    """Build every arm in every setting once, so that errors appear before hours of training.

    Any tuning trial may be selected, so the settings of all trials are checked in every setting. Raises EquipoiseError,
    naming the arm, the setting and the trial.
    """
    settings = [*compared_settings(plan), *dict.fromkeys(run.setting for run in tuning_runs(plan))]
    for setting in settings:
        check_metrics(plan, setting)
    for setting in settings:
        models = {name: _check_arm(plan, setting, name).state.model for name in plan.arms}
        _check_parameters(plan, setting, models)
    arms.check_policies(plan)
    check_measures(plan)


def _check_arm(plan: ComparisonPlan, setting: TaskSetting, name: str) -> Training:
    """Raise SettingError if an arm, as written or in a tuning trial, cannot be run in a setting; return its training.

    The training is that of the arm whose run it samples from, if it has none of its own.
    """
    run, trial = trained_run(plan, RunSpec(setting, name, plan.seeds[0])), 0
    arm = arm_in_setting(plan, setting, run.arm)
    try:
        _check_averaging(arm)
        _check_teacher(plan, setting, arm)
        with tempfile.TemporaryDirectory(prefix="equipoise-") as folder:
            start = provisional_start(plan, run, Path(folder))
            experiment = build_experiment(plan, run, {}, start)
            training = assemble(dataclasses.replace(experiment, metric=None), None)
        if training.state.model.source is not None:
            raise SettingError("it translates images; comparisons need a model that generates samples from noise")
        _check_reported(get_task(plan, setting), experiment, training.state.model)
        _check_sampling(plan.arms[name].sampling, training.state.model)
        if plan.population is not None and arm.population:
            _check_population(plan, setting, arm, training)
        for trial in range(1, plan.tuning.trials if plan.tuning else 1):
            _check_first_decision(plan, setting, apply_options(arm, trial_options(plan, name, trial)), training)
    except EquipoiseError as error:
        values = ", ".join(f"{key} = {value}" for key, value in trial_options(plan, name, trial).items())
        suffix = f", trial {trial} ({values})" if trial else ""
        raise SettingError(f"arm '{name}' on '{setting.name}'{suffix}: {error}") from error
    return training


def _check_teacher(plan: ComparisonPlan, setting: TaskSetting, arm: Arm) -> None:
    """Raise SettingError if the model of an arm learns from a trained one, and the arm names none."""
    model = arm.model or get_task(plan, setting).model
    if model is not None and arm.start_from is None and catalog.has_option("models", model.name, TEACHER):
        raise SettingError(
            'its model learns from a trained diffusion model; add from = "ARM" with an arm of edm or ddpm'
        )


def _check_sampling(sampling: Sampling, model: Model[Knobs]) -> None:
    """Raise SettingError if the sampling settings of an arm do not work with its model."""
    if sampling.settings():
        sampling.check_acts(model.samplings, model.name)
        networks = {name: network.eval() for name, network in model.networks.items()}
        labels = conditions_in_turn(model, 1)
        with torch.no_grad():
            model.generate(networks, model.latent(1, torch.Generator().manual_seed(0), None), labels, sampling)


def _check_parameters(plan: ComparisonPlan, setting: TaskSetting, models: Mapping[str, Model[Knobs]]) -> None:
    """Raise SettingError if two arms generate samples with too different numbers of weights."""
    if plan.equal_parameters is None:
        return
    counts = {name: count_weights(model) for name, model in models.items()}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[most] > (1 + plan.equal_parameters) * counts[least]:
        raise SettingError(
            f"on '{setting.name}', arm '{most}' generates with {counts[most]:,} weights and '{least}' with "
            f"{counts[least]:,}, {counts[most] / counts[least] - 1:.0%} more or fewer; equal_parameters allows "
            f"{plan.equal_parameters:.0%}: change the width of one"
        )


def check_metrics(plan: ComparisonPlan, setting: TaskSetting) -> None:
    """Raise SettingError if a metric does not suit the data, or if the reported and live metric share a network.

    Raises DataError if the weights of a metric's network are not available.
    """
    task = get_task(plan, setting)
    experiment = base_experiment(plan, task, setting, plan.seeds[0])
    data, live = build_data(experiment), experiment.training_metric
    reported = catalog.build("metrics", task.reported.name, task.reported.options)
    if isinstance(reported, CaptionMetric):
        raise SettingError(
            f"the metric '{task.reported.name}' compares samples with their captions, which the reference samples of a "
            "comparison do not have; move it from 'reported' to 'also'"
        )
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


def _check_reported(task: Task, experiment: Experiment, model: Model[Knobs]) -> None:
    """Raise SettingError for a metric that a model does not support, or that shares features with a frozen network."""
    live = experiment.training_metric
    metrics = {plug.name: _build_metric(plug) for plug in [task.reported, *([live] if live else [])]}
    metrics |= (also := _additional_metrics(task, build_data(experiment)))
    if model.frozen:
        digests = {name: metric.features_digest for name, metric in metrics.items()}
        check_not_trained_with(model.frozen, digests, model.name)
    for name, metric in also.items():
        needed = None
        if isinstance(metric, PathMetric) and metric.space == "w" and model.styles is None:
            needed = "a mapping network"
        elif isinstance(metric, LikelihoodMetric) and model.log_likelihood is None:
            needed = "likelihoods"
        elif isinstance(metric, EquivarianceMetric) and model.generate_transformed is None:
            needed = "an input that can be moved and rotated"
        elif isinstance(metric, CaptionMetric) and model.captions is None:
            needed = "captions"
        if needed:
            raise SettingError(
                f"{name} is not a metric of every arm: it needs a model with {needed}, and {model.name} has none; "
                "remove it from 'also', or the arm"
            )


def _build_metric(plug: PlugSpec) -> AnyMetric:
    metric: AnyMetric = catalog.build("metrics", plug.name, plug.options)
    return metric


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
    knobs = initial_knobs(model.knobs, plan, setting, arm)
    check_turnable(model.knobs.differences(knobs), model.turnable, model.name)
    controller = catalog.build("controllers", arm.controller.name, arm.controller.options)
    Pilot(controller, steps=training.plan.steps, knobs=knobs, model_info=training.pilot.model_info)


def _check_population(plan: ComparisonPlan, setting: TaskSetting, arm: Arm, training: Training) -> None:
    """Raise EquipoiseError if a bound of the search ranges of a population is not valid for its members."""
    assert plan.population is not None
    if (steps := training.plan.steps) < plan.evaluations:
        raise SettingError(f"{steps} steps are too few for {plan.evaluations} evaluations; raise the steps")
    for end in ("low", "high"):
        schedule = {knob: [(0, getattr(range, end))] for knob, range in plan.population.search.items()}
        training.state.model.knobs.with_values({knob: one[0][1] for knob, one in schedule.items()})
        changed = dataclasses.replace(arm, controller=schedule_controller(schedule, steps))
        _check_first_decision(plan, setting, changed, training)


def _check_averaging(arm: Arm) -> None:
    """Raise SettingError if an arm, or its controller, changes how samples are averaged.

    An arm with a model of its own may set it, because models differ in the average that suits them.
    """
    controller: AnyController = catalog.build("controllers", arm.controller.name, arm.controller.options)
    search = (key.partition(".")[2] for key in arm.search)
    own = set() if arm.model else {*arm.knobs, *arm.factors}
    if AVERAGING in {*own, *search, *controller.required_knobs()}:
        raise SettingError(f"{AVERAGING} must be the same for every arm; set it in the task")
