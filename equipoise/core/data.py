"""Types of data sets: batches, the description of a sample, and the interface of a data set."""

import dataclasses
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor, device

from equipoise.core.captions import Captions
from equipoise.core.tokens import SentenceDistribution, Vocabulary

T = TypeVar("T")
D = TypeVar("D", bound="DataSet")
ReadT = TypeVar("ReadT")
ReadResultT = TypeVar("ReadResultT", covariant=True)
Split = Literal["train", "held_out"]

Bound = float | tuple[float, ...]
"""A physical value: one for all numbers of a sample, or one per column of a table."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How samples are written as tables, as their files were.

    `rows`: times if a row holds the numbers of one moment, channels if a row is one channel of a sample, samples if a
    row is a whole sample, so that many samples are one table. `names`: of the columns, for the first line; or empty.
    """

    rows: Literal["times", "channels", "samples"] = "times"
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MelSettings:
    """Settings of a mel spectrogram: `window` and `hop` in samples of sound, number of `bands` from 0 Hz upwards."""

    window: int
    hop: int
    bands: int


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How samples become sound. `sample_rate`: in Hz. `mel`: of log-mel spectrograms, or None for a waveform.

    `length`: number of samples of sound in one sample of the data set.
    """

    sample_rate: int
    length: int
    mel: MelSettings | None = None


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Description of one sample of a data set.

    `shape`: without the batch dimension, (channels, height, width) in [-1, 1] for images, (channels, length) in [-1, 1]
    for sequences such as time series and sound, (2,) for points, (T,) for sentences. `classes`: number of labels, 0 for
    none; `class_names`: their names, or empty. `flips`: whether mirror images are valid samples. `source`: shape of the
    inputs of translation data. `paired`: the splits in which each input belongs to its sample. `unit`: the physical
    values that -1 and 1 represent, or None; either of them may be one value per column of a table, which is the last
    axis of an image and a channel of a sequence. `table`: how samples are written as tables. `sound`: how they become
    sound. `vocabulary`: the words of text data. `distribution`: the exact distribution of sentences, or None if it is
    not known. `captions`: how the texts that describe samples are written, for data with a caption instead of a label.
    """

    shape: tuple[int, ...]
    classes: int = 0
    flips: bool = False
    class_names: tuple[str, ...] = ()
    source: tuple[int, ...] | None = None
    paired: tuple[Split, ...] = ()
    unit: tuple[Bound, Bound] | None = None
    table: TableLayout | None = None
    sound: SoundFormat | None = None
    vocabulary: Vocabulary | None = None
    distribution: SentenceDistribution | None = None
    captions: Captions | None = None

    @property
    def is_image(self) -> bool:
        """Whether samples are images: (channels, height, width)."""
        return len(self.shape) == 3

    @property
    def is_sequence(self) -> bool:
        """Whether samples are sequences: (channels, length)."""
        return len(self.shape) == 2

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The values that -1 and 1 represent, float64, shaped so that they broadcast over a sample.

        -1 and 1 themselves without a unit.
        """
        low, high = (torch.tensor(bound, dtype=torch.float64) for bound in self.unit or (-1.0, 1.0))
        if not self.is_sequence:
            return low, high
        return low.unsqueeze(-1), high.unsqueeze(-1)

    def to_unit(self, samples: Tensor) -> Tensor:
        """Map samples (N, ...) in [-1, 1] to the unit of the data: low + (x + 1) / 2 (high - low), float64.

        Unchanged numbers without a unit.
        """
        if self.unit is None:
            return samples.double()
        low, high = self.bounds
        return low + (samples.double() + 1) / 2 * (high - low)

    @property
    def is_points(self) -> bool:
        """Whether samples are points: vectors of numbers that are not tokens."""
        return len(self.shape) == 1 and self.vocabulary is None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of samples. `real`: (B, ...) float32. `condition`: int64 labels (B,) or captions (B, T), or None."""

    real: Tensor
    condition: Tensor | None = None

    def to(self, target: device) -> Self:
        """Return the batch on another device, with an asynchronous copy."""
        condition = None if self.condition is None else self.condition.to(target, non_blocking=True)
        return type(self)(self.real.to(target, non_blocking=True), condition)

    def __len__(self) -> int:
        return len(self.real)


@dataclass(frozen=True, slots=True)
class UnpairedBatch(Batch):
    """A batch of samples and unrelated inputs. `source`: (B, ...) float32."""

    source: Tensor = field(kw_only=True)

    def to(self, target: device) -> Self:
        """Return the batch on another device, with an asynchronous copy."""
        condition = None if self.condition is None else self.condition.to(target, non_blocking=True)
        real, source = (part.to(target, non_blocking=True) for part in (self.real, self.source))
        return type(self)(real, condition, source=source)


@dataclass(frozen=True, slots=True)
class PairedBatch(UnpairedBatch):
    """A batch of pairs: `source[i]` is the input of `real[i]`."""


@dataclass(frozen=True, slots=True)
class TokenBatch(Batch):
    """A batch of sentences. `real`: (B, T) int64 tokens. `lengths`: (B,) int64, tokens before the end token.

    Generated samples are float32, as for other data; token ids are exact in float32.
    """

    lengths: Tensor = field(kw_only=True)

    def to(self, target: device) -> Self:
        """Return the batch on another device, with an asynchronous copy."""
        real, lengths = (part.to(target, non_blocking=True) for part in (self.real, self.lengths))
        return type(self)(real, self.condition, lengths=lengths)


class Stream(Protocol):
    """An endless sequence of batches. Pure: the same index gives the same batch."""

    def batch(self, index: int) -> Any:
        """Return batch number `index`, on the CPU."""


class BatchReader(Protocol[ReadResultT]):
    """What reads the batches of a stream: a small object that is copied to other processes by pickle."""

    def read(self, index: int) -> ReadResultT:
        """Return what batch number `index` is made of; pure, as a stream is."""


@runtime_checkable
class DecodingStream(Stream, Protocol[ReadT]):
    """A stream that decodes files when they are drawn, so that several processes may do that at once."""

    @property
    def reader(self) -> BatchReader[ReadT]:
        """Reads and decodes the files of a batch."""

    def assemble(self, read: ReadT) -> Batch:
        """Return the batch, on the CPU, of what its reader returned: `batch(i)` is `assemble(reader.read(i))`."""

    def damaged(self) -> Mapping[str, str]:
        """Return path -> reason of files that could not be decoded until now, and were replaced by others."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Default settings for a data set: model, length, metric and controller, as on the command line.

    `reason`: one line for the user. `on_cpu`: the settings on a CPU, if others were measured to be better there.
    """

    model: str
    steps: int
    batch_size: int
    metric: str | None = None
    controller: str = "fixed"
    reason: str | None = None
    on_cpu: "Suggestion | None" = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Progress of the preparation of a data set: `done` of `total` items of a `task`.

    `note`: information for the user, such as that images were cropped, or that some could not be read.
    """

    task: str
    done: int
    total: int
    note: str | None = None


def exhaust(preparation: Generator[Preparation, None, T]) -> T:
    """Run a preparation to its end, and return its result."""
    while True:
        try:
            next(preparation)
        except StopIteration as end:
            result: T = end.value
            return result


class NoPreparation:
    """Mixin for a data set that needs no preparation: no download, no decoding, no options to fill in."""

    __slots__ = ()

    def prepare(self) -> Iterator[Preparation]:
        """Return an empty iterator."""
        return iter(())

    def resolve(self) -> Self:
        """Return the data set unchanged."""
        return self


class DataSet(Protocol):
    """A data set: a frozen dataclass whose fields are its options."""

    def prepare(self) -> Iterator[Preparation]:
        """Do the slow work once: download, decode. Yields progress; cheap if it was done before."""

    def resolve(self) -> Self:
        """Return the data set with all options filled in that depend on its files: size, classes, digest.

        Prepares the data first if necessary. Raises DataError if the files do not match the options.
        """

    @property
    def spec(self) -> DataSpec:
        """Description of one sample."""

    @property
    def suggestion(self) -> Suggestion:
        """Default settings for the data."""

    def count(self, split: Split) -> int | None:
        """Return the number of samples of a split; None if it is endless."""

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""


def without_balance(data: D) -> D:
    """Return the data set without the option `balance`: an epoch holds every sample once, as metrics need it."""
    if (images := getattr(data, "images", None)) is not None:  # of pairs that are made from them
        pairs: D = dataclasses.replace(data, images=without_balance(images))  # type: ignore[type-var]
        return pairs
    if not getattr(data, "balance", False):
        return data
    unbalanced: D = dataclasses.replace(data, balance=False)  # type: ignore[type-var]
    return unbalanced
