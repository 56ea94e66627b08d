"""What data sets give: batches, what one sample is, and what a data set must offer."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from torch import Tensor, device

from equipoise.core.tokens import SentenceDistribution, Vocabulary

Split = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class DataSpec:
    """What one sample of a data set is.

    `shape` is that of one sample without the batch: (channels, height, width) in [-1, 1], or (2,) for points.
    `classes` counts labels, 0 for none; `class_names` are their names, or empty. `flips` says that a mirror image is as
    real as the original. `source` is the shape of the inputs that samples are to be made of, where the data have them;
    `paired` names the splits in which each input belongs to its sample. `unit` is what -1 and 1 stand for in the data's
    own unit, where it has one. `vocabulary` gives tokens their words where samples are sentences, of shape (T,); `law`
    is the distribution that they were drawn from, where it is known.
    """

    shape: tuple[int, ...]
    classes: int = 0
    flips: bool = False
    class_names: tuple[str, ...] = ()
    source: tuple[int, ...] | None = None
    paired: tuple[Split, ...] = ()
    unit: tuple[float, float] | None = None
    vocabulary: Vocabulary | None = None
    distribution: SentenceDistribution | None = None

    @property
    def is_image(self) -> bool:
        """Whether samples are images: (channels, height, width)."""
        return len(self.shape) == 3

    @property
    def is_points(self) -> bool:
        """Whether samples are points: numbers in a row that are no tokens."""
        return len(self.shape) == 1 and self.vocabulary is None


@dataclass(frozen=True, slots=True)
class Batch:
    """`real`: (B, ...) float32. `condition`: (B,) int64 labels, or None."""

    real: Tensor
    condition: Tensor | None = None

    def to(self, target: device) -> Self:
        """The same batch on another device, without waiting for the copy."""
        condition = None if self.condition is None else self.condition.to(target, non_blocking=True)
        return type(self)(self.real.to(target, non_blocking=True), condition)

    def __len__(self) -> int:
        return len(self.real)


@dataclass(frozen=True, slots=True)
class UnpairedBatch(Batch):
    """A batch of two sets. `source`: (B, ...) float32, inputs that have nothing to do with `real` but their number."""

    source: Tensor = field(kw_only=True)

    def to(self, target: device) -> Self:
        """The same batch on another device, without waiting for the copy."""
        condition = None if self.condition is None else self.condition.to(target, non_blocking=True)
        real, source = (part.to(target, non_blocking=True) for part in (self.real, self.source))
        return type(self)(real, condition, source=source)


@dataclass(frozen=True, slots=True)
class PairedBatch(UnpairedBatch):
    """A batch of pairs: each of `source` is the input that belongs to its place in `real`."""


@dataclass(frozen=True, slots=True)
class TokenBatch(Batch):
    """A batch of sentences. `real`: (B, T) int64 tokens; `lengths`: (B,) int64, tokens before the end, T without one.

    Samples of a generator are float32 here as everywhere, in which tokens are exact.
    """

    lengths: Tensor = field(kw_only=True)

    def to(self, target: device) -> Self:
        """The same batch on another device, without waiting for the copy."""
        real, lengths = (part.to(target, non_blocking=True) for part in (self.real, self.lengths))
        return type(self)(real, self.condition, lengths=lengths)


class Stream(Protocol):
    """Endless batches by number. Pure: the same index gives the same batch, so a position is all there is to save."""

    def batch(self, index: int) -> Any:
        """Batch number `index` of the stream, on the CPU."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What suits a data set: a GAN, a length, a metric, as the command line takes them."""

    model: str
    steps: int
    batch_size: int
    metric: str | None = None
    controller: str = "fixed"


@dataclass(frozen=True, slots=True)
class Preparation:
    """How far a data set is with making itself ready: `done` of `total` pieces of a `task`.

    `note`: something that the user should know, such as that images were cropped, or that some could not be read.
    """

    task: str
    done: int
    total: int
    note: str | None = None


class NoPreparation:
    """To mix into a data set that is ready as it is: nothing to download, to decode or to look through."""

    __slots__ = ()

    def prepare(self) -> Iterator[Preparation]:
        """Nothing to do."""
        return iter(())

    def resolve(self) -> Self:
        """Its options say all there is to know."""
        return self


class DataSet(Protocol):
    """A data set: a frozen dataclass; its fields are its options."""

    def prepare(self) -> Iterator[Preparation]:
        """Do what takes long, once: download, decode. Tells how far it is; cheap when it was done before."""

    def resolve(self) -> Self:
        """The same data with all that was found in them written into the options: size, classes, range, digest.

        Prepares them first, if that was not done. Raises DataError if they are not those that the options tell of.
        """

    @property
    def spec(self) -> DataSpec:
        """What one sample is."""

    @property
    def suggestion(self) -> Suggestion:
        """What suits it."""

    def count(self, split: Split) -> int | None:
        """How many samples a split has; None if there is no end of them."""

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless shuffled batches of a split. Raises DataError if the split is smaller than a batch."""
