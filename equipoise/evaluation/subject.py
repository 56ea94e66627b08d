"""Inputs of an evaluation: the request, its data set and generator, and the samples and reals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.conditions import takes_conditions
from equipoise.core.data import Batch, DataSet, DataSpec, Split, UnpairedBatch, without_balance
from equipoise.core.downscaling import with_downscaled_inputs
from equipoise.core.metric import Features, describe_spec
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.errors import DataError, SettingError, UnknownNameError
from equipoise.evaluation.samples import (
    SampleSet,
    count_shared,
    generate_samples,
    load_samples,
    read_samples,
    translate_inputs,
)
from equipoise.evaluation.sources import OpenedData, RequestedSplit, check_options, open_data, open_for_run, open_pair
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, build_recipe, require
from equipoise.inference.generator import Generator, build_generator
from equipoise.inference.run_weights import StepChoice, is_run, select_weights
from equipoise.runs.run import EXPERIMENT_FILE, Run

COUNT = 10_000
"""Default number of samples of a run, and of reals of a split."""
MAX_TRAIN_REALS = 20_000
"""Largest number of training reals that are searched for copies."""
MAX_VALUES = 500_000_000
"""Largest number of float32 values of samples or reals in files, 2 GB: 40,000 colour images of 64 x 64 pixels."""
MIN_HELD_OUT = 50
"""With fewer held-out reals, training reals are used instead."""
NAMED_SPLITS = ("held_out", "train")
"""Splits of data sets with a name."""
MAX_TRAINED_ON = 0.01
"""Largest share of training reals among reals that count as held out."""

Part = Literal["samples", "reals", "train", "other_reals"]
"""`train`: training reals. `other_reals`: training reals, as many as samples if there are enough."""
RealSplit = Literal["train", "held_out", "all"]
"""The part of the data that the reals are taken from; `all`: every item of a folder or file."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Arguments of an evaluation: samples, reals and metrics; None selects defaults."""

    samples: Path
    """a run or checkpoint, or samples in a folder or file"""
    against: str | None = None
    """a data set, or reals in a folder or file; None for the training data of the run"""
    metrics: tuple[str, ...] = ()
    """names, optionally with a preset after a colon; empty for the defaults of the data"""
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """options by the name of a metric, or by `data` for those of the data set, on both sides"""
    count: int | None = None
    """number of samples; None for COUNT of a run, all of a folder"""
    split: RequestedSplit = "held_out"
    """split of the reals"""
    seed: int = 0
    """seed of latents, labels, reals and resamples"""
    step: StepChoice | None = None
    """step of the run; None for its final weights"""
    sampling: Sampling = DEFAULT_SAMPLING
    """how the run is sampled: truncation, psi and others that act in its model"""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationContext:
    """An opened request. `reals`: the data set of the reals. `samples`: of samples in files, if a data set reads them.

    `run`, `experiment`, `generator`: of the run, None for samples from files. `separate_training_data`: training data
    of the run if the reals are others; None if it is the data of the reals.
    """

    request: EvaluationRequest
    reals: OpenedData
    samples: OpenedData | None = None
    run: Run | None = None
    experiment: Experiment | None = None
    generator: Generator | None = None
    separate_training_data: DataSet | None = None

    @property
    def data(self) -> DataSet:
        """The data set of the reals."""
        return self.reals.data

    @property
    def plug(self) -> PlugSpec:
        """Name and options of the data set of the reals."""
        return self.reals.plug

    @property
    def training_data(self) -> DataSet:
        """The data that is searched for copies."""
        return self.data if self.separate_training_data is None else self.separate_training_data


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """Samples, `reals` of a split, and `train`, up to MAX_TRAIN_REALS training reals that are searched for copies.

    `is_paired`: whether each sample was generated from the input of the real at the same index. `trained_on`: how many
    of the reals are training reals.
    """

    context: EvaluationContext
    sample_set: SampleSet
    reals: Batch
    train: Batch
    split: RealSplit
    is_paired: bool = False
    trained_on: int = 0
    _features: dict[tuple[Features, Part], Tensor] = field(default_factory=dict)

    @property
    def held_out(self) -> int | None:
        """Number of held-out reals; None if all reals are held out, apart from a few."""
        if self.trained_on <= MAX_TRAINED_ON * len(self.reals):
            return None
        is_replaced = self.split == "train" and self.context.request.split == "held_out"
        return self.context.data.count("held_out") if is_replaced else len(self.reals) - self.trained_on

    def features(self, features: Features, part: Part) -> Tensor:
        """Return the features (N, D) of a part. The result is cached per feature network."""
        samples, train = self.sample_set.samples, self.train.real
        parts: dict[Part, Tensor] = {
            "samples": samples,
            "reals": self.reals.real,
            "train": train,
            "other_reals": train[: len(samples)],
        }
        if (features, part) not in self._features:
            self._features[features, part] = features(parts[part])
        return self._features[features, part]


def open_request(request: EvaluationRequest) -> EvaluationContext:
    """Open the data set and the run of a request.

    Raises EquipoiseError if one of them is missing or cannot be read, or if they do not fit together.
    """
    if request.count is not None and request.count < 2:
        raise SettingError(f"count = {request.count}: it must be at least 2")
    options = request.options.get("data", {})
    if is_run(request.samples):
        return _open_run(request, options)
    if not request.samples.exists():
        raise SettingError(f"{request.samples} does not exist; give a run, or samples")
    if request.against is None:
        raise SettingError(f"{request.samples} is not a run; name the reals with --against")
    if request.step is not None:
        raise SettingError(f"{request.samples} is not a run, so it has no step {request.step}; omit --step")
    if settings := request.sampling.settings():
        raise SettingError(f"{request.samples} is not a run, so it is not sampled; omit --{min(settings)}")
    reals, samples = open_pair(request.samples, request.against, options, request.split)
    return EvaluationContext(request, reals, samples)


def _open_run(request: EvaluationRequest, options: Mapping[str, str]) -> EvaluationContext:
    """Open a run or one of its checkpoints, and the reals: the training data of the run unless others are named."""
    weights = select_weights(request.samples, request.step)
    run = weights.run
    experiment = parse_experiment(run.experiment(), str(run.folder / EXPERIMENT_FILE))
    generator = build_generator(weights)
    generator.check_sampling(request.sampling)
    if generator.model.source is not None and (settings := request.sampling.settings()):
        raise SettingError(f"{generator.model.name} translates images, which are not sampled; omit --{min(settings)}")
    trained = require(experiment.data, "data")
    separate: DataSet | None = None
    if request.against is None:
        check_options(options, [trained.name])
        reals = open_data(_with_own_options(trained, options))
    else:
        reals, training_data = (
            open_for_run(request.against, trained, generator.spec, options, request.split),
            open_data(trained).data,
        )
        separate = None if reals.data == training_data else training_data
    recipe = build_recipe(experiment)
    reals = replace(reals, data=with_downscaled_inputs(reals.data, recipe))
    separate = None if separate is None else with_downscaled_inputs(separate, recipe)
    _check_fit(generator, reals.data)
    if separate is not None and separate.spec.shape != reals.data.spec.shape:
        separate = None
    return EvaluationContext(request, reals, None, run, experiment, generator, separate)


def _with_own_options(trained: PlugSpec, options: Mapping[str, str]) -> PlugSpec:
    """Return the training data of a run with other options.

    Options that define another distribution select other data on purpose: its digest differs.
    """
    if options.keys() & set(getattr(catalog.load("data", trained.name), "distribution_options", ())):
        trained = PlugSpec(trained.name, {name: value for name, value in trained.options.items() if name != "digest"})
    return trained.with_options(**options)


def _check_fit(generator: Generator, data: DataSet) -> None:
    """Raise DataError if samples of a generator cannot be compared with the data."""
    if generator.spec.shape != data.spec.shape:
        samples, reals = (" x ".join(map(str, spec.shape)) for spec in (generator.spec, data.spec))
        raise DataError(
            f"the run generates samples of {samples}, but the reals are {reals}; choose other --against data"
        )
    if generator.spec.vocabulary != data.spec.vocabulary:
        raise DataError("the run and the reals have different vocabularies; choose other --against data, or a text")
    if generator.model.captions not in (None, data.spec.captions):
        raise DataError("the run takes captions, but the reals have none, or other words; omit --against")
    if generator.model.source not in (None, data.spec.source):
        raise DataError("the run translates images, but the reals have no such inputs; omit --against")


def gather_data(context: EvaluationContext) -> EvaluationData:
    """Generate or read the samples, and load reals. Raises DataError if samples do not fit the reals."""
    request, data, generator = context.request, context.data, context.generator
    split = _choose_split(context)
    samples_read = _read_samples(context) if generator is None else None
    count = len(samples_read.samples) if samples_read else request.count or COUNT

    def load_reals(data: DataSet, split: Split, limit: int) -> Batch:
        available = _available(data, split, limit, count)
        batch: Batch = without_balance(data).stream(split, available, request.seed).batch(0)
        return batch

    source: Split = "train" if split == "all" else split
    reals = load_reals(data, source, request.count or (_limit(data.spec) if context.reals.is_whole else COUNT))
    train = load_reals(context.training_data, "train", MAX_TRAIN_REALS)
    sample_set = samples_read or _generate(context, count, reals, train)
    is_same = context.separate_training_data is None
    trained_on = len(reals) if is_same and source == "train" else 0
    if not is_same:
        trained_on = count_shared(reals.real, train.real)
    translates = generator is not None and generator.model.source is not None
    is_paired = translates and split in data.spec.paired
    return EvaluationData(context, sample_set, reals, train, split, is_paired, trained_on)


def _choose_split(context: EvaluationContext) -> RealSplit:
    """Return the part of the data that the reals are: the requested split, if it is large enough."""
    split, data = context.request.split, context.data
    if context.reals.is_whole:
        return "all"
    if split not in NAMED_SPLITS:
        raise UnknownNameError("split", split, NAMED_SPLITS, f"of '{context.plug.name}'")
    is_small = _available(data, "held_out", COUNT, COUNT) < MIN_HELD_OUT
    return "train" if split == "train" or is_small else "held_out"


def _read_samples(context: EvaluationContext) -> SampleSet:
    """Read samples from files, as many as requested, within the limit of memory. Raises DataError for fewer than 2."""
    request, spec = context.request, context.data.spec
    if context.samples is None:
        return read_samples(request.samples, request.count, spec)
    data = context.samples.data
    available = _available(data, "train", request.count or _limit(spec), 0)
    if available < 2:
        raise DataError(f"{request.samples} contains {available} sample; metrics need at least 2, better a thousand")
    if data.spec.shape != spec.shape or data.spec.vocabulary != spec.vocabulary:
        raise DataError(
            f"the samples are {describe_spec(data.spec)}, but the reals are {describe_spec(spec)}; compare those of "
            "one kind and size"
        )
    return load_samples(request.samples, data, available, request.seed)


def _generate(context: EvaluationContext, count: int, reals: Batch, train: Batch) -> SampleSet:
    """Generate samples of a run: `count` from noise, or one from the input of each real.

    Labels are those of the reals or, if these have none, of the training data.
    """
    generator, request = context.generator, context.request
    assert generator is not None
    if generator.model.source is not None:
        assert isinstance(reals, UnpairedBatch)
        return translate_inputs(request.samples, generator, reals.source)
    if takes_conditions(generator.model) and reals.condition is None and train.condition is not None:
        samples = generate_samples(request.samples, generator, count, request.seed, train.condition, request.sampling)
        return replace(samples, origin={**samples.origin, "labels": "as those of the training data"})
    return generate_samples(request.samples, generator, count, request.seed, reals.condition, request.sampling)


def _available(data: DataSet, split: Split, limit: int, unlimited: int) -> int:
    """Return the number of reals of a split to use: all, up to `limit`, or `unlimited` for endless data."""
    count = data.count(split)
    return unlimited if count is None else min(count, limit)


def _limit(spec: DataSpec) -> int:
    """Return the largest number of samples in files that are used, for the memory that they take."""
    return max(2, MAX_VALUES // math.prod(spec.shape))
