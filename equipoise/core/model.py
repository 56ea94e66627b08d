"""A model as data: networks, phases with their losses, knobs, and how to sample.

stream ─▶ phases ──▶ step ──▶ (signals, health, controller: see observations.py)
Batch     Loss       StepRecord
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import Knobs
from equipoise.core.tokens import Vocabulary

K = TypeVar("K", bound=Knobs)
K_co = TypeVar("K_co", bound=Knobs, covariant=True)

Networks = Mapping[str, nn.Module]
Memory = Mapping[str, Tensor]


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
class OptimizerSettings:
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
class Model(Generic[K]):
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
    optimizer: Callable[[str, Moment[K]], OptimizerSettings]
    latent: Callable[[int, Generator, float | None], Tensor]
    generate: Callable[[Networks, Tensor, Tensor | None], Tensor]
    logits: Callable[[Networks, Any, Moment[K]], Tensor]
    memory: Memory = field(default_factory=dict)
    averaged: tuple[str, ...] = ("generator",)
    num_classes: int = 0
    source: tuple[int, ...] | None = None
    back: Callable[[Networks, Tensor], Tensor] | None = None
    mixed_precision: bool = True
    probability: Callable[[Tensor], Tensor] | None = None
    ideal: Callable[[K], float] | None = None
    vocabulary: Vocabulary | None = None
    log_likelihood: Callable[[Networks, Tensor], Tensor] | None = None
    adversarial_start: int = 0


class Recipe(Protocol):
    """What to build: a frozen dataclass whose fields are the options of a GAN."""

    def build(self, spec: DataSpec, generator: Generator) -> Model[Any]:
        """The GAN for data of this kind, weights drawn from `generator`. Raises SettingError if it does not suit."""
