"""Summary of a data set that is not a set of images: counts, and the range of its values in their own unit."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import DataSet, DataSpec

MAX_SAMPLES = 512
"""Largest number of samples whose values are summarised."""


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """Statistics of the values of one column, or of all: `name` is "" without columns."""

    name: str
    low: float
    high: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """Summary of the samples of a data set.

    `train`, `held_out`: numbers of samples, None if endless. `values`: statistics in the unit of the data, of
    `measured` training samples. `words`: size of the vocabulary of text, else None.
    """

    shape: tuple[int, ...]
    train: int | None
    held_out: int | None
    classes: tuple[str, ...]
    measured: int
    values: tuple[ValueSummary, ...]
    words: int | None

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return {
            "shape": list(self.shape),
            "train": self.train,
            "held_out": self.held_out,
            "classes": list(self.classes),
            "words": self.words,
            "measured": self.measured,
            "values": [
                {
                    "column": column.name,
                    **{
                        name: value if math.isfinite(value) else None
                        for name, value in (
                            ("low", column.low),
                            ("high", column.high),
                            ("mean", column.mean),
                            ("deviation", column.deviation),
                        )
                    },
                }
                for column in self.values
            ],
        }


def summarise_samples(data: DataSet) -> SampleSummary:
    """Summarise a resolved data set by its description and its first samples."""
    spec, train = data.spec, data.count("train")
    count = min(MAX_SAMPLES, MAX_SAMPLES if train is None else train)
    values: tuple[ValueSummary, ...] = ()
    if count and spec.vocabulary is None:
        values = _summarise_values(data.stream("train", count, seed=0).batch(0).real, spec)
    return SampleSummary(
        spec.shape,
        train,
        data.count("held_out"),
        spec.class_names,
        count,
        values,
        None if spec.vocabulary is None else len(spec.vocabulary.words),
    )


def _summarise_values(real: Tensor, spec: DataSpec) -> tuple[ValueSummary, ...]:
    """Return the statistics of values (B, ...) in their own unit: of each column if there are several names."""
    values = spec.to_unit(real)
    names = spec.table.names if spec.table is not None else ()
    axis = 1 if spec.is_sequence else values.ndim - 1
    if len(names) > 1 and values.shape[axis] == len(names):
        return tuple(_describe(name, values.select(axis, place)) for place, name in enumerate(names))
    return (_describe("", values),)


def _describe(name: str, values: Tensor) -> ValueSummary:
    numbers = torch.stack([values.min(), values.max(), values.mean(), values.std(correction=0)]).tolist()
    return ValueSummary(name, *numbers)
