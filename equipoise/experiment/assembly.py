"""Building the objects of a training from a completed experiment: plugs by name, and seeds from one seed."""

import contextlib
import dataclasses
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from equipoise.core import catalog
from equipoise.core.controller import AnyController
from equipoise.core.data import DataSet, DecodingStream, without_balance
from equipoise.core.downscaling import with_downscaled_inputs
from equipoise.core.independence import check_not_trained_with
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.metric import CaptionMetric, FeatureMetric, Metric, PairedMetric, ReferenceSet, explain_unsuitable
from equipoise.core.model import AnyBatch, Model
from equipoise.core.schedules import check_range
from equipoise.core.world import ALONE, World
from equipoise.diagnosis.remedies import RepairSettings
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.completion import FIXED
from equipoise.experiment.preview import make_preview, make_sample_layout
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, build_recipe, require
from equipoise.experiment.suggested import suggestion_reason
from equipoise.pilot.pilot import SENSE_EVERY, ModelInfo, Pilot
from equipoise.training import optimizers
from equipoise.training.loop import Training
from equipoise.training.plan import MetricEvaluation, SmallHeldOut, Streams, TrainingPlan, never_interrupted
from equipoise.training.state import initial_state

EVALUATION_SAMPLES = 1000
"""Largest number of samples in an evaluation during training."""
MAX_TRAIN_SENTENCES = 20_000
"""Largest number of training sentences that a metric compares samples with."""
EVALUATIONS = 10
"""Default number of evaluations in a run, unless they are expensive."""
MIN_HELD_OUT = 16
"""Smallest number of held-out samples for a rank: for 256 training samples against 16, its standard error is 0.15."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Independent seeds derived from the seed of the experiment: weights, training, data, preview and evaluation."""

    weights: int
    moment: int
    data: int
    latents: int

    @classmethod
    def of(cls, seed: int) -> "Seeds":
        """Derive the seeds (O'Neill's seed_seq, as implemented by numpy)."""
        return cls(*(int(part) for part in np.random.SeedSequence(seed).generate_state(4)))


def assemble(
    experiment: Experiment,
    checkpoints: Path | None,
    interrupted: Callable[[], bool] = never_interrupted,
    world: World = ALONE,
) -> Training:
    """Build the objects of a completed experiment, ready to train.

    `checkpoints`: folder of the checkpoints; None: no checkpoints. `world`: the processes that train together, of which
    this one gets its share of each batch. Raises EquipoiseError for settings that do not fit together.
    """
    experiment.check_ranges()
    data, recipe = build_data(experiment).resolve(), build_recipe(experiment)
    controller_spec = require(experiment.controller, "controller")
    plan = _training_plan(experiment, checkpoints, interrupted)
    controller: AnyController = catalog.build("controllers", controller_spec.name, controller_spec.options)
    seeds = Seeds.of(require(experiment.seed, "seed"))
    device, threads = select_device(experiment.device or "auto"), _set_threads(experiment)
    data = with_downscaled_inputs(data, recipe)
    with _seeded_global_generators(seeds.weights):
        model = recipe.build(data.spec, torch.Generator().manual_seed(seeds.weights))
    model_info = _model_info(model, experiment, controller.required_knobs())
    knobs = model.knobs.with_values(experiment.initial_knobs)
    precision = optimizers.resolve_precision(experiment.precision or "auto", device, model.mixed_precision)
    source = torch.Generator(device).manual_seed(seed_of_rank(seeds.moment, world.rank))
    state = initial_state(model, knobs, device, precision, source, accumulate=plan.accumulate, world=world)
    streams = _streams(data, plan.batch_size // world.size, seeds.data)
    pilot = Pilot(
        controller,
        steps=plan.steps,
        knobs=knobs,
        model_info=model_info,
        repair=RepairSettings() if experiment.repair is not False else None,
        sense_every=experiment.sense_every or SENSE_EVERY,
    )
    return Training(
        state=state,
        pilot=pilot,
        streams=streams,
        plan=plan,
        preview=make_preview(model, data, seeds.latents),
        layout=make_sample_layout(model, data, seeds.latents),
        evaluation=_metric_evaluation(model, data, experiment.training_metric, seeds) if world.rank == 0 else None,
        notes=(*suggestion_reason(experiment, data, device), *_notes(experiment, threads, model, data, streams)),
    )


def seed_of_rank(seed: int, rank: int, *, step: int = 0) -> int:
    """Return the seed of one process: that of rank 0 is `seed` itself, those of the others are independent of it.

    `step`: where a run continues with new random numbers, which then differ on rank 0, too.
    """
    if rank == 0 and step == 0:
        return seed
    return int(np.random.SeedSequence([seed, step], spawn_key=(rank,)).generate_state(1)[0])


def _set_threads(experiment: Experiment) -> int:
    """Set the number of threads of torch, at most one per core, and return it."""
    threads = min(require(experiment.threads, "threads"), available_cores())
    torch.set_num_threads(threads)
    return threads


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _seeded_global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators in the context, for custom models that draw their weights from them."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=()):
        seed_global_generators(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def seed_global_generators(seed: int) -> None:
    """Seed the global generators: this package does not use them, but a custom model or data set may."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _notes(
    experiment: Experiment, threads: int, model: Model[Knobs], data: DataSet, streams: Streams
) -> tuple[str, ...]:
    """Return what the user should know about the settings of the run."""
    notes = []
    if experiment.devices is not None:
        share = experiment.step_images // experiment.devices
        notes.append(f"{experiment.devices} processes train together, each on {share} samples of a step")
    if experiment.data_processes and not isinstance(streams.train, DecodingStream):
        notes.append(f"--data-workers has no effect: '{require(experiment.data, 'data').name}' is decoded beforehand")
    if experiment.threads is not None and experiment.threads > threads:
        notes.append(f"threads = {experiment.threads} is more than the cores of this machine; {threads} used")
    if experiment.budget is not None and experiment.steps is not None:
        notes.append(
            f"{experiment.steps:,} steps fit into the time budget of {experiment.budget:g} seconds, by a measurement"
        )
    return (*notes, *_unsuitable_controller(model, data, require(experiment.controller, "controller")))


def _unsuitable_controller(model: Model[Knobs], data: DataSet, chosen: PlugSpec) -> tuple[str, ...]:
    """Return a note if knobs are fixed because the controller that the data suggests changes others."""
    suggested = data.suggestion.controller
    if chosen.name != FIXED or suggested == FIXED:
        return ()
    controller: AnyController = catalog.build("controllers", suggested)
    missing = sorted(controller.required_knobs() - model.turnable)
    if not missing:
        return ()
    return (
        f"{suggested}, the controller for these data, changes {missing[0]}, which {model.name} lacks; {FIXED} used",
    )


def _training_plan(experiment: Experiment, checkpoints: Path | None, interrupted: Callable[[], bool]) -> TrainingPlan:
    steps = require(experiment.steps, "steps")
    return TrainingPlan(
        steps=steps,
        batch_size=require(experiment.batch_size, "batch_size"),
        accumulate=experiment.accumulate or 1,
        images=experiment.images,
        seconds=_time_limit(experiment),
        stop_at_equilibrium=bool(experiment.stop_at_equilibrium),
        sample_every=experiment.sample_every,
        evaluate_every=experiment.evaluate_every or max(1, steps // EVALUATIONS),
        save_every=experiment.save_every,
        checkpoints=checkpoints,
        keep_best=experiment.keep == "best",
        data_processes=experiment.data_processes or 0,
        interrupted=interrupted,
    )


OVERRUN = 1.25
"""Training time at which a run with a time budget ends in any case, as a multiple of the budget."""


def _time_limit(experiment: Experiment) -> float | None:
    """Return the training time in seconds after which a run ends; None for no limit."""
    if experiment.seconds is None and experiment.budget is not None:
        return OVERRUN * experiment.budget
    return experiment.seconds


def select_device(name: str) -> torch.device:
    """Return a device by name; "auto" selects a GPU if there is one. Raises SettingError if it is not available."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.Generator(device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(
            f"there is no device '{name}' on this machine; use --device cpu, or omit --device"
        ) from error
    return device


def _streams(data: DataSet, batch_size: int, seed: int) -> Streams:
    """Return streams of training and held-out samples; with few held-out samples, their batches are smaller."""
    train, count = data.stream("train", batch_size, seed), data.count("held_out")
    if count is None or count >= batch_size:
        return Streams(train, data.stream("held_out", batch_size, seed))
    if count < MIN_HELD_OUT:
        return Streams(train)
    small = SmallHeldOut(data.stream("train", count, seed), data.stream("held_out", count, seed), count)
    return Streams(train, small_held_out=small)


def _model_info(model: Model[Knobs], experiment: Experiment, required: Set[str]) -> ModelInfo:
    """Describe the model for the pilot, without frozen knobs. `required`: knobs that the controller must change.

    Raises UnknownNameError for a knob that does not exist, SettingError for one that has no effect, or is both frozen
    and required.
    """
    frozen = frozenset(experiment.freeze or ())
    _check_knobs(model, (*(experiment.knobs or {}), *sorted(frozen), *sorted(required)))
    if conflicts := sorted(frozen & required):
        raise SettingError(f"the controller changes {conflicts[0]}, which --freeze fixes; remove one of the two")
    return dataclasses.replace(ModelInfo.of(model), turnable=model.turnable - frozen)


def check_schedules(training: Training) -> None:
    """Raise SettingError if a schedule of the controller `annealed` leaves the range of its knob.

    Not checked when a run is resumed: earlier versions limited the values without a word.
    """
    schedules: Mapping[str, str | float] = getattr(training.pilot.settings.controller, "schedules", {})
    ranges = training.pilot.base.ranges()
    for name, text in schedules.items():
        if name in ranges:
            check_range(name, text, ranges[name])


def _check_knobs(model: Model[Knobs], names: Iterable[str]) -> None:
    ranges = model.knobs.ranges()
    for name in names:
        if name not in ranges:
            raise UnknownNameError("knob", name, ranges)
    check_turnable(names, model.turnable, model.name)


def _metric_evaluation(
    model: Model[Knobs], data: DataSet, spec: PlugSpec | None, seeds: Seeds
) -> MetricEvaluation | None:
    """Build the metric and its inputs. Raises SettingError if it does not suit the data or the model."""
    if spec is None:
        return None
    metric, data = _build_metric(model, data, spec), without_balance(data)
    available = data.count("held_out")
    if available == 0:
        raise SettingError(
            f"'{spec.name}' needs held-out data, and this data set has none; omit --metric, or give --metric none"
        )
    count = EVALUATION_SAMPLES if available is None else min(EVALUATION_SAMPLES, available)
    held_out: AnyBatch = data.stream("held_out", count, seeds.data).batch(0)
    train = None
    if isinstance(metric, FeatureMetric) and metric.needs_train:
        limit = MAX_TRAIN_SENTENCES if data.spec.vocabulary else EVALUATION_SAMPLES  # sentences are cheap to compare
        train = data.stream("train", min(data.count("train") or limit, limit), seeds.data).batch(0).real
    generator = torch.Generator().manual_seed(seeds.latents + 1)
    latents = model.latent(EVALUATION_SAMPLES if model.source is None else count, generator, None)
    condition = None
    if model.num_classes:
        # Random labels, as in the held-out data: with classes of equal size, samples could score better than reals.
        condition = torch.randint(model.num_classes, (EVALUATION_SAMPLES,), generator=generator)
    if model.captions is not None:
        condition = held_out.condition[torch.arange(len(latents)) % count]
    if model.source is not None:
        condition = held_out.source
    statistics = metric.statistics(ReferenceSet(held_out.real, held_out.condition, train=train, spec=data.spec))
    return MetricEvaluation(spec.name, metric, statistics, latents, condition)


def _build_metric(model: Model[Knobs], data: DataSet, spec: PlugSpec) -> Metric:
    metric: Metric = catalog.build("metrics", spec.name, spec.options)
    if not isinstance(metric, Metric):
        raise SettingError(f"'{spec.name}' cannot be computed during training; use equipoise evaluate afterwards")
    if not metric.suits(data.spec):
        raise SettingError(f"{explain_unsuitable(spec.name, metric, data.spec)}; choose one, or --metric none")
    if isinstance(metric, PairedMetric) and model.source is None:
        raise SettingError(f"'{spec.name}' needs a model that translates inputs; {model.name} generates from noise")
    if isinstance(metric, CaptionMetric) and model.captions is None:
        raise SettingError(f"'{spec.name}' needs a model that takes captions, such as gigagan; {model.name} takes none")
    check_not_trained_with(model.frozen, {spec.name: metric.features_digest}, model.name)
    return metric
