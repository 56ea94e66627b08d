"""The runs of a plan: each a name, and an experiment that is complete."""

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.comparison import arms
from equipoise.comparison.plan import WELL_SET, Arm, Plan, Span, Task
from equipoise.core import catalog
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.metric import FeatureMetric, Metric, check_independent
from equipoise.core.model import Model
from equipoise.core.observations import Controller
from equipoise.errors import EquipoiseError, SettingError
from equipoise.evaluation.evaluate import chosen
from equipoise.evaluation.subject import Asked, Subject
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete, data_of, recipe_of, require
from equipoise.pilot.pilot import SENSE_EVERY, Pilot
from equipoise.training.loop import Training

READINGS, APART = 40, 10
"""A short run is read so often, for a controller that decides thrice has not been asked; but not within so many steps,
which would cost more than the twentieth that watching may."""
AVERAGING = "ema_half_life"
"""The knob that is the same for every arm: samples that are averaged over more images look better for that alone."""


AMOUNTS = frozenset({"training_images", "training_points"})
"""Options of data that leave the held-out ones as they are."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A task in a regime; of the tuning tasks if `tuning`."""

    task: str
    regime: str = WELL_SET
    tuning: bool = False

    @property
    def name(self) -> str:
        """For people and files."""
        return self.task if self.regime == WELL_SET else f"{self.task}.{self.regime}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that is planned. `trial`: the number of what is tried in tuning; None in a test."""

    setting: Setting
    arm: str
    seed: int
    trial: int | None = None

    @property
    def name(self) -> str:
        """The name of its run folder."""
        middle = self.arm if self.trial is None else f"{self.arm}.trial{self.trial}"
        return f"{'tuning.' * self.setting.tuning}{self.setting.name}.{middle}.seed{self.seed}"


def settings(plan: Plan) -> list[Setting]:
    """What arms are tested in, task by task."""
    return [
        Setting(task, regime)
        for task in plan.tasks
        for regime in (WELL_SET, *plan.regimes)
        if regime == WELL_SET or task in (plan.regimes[regime].tasks or plan.tasks)
    ]


def anchored(plan: Plan, setting: Setting) -> Setting:
    """What the anchors of a setting are of: itself if its regime makes other data, else its task, well set."""
    regime = plan.regimes.get(setting.regime)
    is_other = regime is not None and not regime.data.keys() <= AMOUNTS
    return setting if is_other else Setting(setting.task, tuning=setting.tuning)


def tests(plan: Plan) -> list[Planned]:
    """Runs that count; all arms of a seed after each other, so that an unfinished comparison is still of pairs."""
    return [Planned(setting, arm, seed) for seed in plan.seeds for setting in settings(plan) for arm in plan.arms]


def trials(plan: Plan) -> list[Planned]:
    """Runs that arms are tuned by."""
    if plan.tuning is None:
        return []
    return [
        Planned(Setting(task, tuning=True), arm, seed, trial)
        for trial in range(plan.tuning.trials)
        for task in plan.tuning.tasks
        for seed in plan.tuning.seeds
        for arm in plan.arms
    ]


def drawn(plan: Plan, arm: str, trial: int) -> dict[str, Any]:
    """What a trial tries: key of the arm's search -> value. Trial 0 is the arm as it is written, {}.

    Arms that search the same values under the same key try the same ones, trial by trial, so that none has the luckier
    draws.
    """
    if trial == 0 or plan.tuning is None:
        return {}
    return {
        key: _draw(space, np.random.default_rng([plan.tuning.seed, zlib.crc32(key.encode()), trial]))
        for key, space in plan.arms[arm].search.items()
    }


def experiment(plan: Plan, run: Planned, tried: Mapping[str, Any]) -> Experiment:
    """What a run runs, complete. `tried`: what the arm is tuned to, as :func:`drawn` gives it.

    Every arm is mis-set alike before its controller has decided anything; one that sets a knob outright, instead of
    moving it from where it stands, undoes that with its first decision (see cautions). The same seed gives the same
    weights at the start and order of reals, whatever the arm; latents, noise and augmentation come from one generator,
    so that latents are the same only until an arm draws more, or fewer, of the others. Raises EquipoiseError for what
    does not exist or cannot be.
    """
    task, arm = task_of(plan, run.setting), tuned(plan.arms[run.arm], tried)
    made = bare(plan, task, run.setting, run.seed)
    model: Model[Any] = recipe_of(made).build(data_of(made).spec, torch.Generator().manual_seed(0))
    standing = model.knobs.differences(_at_start(model.knobs, plan, run.setting, arm))
    return complete(
        dataclasses.replace(
            made,
            controller=arms.seeded(arm.controller, run.seed),
            knobs={name: pair[1] for name, pair in standing.items()},
            untouched=tuple(model.turnable & {AVERAGING}),
            repair=plan.repair if arm.repair is None else arm.repair,
        )
    )


def _at_start(published: Knobs, plan: Plan, setting: Setting, arm: Arm) -> Knobs:
    """The GAN's own knobs, those of the task, those of the arm, times the arm's factors, times the regime's.

    Raises EquipoiseError for a name that is no knob, or a value out of its range.
    """
    knobs = published.with_values({**task_of(plan, setting).knobs, **arm.knobs}).values()
    regime = plan.regimes.get(setting.regime)
    for factors in (arm.factors, regime.factors if regime else {}):
        for name in factors:
            published.with_values({name: knobs.get(name, 0.0)})  # raises for a name that is no knob
        knobs = {name: value * factors.get(name, 1.0) for name, value in knobs.items()}
    return published.with_values(knobs)


def task_of(plan: Plan, setting: Setting) -> Task:
    """The task of a setting, or of tuning."""
    return plan.tuning.tasks[setting.task] if setting.tuning and plan.tuning else plan.tasks[setting.task]


def tuned(arm: Arm, tried: Mapping[str, Any]) -> Arm:
    """An arm with what was tried in its place."""
    for key, value in tried.items():
        owner, _, name = key.partition(".")
        if owner == "controller":
            arm = dataclasses.replace(arm, controller=arm.controller.with_options(**{name: value}))
        elif owner == "knobs":
            arm = dataclasses.replace(arm, knobs={**arm.knobs, name: value})
        else:
            arm = dataclasses.replace(arm, factors={**arm.factors, name: value})
    return arm


def check(plan: Plan) -> None:
    """Build what every arm needs in every setting once, so that nothing is found wrong after hours.

    All that tuning will try is known beforehand, and any of it may come to be tested: it is begun in every setting,
    too. Raises EquipoiseError, naming the arm, the setting and the trial.
    """
    where = [*settings(plan), *dict.fromkeys(run.setting for run in trials(plan))]
    for setting in where:
        check_metrics(plan, setting)
    for setting in where:
        for arm, said in plan.arms.items():
            trial = 0
            try:
                _check_averaging(said)
                made = experiment(plan, Planned(setting, arm, plan.seeds[0]), {})
                training = launch.assemble(dataclasses.replace(made, metric=None), None)
                if training.state.model.source is not None:
                    raise SettingError("it makes images of images; comparisons are of samples made from noise")
                for trial in range(1, plan.tuning.trials if plan.tuning else 1):
                    _check_begins(plan, setting, tuned(said, drawn(plan, arm, trial)), training)
            except EquipoiseError as error:
                what = ", ".join(f"{key} = {value}" for key, value in drawn(plan, arm, trial).items())
                told = f", trial {trial} ({what})" if trial else ""
                raise SettingError(f"arm '{arm}' on '{setting.name}'{told}: {error}") from error
    arms.check_policies(plan)


def check_metrics(plan: Plan, setting: Setting) -> None:
    """Raise SettingError if a metric does not suit the data, or the reported one looks as the live one does.

    Raises DataError if the weights that one looks through cannot be had.
    """
    task = task_of(plan, setting)
    made = bare(plan, task, setting, plan.seeds[0])
    data, live = data_of(made), made.measured
    reported = catalog.build("metrics", task.reported.name, task.reported.options)
    if not isinstance(reported, Metric) or not reported.suits(data.spec):
        raise SettingError(f"the metric '{task.reported.name}' does not suit task '{setting.task}'; report another")
    if live is not None:
        steered: Metric = catalog.build("metrics", live.name, live.options)
        watched = {live.name.partition(":")[0]: steered.features_digest}
        check_independent(watched, {task.reported.name.partition(":")[0]: reported.features_digest})
    asked = Asked(samples=Path(), metrics=task.also)
    also = chosen(Subject(asked, data, task.data, None, None)) if task.also else {}
    two = data.stream("train", 2, 0).batch(0).real
    for metric in (reported, *also.values()):
        if isinstance(metric, FeatureMetric):
            metric.features(two)  # what cannot be had is told of now, not after hours


def _check_begins(plan: Plan, setting: Setting, arm: Arm, training: Training) -> None:
    """Raise EquipoiseError if a run with these settings could not take its first decision.

    What it has in common with the one that was assembled, all but knobs and controller, is not built again.
    """
    _check_averaging(arm)
    model = training.state.model
    base = _at_start(model.knobs, plan, setting, arm)
    check_turnable(model.knobs.differences(base), model.turnable, model.name)
    controller = catalog.build("controllers", arm.controller.name, arm.controller.options)
    Pilot(controller, steps=training.plan.steps, knobs=base, rules=training.pilot.rules)


def _check_averaging(arm: Arm) -> None:
    """Raise SettingError if an arm says how long samples are averaged, or its controller must."""
    controller: Controller = catalog.build("controllers", arm.controller.name, arm.controller.options)
    searched = (key.partition(".")[2] for key in arm.search)
    if AVERAGING in {*arm.knobs, *arm.factors, *searched, *controller.turns()}:
        raise SettingError(f"{AVERAGING} is the same for every arm; set it in the task")


def bare(plan: Plan, task: Task, setting: Setting, seed: int) -> Experiment:
    """A run of the task, complete, whatever the arm: its controller turns nothing yet."""
    regime = plan.regimes.get(setting.regime)
    data = task.data.with_options(**(regime.data if regime else {}))
    said = Experiment(
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
    made = complete(said)
    steps = require(made.steps, "steps")
    every = max(1, steps // plan.looks)
    sensed = min(SENSE_EVERY, max(steps // READINGS, APART))
    return dataclasses.replace(made, sense_every=sensed, sample_every=steps, evaluate_every=every, save_every=every)


def _draw(space: Span | tuple[Any, ...], generator: np.random.Generator) -> Any:
    if not isinstance(space, Span):
        return space[int(generator.integers(len(space)))]
    if space.scale == "linear":
        return float(generator.uniform(space.low, space.high))
    return float(np.exp(generator.uniform(np.log(space.low), np.log(space.high))))
