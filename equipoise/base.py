"""The nouns of a training step that hold tensors.

stream ─▶ phases ──▶ step ──▶ (signals, health, controller: see observations.py)
Batch     Loss       StepRecord
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from torch import Generator, Tensor, device, nn

from equipoise.knobs import Knobs
from equipoise.tokens import Law, Vocabulary

K = TypeVar("K", bound=Knobs)
K_co = TypeVar("K_co", bound=Knobs, covariant=True)

Networks = Mapping[str, nn.Module]
Memory = Mapping[str, Tensor]
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
    law: Law | None = None

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

    gan: str
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


class AtHand:
    """To mix into a data set that is ready as it is: nothing to download, to decode or to look through."""

    __slots__ = ()

    def prepare(self) -> Iterator[Preparation]:
        """Nothing to do."""
        return iter(())

    def settled(self) -> Self:
        """Its options say all there is to know."""
        return self


class DataSet(Protocol):
    """A data set: a frozen dataclass; its fields are its options."""

    def prepare(self) -> Iterator[Preparation]:
        """Do what takes long, once: download, decode. Tells how far it is; cheap when it was done before."""

    def settled(self) -> Self:
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


@dataclass(frozen=True, slots=True)
class Moment(Generic[K_co]):
    """When a phase is run and what it may use.

    `generator` is the only source of randomness. `memory` holds buffers that outlive the step (running means, image
    pools), `carried` the tensors, with their graph, that an earlier phase of this step left.
    """

    step: int
    images: int
    progress: float
    knobs: K_co
    generator: Generator
    memory: Memory = field(default_factory=dict)
    carried: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loss:
    """What a phase gives back.

    `total`: scalar to minimise. `terms`: scalars for display. `logit_real`, `logit_fake`: (B,) what the
    discriminator said, or None. `memory`: new values of buffers. `carry`: tensors for later phases of this step.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None
    memory: Memory = field(default_factory=dict)
    carry: Mapping[str, Tensor] = field(default_factory=dict)


def always(moment: Moment[Any]) -> bool:
    """Every step."""
    return True


def once(moment: Moment[Any]) -> int:
    """One update a step."""
    return 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of update: which networks it moves, by which loss, when, and how often in a step.

    Steps per player, lazy penalties, pre-training and simultaneous updates are values of these fields.
    """

    name: str
    updates: tuple[str, ...]
    loss: Callable[[Networks, Any, Moment[Any]], Loss]
    when: Callable[[Moment[Any]], bool] = always
    repeats: Callable[[Moment[Any]], int] = once


@dataclass(frozen=True, slots=True)
class Settings:
    """How one network is updated at one moment. `limit` projects every weight into [-limit, limit] after the update.

    `longest`: a longer gradient is scaled down to this Euclidean norm (Pascanu 2013, algorithm 1).
    """

    kind: Literal["adam", "rmsprop", "sgd"]
    lr: float
    beta1: float = 0.0
    beta2: float = 0.999
    eps: float = 1e-8
    limit: float | None = None
    longest: float | None = None


@dataclass(frozen=True, slots=True)
class Gan(Generic[K]):
    """A game, built: its players, what they do in a step, and what may be turned.

    `knobs` are the published defaults, `turnable` the names of those that act. `averaged` names the networks of which
    a running average is kept; samples come from it. `mixed_precision` is False where low precision would spoil the
    samples. `probability` turns logits into D(x) where the loss makes them log-odds. `ideal`: knobs -> what the
    discriminator's adversarial loss comes to where fakes are as reals are. `vocabulary`: the words of samples that are
    tokens. `log_likelihood`: (N,) nats that the networks give to samples (N, ...), where that can be had. `begins`: the
    step from which on the players play against each other; before it they learn in other ways.

    What samples are made of besides a latent, the third argument of `generate`, is a label each where `conditions`
    counts classes, an input each where `source` is the shape of one, and else None. `back`: from samples to inputs,
    where a game learns that too.
    """

    name: str
    networks: Networks
    phases: Sequence[Phase]
    knobs: K
    turnable: frozenset[str]
    optimizer: Callable[[str, Moment[K]], Settings]
    latent: Callable[[int, Generator, float | None], Tensor]
    generate: Callable[[Networks, Tensor, Tensor | None], Tensor]
    logits: Callable[[Networks, Any, Moment[K]], Tensor]
    memory: Memory = field(default_factory=dict)
    averaged: tuple[str, ...] = ("generator",)
    conditions: int = 0
    source: tuple[int, ...] | None = None
    back: Callable[[Networks, Tensor], Tensor] | None = None
    mixed_precision: bool = True
    probability: Callable[[Tensor], Tensor] | None = None
    ideal: Callable[[K], float] | None = None
    vocabulary: Vocabulary | None = None
    log_likelihood: Callable[[Networks, Tensor], Tensor] | None = None
    begins: int = 0


class Recipe(Protocol):
    """What to build: a frozen dataclass whose fields are the options of a GAN."""

    def build(self, spec: DataSpec, generator: Generator) -> Gan[Any]:
        """The GAN for data of this kind, weights drawn from `generator`. Raises SettingError if it does not suit."""


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """What the last repeat of one phase did in a step: tensors on the device, all optional.

    `total` and `terms`: scalars. `gradient_norms` and `update_ratios` (|change| / |weights|): scalars by network.
    `logit_real`, `logit_fake`: (B,) what the discriminator said.
    """

    total: Tensor | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    gradient_norms: Mapping[str, Tensor] = field(default_factory=dict)
    update_ratios: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step did: made by the training step, or by a loop of one's own.

    `probe_train`, `probe_held_out`: logits of the discriminator, after the step, on reals that it trains on and on
    reals that it does not. `non_finite`: a 0-dim bool, whether a loss, a gradient or a logit was not finite. `real`,
    `fake`, `held_out`: (N, ...) samples of the same shape, to be compared now and then.
    """

    step: int
    images: int
    phases: Mapping[str, PhaseRecord] = field(default_factory=dict)
    probe_train: Tensor | None = None
    probe_held_out: Tensor | None = None
    non_finite: Tensor | None = None
    real: Tensor | None = None
    fake: Tensor | None = None
    held_out: Tensor | None = None
