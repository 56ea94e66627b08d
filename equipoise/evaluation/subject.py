"""Inputs of an evaluation: the request, its data set and generator, and the samples and reals."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSet, DataSpec, Split, UnpairedBatch
from equipoise.core.metric import Features
from equipoise.errors import DataError, SettingError
from equipoise.evaluation.samples import SampleSet, generate_samples, read_samples, translate_inputs
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, require
from equipoise.inference.generator import Generator, load
from equipoise.runs.run import EXPERIMENT_FILE, Run

COUNT = 10_000
"""Default number of samples."""
MAX_TRAIN_REALS = 20_000
"""Largest number of training reals that are searched for copies."""
OTHER_TEXT_NOTE = (
    "the reals are all sentences of another text; copies are searched for in the text that the run was trained on"
)
MIN_HELD_OUT = 50
"""With fewer held-out reals, training reals are used instead."""

Part = Literal["samples", "reals", "train", "other_reals"]
"""`train`: training reals. `other_reals`: training reals, as many as samples if there are enough."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """Arguments of an evaluation: samples, reals and metrics; None selects defaults."""

    samples: Path
    """a run, a folder of images or an array"""
    against: str | None = None
    """a data set or a folder; None for the training data of the run"""
    metrics: tuple[str, ...] = ()
    """names, optionally with a preset after a colon; empty for the defaults of the data"""
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """options by the name of a metric, or by `data` for those of the data set"""
    count: int | None = None
    """number of samples; None for COUNT of a run, all of a folder"""
    split: Split = "held_out"
    """split of the reals"""
    seed: int = 0
    """seed of latents, labels, reals and resamples"""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationContext:
    """An opened request. `data`, `plug`: the data set of the reals, and its name and options.

    `experiment`, `generator`: those of the run, None for samples from files. `separate_training_data`: training data of
    the run if the reals are another text; None if it is `data`.
    """

    request: EvaluationRequest
    data: DataSet
    plug: PlugSpec
    experiment: Experiment | None
    generator: Generator | None
    separate_training_data: DataSet | None = None

    @property
    def training_data(self) -> DataSet:
        """The data that is searched for copies."""
        return self.data if self.separate_training_data is None else self.separate_training_data


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """Samples, `reals` of a split, and `train`, up to MAX_TRAIN_REALS training reals that are searched for copies.

    `is_paired`: whether each sample was generated from the input of the real at the same index.
    """

    context: EvaluationContext
    sample_set: SampleSet
    reals: Batch
    train: Batch
    split: Split
    notes: tuple[str, ...] = ()
    is_paired: bool = False
    _features: dict[tuple[Features, Part], Tensor] = field(default_factory=dict)

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
    experiment, generator = None, None
    if (request.samples / EXPERIMENT_FILE).exists():
        source = str(request.samples / EXPERIMENT_FILE)
        experiment = parse_experiment(Run(request.samples).experiment(), source)
        generator = load(request.samples)
    plug = _select_data(request, experiment, generator)
    data = _build_data(plug)
    if generator is not None:
        _check_fit(generator, data)
    is_other_text = plug.name == "text_lines" and "digest" not in plug.options
    separate = _build_data(require(experiment.data, "data")) if experiment is not None and is_other_text else None
    return EvaluationContext(request, data, plug, experiment, generator, separate)


def _check_fit(generator: Generator, data: DataSet) -> None:
    """Raise DataError if samples of a generator cannot be compared with the data."""
    if generator.spec.shape != data.spec.shape:
        samples, reals = (" x ".join(map(str, spec.shape)) for spec in (generator.spec, data.spec))
        raise DataError(
            f"the run generates samples of {samples}, but the reals are {reals}; choose other --against data"
        )
    if generator.spec.vocabulary != data.spec.vocabulary:
        raise DataError("the run and the reals have different vocabularies; choose other --against data, or a text")
    if generator.model.source not in (None, data.spec.source):
        raise DataError("the run translates images, but the reals have no such inputs; omit --against")


def _build_data(plug: PlugSpec) -> DataSet:
    data: DataSet = catalog.build("data", plug.name, plug.options).resolve()
    return data


def _select_data(request: EvaluationRequest, experiment: Experiment | None, generator: Generator | None) -> PlugSpec:
    """Return the data set of the reals: the requested one, otherwise the training data of the run."""
    options = request.options.get("data", {})
    if request.against is not None:
        plug = parse_data_source(request.against)
        if generator is not None and "image_size" in inspect.signature(catalog.load("data", plug.name)).parameters:
            plug = plug.with_options(image_size=generator.spec.shape[-1])
        if experiment is not None and generator is not None and plug.name == "text_lines":
            plug = _text(plug, require(experiment.data, "data"), generator.spec)
        return plug.with_options(**options)
    if experiment is None:
        raise SettingError(f"{request.samples} is not a run; name the reals with --against")
    plug = require(experiment.data, "data")
    # Options that define another distribution select other data on purpose: its digest differs.
    if options.keys() & set(getattr(catalog.load("data", plug.name), "distribution_options", ())):
        plug = PlugSpec(plug.name, {name: value for name, value in plug.options.items() if name != "digest"})
    return plug.with_options(**options)


def _text(plug: PlugSpec, trained: PlugSpec, spec: DataSpec) -> PlugSpec:
    """Return a text with the vocabulary and the length of a run, split as in the run if it is the same text.

    Another text has no training split, because none of it was trained on.
    """
    if spec.vocabulary is None:
        return plug
    if trained.name == plug.name:
        same = trained.with_options(file=plug.options["file"])
        with suppress(DataError):  # The digest of another text differs.
            _build_data(same)
            return same
    unit = "words" if spec.vocabulary.separator else "characters"
    return plug.with_options(unit=unit, words=spec.vocabulary.words, length=spec.shape[0], held_out=0.0)


def gather_data(context: EvaluationContext) -> EvaluationData:
    """Generate or read the samples, and load reals. Raises DataError if samples do not fit the reals."""
    request, data, generator = context.request, context.data, context.generator
    samples_read = read_samples(request.samples, request.count, data.spec) if generator is None else None
    count = len(samples_read.samples) if samples_read else request.count or COUNT

    def load_reals(data: DataSet, split: Split, limit: int) -> Batch:
        batch: Batch = data.stream(split, _available(data, split, limit, count), request.seed).batch(0)
        return batch

    held_out = _available(data, "held_out", COUNT, COUNT)
    is_small = request.split == "held_out" and held_out < MIN_HELD_OUT
    split: Split = "train" if is_small else request.split
    reals = load_reals(data, split, request.count or COUNT)
    train = load_reals(context.training_data, "train", MAX_TRAIN_REALS)
    translates = generator is not None and generator.model.source is not None
    sample_set = _generate(request, generator, count, reals) if generator else samples_read
    assert sample_set is not None
    note = f"only {held_out} held-out reals: training reals are used instead, so memorised samples score well"
    notes = (note,) if is_small else ()
    if context.separate_training_data is not None:
        notes = (OTHER_TEXT_NOTE,)
    return EvaluationData(context, sample_set, reals, train, split, notes, translates and split in data.spec.paired)


def _generate(request: EvaluationRequest, generator: Generator, count: int, reals: Batch) -> SampleSet:
    """Generate samples of a run: `count` from noise, or one from the input of each real."""
    if generator.model.source is not None:
        assert isinstance(reals, UnpairedBatch)
        return translate_inputs(request.samples, generator, reals.source)
    return generate_samples(request.samples, generator, count, request.seed, reals.condition)


def _available(data: DataSet, split: Split, limit: int, unlimited: int) -> int:
    """Return the number of reals of a split to use: all, up to `limit`, or `unlimited` for endless data."""
    count = data.count(split)
    return unlimited if count is None else min(count, limit)


def describe_data(data: EvaluationData) -> dict[str, Any]:
    """Return a description of the samples and the reals, as JSON values."""
    plug = data.context.plug
    return {
        "samples": {**data.sample_set.origin, "count": len(data.sample_set.samples)},
        "reals": {
            "data": plug.name,
            "options": dict(plug.options),
            "split": data.split,
            "count": len(data.reals),
        },
        "seed": data.context.request.seed,
        "notes": list(data.notes),
    }
