"""A model as data: networks, phases with their losses, knobs, and how to sample.

stream ─▶ phases ──▶ step ──▶ (signals, health, controller: see observations.py)
Batch     Loss       StepRecord
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from torch import Generator, Tensor, nn

from equipoise.core.captions import Captions
from equipoise.core.data import DataSpec
from equipoise.core.knobs import Knobs
from equipoise.core.sampling import DEFAULT_SAMPLING, SamplerName, Sampling
from equipoise.core.tokens import Vocabulary

K = TypeVar("K", bound=Knobs)
K_co = TypeVar("K_co", bound=Knobs, covariant=True)

Networks = Mapping[str, nn.Module]
Memory = Mapping[str, Tensor]
"""Buffers that outlive a step, by name: running means, image pools."""


@dataclass(frozen=True, slots=True)
class Moment(Generic[K_co]):
    """The moment at which a phase runs, and the inputs available to it.

    `progress`: share of the planned steps, 0 to 1. `generator`: the only source of randomness. `memory`: buffers that
    outlive the step. `carried`: tensors of an earlier phase of this step, with their graph.
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
    """Result of a phase.

    `total`: scalar to minimise. `terms`: scalars for display. `logit_real`, `logit_fake`: (B,) outputs of the
    discriminator, or None. `memory`: new values of buffers. `carry`: tensors for later phases of this step.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None
    memory: Memory = field(default_factory=dict)
    carry: Mapping[str, Tensor] = field(default_factory=dict)


AnyMoment: TypeAlias = Moment[Any]
"""A moment with the knobs of any model."""

AnyBatch: TypeAlias = Any
"""A batch of any kind: a :class:`~equipoise.core.data.Batch`, or a batch of a custom data set."""


def always(moment: AnyMoment) -> bool:
    """Return True: the phase runs in every step."""
    return True


def once(moment: AnyMoment) -> int:
    """Return 1: the phase makes one update per step."""
    return 1


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of update: the networks it updates, its loss, in which steps it runs, and how often in a step.

    Steps per network, lazy penalties, pre-training and simultaneous updates are values of these fields. With several
    processes all must take the same updates: `when`, `repeats` and the names of the terms of a loss may depend on the
    step, the images and the knobs, but not on `moment.generator`, on buffers that only one process has, or on samples.
    """

    name: str
    updates: tuple[str, ...]
    loss: Callable[[Networks, AnyBatch, AnyMoment], Loss]
    when: Callable[[AnyMoment], bool] = always
    repeats: Callable[[AnyMoment], int] = once


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """Settings of the optimizer of one network at one moment.

    `weight_limit`: every weight is clamped to [-weight_limit, weight_limit] after the update (Arjovsky et al. 2017).
    `max_grad_norm`: the gradient is clipped to this Euclidean norm (Pascanu et al. 2013, algorithm 1).
    """

    kind: Literal["adam", "rmsprop", "sgd"]
    lr: float
    beta1: float = 0.0
    beta2: float = 0.999
    eps: float = 1e-8
    weight_limit: float | None = None
    max_grad_norm: float | None = None


@dataclass(frozen=True, slots=True)
class StyleSpace:
    """The space W+ of a generator with a mapping network: a style per layer (Karras 2019, section 2).

    `map(networks, latent, condition, sampling)`: styles (N, L, D). `synthesize(networks, styles, sampling)`: samples,
    not limited to their range. `mean(networks)`: mean style (D,).
    """

    map: Callable[[Networks, Tensor, Tensor | None, Sampling], Tensor]
    synthesize: Callable[[Networks, Tensor, Sampling], Tensor]
    mean: Callable[[Networks], Tensor]


@dataclass(frozen=True, slots=True)
class DenoisingProcess:
    """How a diffusion model samples, from noise of N(0, 1) times the first noise level.

    `denoise(networks, noisy, sigma, condition)`: estimates of clean samples (N, ...) from noisy ones of noise levels
    (N,); labels are -1 for none. `sampler(sampling)`: name of the sampler. `levels(sampling)`: its descending noise
    levels, and 0.
    """

    denoise: Callable[[Networks, Tensor, Tensor, Tensor | None], Tensor]
    sampler: Callable[[Sampling], SamplerName]
    levels: Callable[[Sampling], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Model(Generic[K]):
    """A model, ready to train and to sample. Optional parts that a model does not have are None.

    Training:

    - `phases`: the updates of a step, in this order.
    - `knobs`: published values; `turnable`: names of those that have an effect.
    - `optimizer(network, moment)`: settings of the optimizer of a network.
    - `memory`: initial buffers.
    - `averaged`: networks with a running average, which samples are generated from.
    - `mixed_precision`: False if low precision would harm the samples.
    - `adversarial_start`: first step of adversarial training, after pre-training.
    - `measured_at`: shares of a run, ascending, at which a step is timed to plan the run; its cost is the mean. More
      than one for networks that grow.

    Networks of other runs:

    - `inherits`: networks, or parts of them such as "discriminator.denoiser", by the network of the run to start from,
      whose averaged weights they start with. A model with any is not trained without such a run.
    - `frozen`: networks that no phase updates, by digest of their weights; they are in evaluation mode and not in
      checkpoints.

    Observation:

    - `logits(networks, batch, moment)`: logits of the discriminator for real samples, or None while it is switched off
      by knobs.
    - `probability`: maps logits to D(x), if they are log-odds.
    - `ideal(knobs)`: the discriminator's adversarial loss for fakes that are distributed like the reals.
    - `preview_sampling`: how to sample during training, where samples must be cheap.

    Samples:

    - `latent(count, generator, truncation)`: latents (count, ...).
    - `generate(networks, latent, condition, sampling)`: samples (N, ...). `condition`: labels (N,) int64 if
      `num_classes` is above 0, captions (N, T) int64 if `captions` says how they are written, inputs (N, ...) if
      `source` is a shape, else None. `samplings`: the fields of `sampling` that act.
    - `source`: shape of an input of an image-to-image model. `multiple`: inputs whose height and width are other
      multiples of this give samples of their size; None: `source` is the only size. `scale`: sides of samples divided
      by those of inputs. `reverse(networks, samples)`: inputs from samples, if the model learns that direction too.
    - `vocabulary`: the words of text. `log_likelihood(networks, samples)`: (N,) in nats.
    - `denoising`: how a diffusion model samples.
    - `styles`: the space W+ of the generator.
    - `generate_transformed(networks, latent, condition, matrix)`: samples (N, ...), not limited to their range, of
      scenes that a matrix (3, 3) moves or rotates; see :mod:`equipoise.core.equivariance`.
    """

    name: str
    networks: Networks
    phases: Sequence[Phase]
    knobs: K
    turnable: frozenset[str]
    optimizer: Callable[[str, Moment[K]], OptimizerSettings]
    latent: Callable[[int, Generator, float | None], Tensor]
    generate: Callable[[Networks, Tensor, Tensor | None, Sampling], Tensor]
    logits: Callable[[Networks, AnyBatch, Moment[K]], Tensor | None] | None
    memory: Memory = field(default_factory=dict)
    averaged: tuple[str, ...] = ("generator",)
    num_classes: int = 0
    captions: Captions | None = None
    source: tuple[int, ...] | None = None
    multiple: int | None = None
    scale: int = 1
    reverse: Callable[[Networks, Tensor], Tensor] | None = None
    mixed_precision: bool = True
    probability: Callable[[Tensor], Tensor] | None = None
    ideal: Callable[[K], float] | None = None
    vocabulary: Vocabulary | None = None
    log_likelihood: Callable[[Networks, Tensor], Tensor] | None = None
    adversarial_start: int = 0
    samplings: frozenset[str] = frozenset({"truncation"})
    preview_sampling: Sampling = DEFAULT_SAMPLING
    denoising: DenoisingProcess | None = None
    styles: StyleSpace | None = None
    frozen: Mapping[str, str] = field(default_factory=dict)
    inherits: Mapping[str, str] = field(default_factory=dict)
    measured_at: tuple[float, ...] = (0.0,)
    generate_transformed: Callable[[Networks, Tensor, Tensor | None, Tensor], Tensor] | None = None


class Recipe(Protocol):
    """A builder of a model: a frozen dataclass whose fields are the options of the model."""

    def build(self, spec: DataSpec, generator: Generator) -> Model[Any]:
        """Build the model for data of this kind; initial weights are drawn from `generator`.

        Raises SettingError if the data does not suit the model.
        """


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """Results of the last repeat of a phase in one step: tensors on the device, all optional.

    `total` and `terms`: scalars. `gradient_norms` and `update_ratios` (|change| / |weights|): scalars by network.
    `logit_real`, `logit_fake`: (B,) outputs of the discriminator.
    """

    total: Tensor | None = None
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    gradient_norms: Mapping[str, Tensor] = field(default_factory=dict)
    update_ratios: Mapping[str, Tensor] = field(default_factory=dict)
    logit_real: Tensor | None = None
    logit_fake: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Results of one step, from the training step or from a custom training loop.

    `probe_train`, `probe_held_out`: logits of the discriminator, after the step, for training and for held-out data.
    `non_finite`: a 0-dim bool, whether a loss, gradient or logit was not finite. `real`, `fake`, `held_out`:
    (N, ...) samples of the same shape, to be compared with each other.
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
