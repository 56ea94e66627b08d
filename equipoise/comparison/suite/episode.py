"""One training run of the suite, in memory: a task, a controller with its settings, and a seed; returns its curve.

Quality is the kernel distance of the averaged generator to the test reals, which the run does not contain. The live
metric, which controllers may observe, compares with the few held-out samples and uses other random features.
"""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from equipoise.comparison.suite.data import DataWithTestReals
from equipoise.comparison.suite.distance import RandomFeatureDistance, RealStatistics
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.controllers.chain import Chain
from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.core.events import Evaluated, Event, Remedied
from equipoise.core.knobs import Knobs
from equipoise.core.metric import ReferenceSet
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.meta.held_out import ReferenceKernel
from equipoise.training import probe
from equipoise.training.loop import Training, train

READINGS = 20
"""Readings of a run, at which a controller acts."""
EVALUATIONS = 8
SAMPLES = 512
"""Samples of an evaluation."""
LATENTS_SEED = 97
REPORTED_SEED = 1
"""Seed of the random features of the reported distance; controllers observe those of seed 0."""
LIVE_METRIC = "equipoise.comparison.suite.distance"
RECORDED = ("lr_g", "lr_d", "r1_gamma", "augment_p")
"""Knobs whose values are recorded at each evaluation."""
FIXED = PlugSpec("fixed")


@dataclass(frozen=True)
class ArmSettings:
    """How one run is controlled. `knobs`: absolute values. `factors`: multiples of the task's values of knobs.

    `repair`: whether remedies of the diagnosis are applied.
    """

    controller: PlugSpec = FIXED
    knobs: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    repair: bool = False


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. `distance`: to the test reals. `live`: to the held-out samples. `knobs`: at this time."""

    step: int
    distance: float
    live: float
    knobs: Mapping[str, float]


@dataclass(frozen=True)
class EpisodeCurve:
    """Result of a run. `cpu`: seconds of processor time of training and control, without the reported metric."""

    evaluations: tuple[Evaluation, ...]
    diverged: bool
    cpu: float
    remedies: int = 0

    @property
    def last(self) -> float:
        """Distance at the end; infinite for a run that diverged."""
        return self._finite(self.evaluations[-1].distance) if self.evaluations and not self.diverged else math.inf

    @property
    def selected(self) -> float:
        """Distance of the evaluation with the best live metric: what early stopping keeps."""
        usable = [evaluation for evaluation in self.evaluations if math.isfinite(evaluation.live)]
        return self._finite(min(usable, key=lambda evaluation: evaluation.live).distance) if usable else math.inf

    @staticmethod
    def _finite(value: float) -> float:
        return value if math.isfinite(value) else math.inf


@dataclass(frozen=True, eq=False)
class DistanceToTestReals:
    """Measures the distance of a training's averaged generator to the test reals of its task."""

    metric: RandomFeatureDistance
    statistics: RealStatistics | ReferenceKernel
    latents: Tensor

    @classmethod
    def of(cls, data: DataWithTestReals, model: Model[Knobs]) -> "DistanceToTestReals":
        """Prepare the statistics of the test reals and the latents, which are the same for every run of a task."""
        metric = RandomFeatureDistance(REPORTED_SEED)
        latents = model.latent(SAMPLES, torch.Generator().manual_seed(LATENTS_SEED), None)
        return cls(metric, metric.statistics(ReferenceSet(data.test_reals())), latents)

    def measure(self, training: Training) -> float:
        """Return the distance."""
        return self.metric.value(self.statistics, probe.generate_samples(training.state, self.latents, None))


def build_experiment(task: SuiteTask, settings: ArmSettings, seed: int) -> Experiment:
    """Return the experiment of a run. The seed also chooses the training samples. Raises SettingError for a task
    without held-out reals."""
    data = PlugSpec(task.data, task.data_options(draw=seed))
    experiment = Experiment(
        data=data,
        model=PlugSpec(task.model, dict(task.options)),
        metric=PlugSpec(LIVE_METRIC),
        controller=settings.controller,
        knobs=dict(settings.knobs),
        repair=settings.repair,
        steps=task.steps,
        batch_size=task.batch_size,
        evaluate_every=max(1, task.steps // EVALUATIONS),
        sense_every=max(1, task.steps // READINGS),
        precision="fp32",
        threads=1,
        seed=seed,
    )
    return complete(experiment)


def open_training(task: SuiteTask, settings: ArmSettings, seed: int) -> Training:
    """Build the training of a run: the base of the task, changed by factors and then by absolute knobs.

    A controller of knobs that have no effect in the model of the task is replaced by `fixed`: it cannot be used there.
    """
    experiment = build_experiment(task, settings, seed)
    model = assemble(dataclasses.replace(experiment, controller=FIXED, knobs={}), None).state.model
    controller = usable_controller(experiment.controller or FIXED, model.turnable)
    base = {**model.knobs.values(), **task.knobs}
    base = {name: value * task.factors.get(name, 1.0) * settings.factors.get(name, 1.0) for name, value in base.items()}
    ranges = model.knobs.ranges()
    knobs = {name: min(max(base[name], ranges[name].low), ranges[name].high) if base[name] else 0.0 for name in ranges}
    changed = {name: value for name, value in {**knobs, **settings.knobs}.items() if name in model.turnable}
    if unknown := [name for name in settings.knobs if name not in ranges]:
        raise SettingError(f"task '{task.name}' has no knob '{unknown[0]}'")
    return assemble(dataclasses.replace(experiment, controller=controller, knobs=changed), None)


def usable_controller(spec: PlugSpec, turnable: Set[str]) -> PlugSpec:
    """Return a controller that needs no other knobs than these: a chain without the members that do, or `fixed`."""
    controller: AnyController = catalog.build("controllers", spec.name, spec.options)
    if isinstance(controller, Chain):
        names = [
            name
            for name, member in zip(controller.of, controller.members, strict=True)
            if member.required_knobs() <= turnable
        ]
        return spec.with_options(of=tuple(names)) if names else FIXED
    return spec if controller.required_knobs() <= turnable else FIXED


def play(task: SuiteTask, settings: ArmSettings, seed: int) -> EpisodeCurve:
    """Train one run to its end and return its curve."""
    training = open_training(task, settings, seed)
    data: DataWithTestReals = catalog.build("data", task.data, task.data_options(draw=seed))
    test_distance = DistanceToTestReals.of(data, training.state.model)
    return record_curve(training, train(training), test_distance)


def record_curve(training: Training, events: Iterator[Event], test_distance: DistanceToTestReals) -> EpisodeCurve:
    """Consume the events of a run, and measure its distance at each evaluation."""
    evaluations: list[Evaluation] = []
    remedies, start, outside = 0, time.process_time(), 0.0
    for event in events:
        match event:
            case Evaluated():
                pause = time.process_time()
                values = training.pilot.knobs.values()
                knobs = {name: values[name] for name in RECORDED if name in values}
                evaluations.append(Evaluation(event.step, test_distance.measure(training), event.value, knobs))
                outside += time.process_time() - pause
            case Remedied():
                remedies += 1
    diverged = training.verdict == "diverged"  # of the end: a run that repair has restored has not diverged
    return EpisodeCurve(tuple(evaluations), diverged, time.process_time() - start - outside, remedies)
