"""What is judged beside what: the samples of a run or a folder, and the reals that they are compared with."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from equipoise.core import catalog
from equipoise.core.data import Batch, DataSet, DataSpec, Split
from equipoise.core.metric import Features
from equipoise.errors import DataError, SettingError
from equipoise.evaluation.samples import SampleSet, generate_samples, read_samples, translate_inputs
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, require
from equipoise.inference.generator import Generator, load_generator
from equipoise.runs.run import EXPERIMENT_FILE, Run

COUNT = 10_000
"""Samples that are judged unless another number is asked for."""
MAX_TRAIN_REALS = 20_000
"""Training reals among which copies are looked for at the most."""
OTHER_TEXT_NOTE = "the reals are a text of their own, all of it; copies are looked for among what the run was trained on"
MIN_HELD_OUT = 50
"""Held-out reals below which training reals are taken instead."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What is to be judged, by what. None: what suits."""

    samples: Path
    """a run, a folder of images or an array"""
    against: str | None = None
    """a data set or a folder; None for what the run was trained on"""
    metrics: tuple[str, ...] = ()
    """names, presets after a colon; none for those that suit the data"""
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """by the name of a metric, or `data`"""
    count: int | None = None
    """samples; None for COUNT of a run, all of a folder"""
    split: Split = "held_out"
    """of the reals"""
    seed: int = 0
    """of latents, labels, reals and draws"""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationContext:
    """What was asked for, opened: `data` and how it was chosen; `experiment` and `generator` if samples are a run's.

    `other`: what a run was trained on, if it is judged by a text that it has not seen; None where that is `data`.
    """

    asked: EvaluationRequest
    data: DataSet
    choice: PlugSpec
    experiment: Experiment | None
    generator: Generator | None
    other: DataSet | None = None

    @property
    def trained_on(self) -> DataSet:
        """What samples may be copies of."""
        return self.data if self.other is None else self.other


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationData:
    """Samples, `reals` of a split, and `train`, all training reals up to TRAINED, which samples may be copies of.

    `aligned`: each sample was made of the input that belongs to the real in its place.
    """

    subject: EvaluationContext
    specimens: SampleSet
    reals: Batch
    train: Batch
    split: Split
    notes: tuple[str, ...] = ()
    aligned: bool = False
    _seen: dict[tuple[Features, str], Tensor] = field(default_factory=dict)

    def seen(self, features: Features, what: str) -> Tensor:
        """Features (N, D) of "samples", "reals", "train", or "others": as many training reals as samples, if there are.

        A network looks at each part once, whoever asks. Others are no others where reals were trained on themselves.
        """
        samples, train = self.specimens.samples, self.train.real
        parts = {"samples": samples, "reals": self.reals.real, "train": train, "others": train[: len(samples)]}
        if (features, what) not in self._seen:
            self._seen[features, what] = features(parts[what])
        return self._seen[features, what]


def open_request(asked: EvaluationRequest) -> EvaluationContext:
    """What was asked for, found. Raises EquipoiseError if it is not there, cannot be read, or does not fit together."""
    if asked.count is not None and asked.count < 2:
        raise SettingError(f"count = {asked.count}: it must be at least 2")
    experiment, generator = None, None
    if (asked.samples / EXPERIMENT_FILE).exists():
        source = str(asked.samples / EXPERIMENT_FILE)
        experiment, generator = parse_experiment(Run(asked.samples).experiment(), source), load_generator(asked.samples)
    choice = _choice(asked, experiment, generator)
    data = _built(choice)
    if generator is not None and generator.spec.shape != data.spec.shape:
        made, real = (" x ".join(map(str, spec.shape)) for spec in (generator.spec, data.spec))
        raise DataError(f"this run makes samples of {made}, the reals are {real}; give --against what it was made for")
    if generator is not None and generator.spec.vocabulary != data.spec.vocabulary:
        raise DataError("this run and these reals have other words; give --against what it was made for, or a text")
    if generator is not None and generator.model.source not in (None, data.spec.source):
        raise DataError("this run makes images of images, and these reals have no such inputs; leave --against out")
    unseen = choice.name == "text_lines" and "digest" not in choice.options
    other = _built(require(experiment.data, "data")) if experiment is not None and unseen else None
    return EvaluationContext(asked, data, choice, experiment, generator, other)


def _built(choice: PlugSpec) -> DataSet:
    data: DataSet = catalog.build("data", choice.name, choice.options).resolve()
    return data


def _choice(asked: EvaluationRequest, experiment: Experiment | None, generator: Generator | None) -> PlugSpec:
    """The reals, by what was asked for, else those that the run was trained on."""
    options = asked.options.get("data", {})
    if asked.against is not None:
        choice = parse_data_source(asked.against)
        if generator is not None and "image_size" in inspect.signature(catalog.load("data", choice.name)).parameters:
            choice = choice.with_options(image_size=generator.spec.shape[-1])
        if experiment is not None and generator is not None and choice.name == "text_lines":
            choice = _text(choice, require(experiment.data, "data"), generator.spec)
        return choice.with_options(**options)
    if experiment is None:
        raise SettingError(f"{asked.samples} is no run; say by --against what its samples are to be compared with")
    choice = require(experiment.data, "data")
    if options.keys() & set(getattr(catalog.load("data", choice.name), "of_distribution", ())):  # other data, by intent
        choice = PlugSpec(choice.name, {name: value for name, value in choice.options.items() if name != "digest"})
    return choice.with_options(**options)


def _text(choice: PlugSpec, own: PlugSpec, spec: DataSpec) -> PlugSpec:
    """A text, read in the words and up to the length of a run: split as the run split it if it is the run's own.

    Of another text nothing is held out, for nothing of it was trained on.
    """
    if spec.vocabulary is None:
        return choice
    if own.name == choice.name:
        mine = own.with_options(file=choice.options["file"])
        with suppress(DataError):  # another text is not what the digest is of
            _built(mine)
            return mine
    unit = "words" if spec.vocabulary.separator else "characters"
    return choice.with_options(unit=unit, words=spec.vocabulary.words, length=spec.shape[0], held_out=0.0)


def gather_data(subject: EvaluationContext) -> EvaluationData:
    """Make or read the samples, and take as many reals, or all there are. Raises DataError if samples do not suit."""
    asked, data, generator = subject.asked, subject.data, subject.generator
    read = read_samples(asked.samples, asked.count, data.spec) if generator is None else None
    count = len(read.samples) if read else asked.count or COUNT

    def some(data: DataSet, split: Split, most: int) -> Batch:
        batch: Batch = data.stream(split, _available(data, split, most, count), asked.seed).batch(0)
        return batch

    held_out = _available(data, "held_out", COUNT, COUNT)
    few = asked.split == "held_out" and held_out < MIN_HELD_OUT
    split: Split = "train" if few else asked.split
    reals, train = some(data, split, asked.count or COUNT), some(subject.trained_on, "train", MAX_TRAIN_REALS)
    maps = generator is not None and generator.model.source is not None
    made = _made(asked, generator, count, reals) if generator else read
    assert made is not None
    note = f"held-out reals are too few ({held_out}): training reals stand in for them, so that copies look good"
    notes = (note,) if few else ()
    if subject.other is not None:
        notes = (OTHER_TEXT_NOTE,)
    return EvaluationData(subject, made, reals, train, split, notes, maps and split in data.spec.paired)


def _made(asked: EvaluationRequest, generator: Generator, count: int, reals: Any) -> SampleSet:
    """Samples of a run: of noise, as many as asked for, or of the input of each real."""
    if generator.model.source is not None:
        return translate_inputs(asked.samples, generator, reals.source)
    return generate_samples(asked.samples, generator, count, asked.seed, reals.condition)


def _available(data: DataSet, split: Split, most: int, endless: int) -> int:
    """How many reals of a split are taken: all up to `most`, or `endless` where there is no end of them."""
    count = data.count(split)
    return endless if count is None else min(count, most)


def describe_data(judged: EvaluationData) -> dict[str, Any]:
    """What the samples and the reals are, as JSON has it."""
    choice = judged.subject.choice
    return {
        "samples": {**judged.specimens.origin, "count": len(judged.specimens.samples)},
        "reals": {
            "data": choice.name,
            "options": dict(choice.options),
            "split": judged.split,
            "count": len(judged.reals),
        },
        "seed": judged.subject.asked.seed,
        "notes": list(judged.notes),
    }
