"""Adversarial losses: the functions that the discriminator and the generator minimise, and the total of a phase.

A loss is one entry of LOSSES: option types, the check of --loss, and the options in the docs are derived from that
table. To add a loss, write its two functions here and add an entry.

Every discriminator loss takes (real_logit, fake_logit, real_label, fake_label), every generator loss (fake_logit,
real_logit); arguments that a loss does not need are ignored. Logits are (B,), unbounded, of any float dtype; labels are
(B,) or scalars. Results are scalars in float32 or wider: the three significant digits of bfloat16 are too few for a
mean over a batch.

Notation: x are reals, G(z) fakes, D(.) the logit of the discriminator, sigma the logistic function.
-log sigma(d) = softplus(-d) and -log(1 - sigma(d)) = softplus(d), which neither overflow nor lose their gradient.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

Labels = tuple[float, float]
"""The lowest and the highest label of reals or of fakes; each sample's label is uniform between them."""


@dataclass(frozen=True, slots=True)
class AdversarialLoss:
    """The losses of both networks.

    `discriminator`: (real_logit, fake_logit, real_label, fake_label) -> scalar. `generator`: (fake_logit, real_logit)
    -> scalar. `has_labels`: whether the loss uses labels, so that label smoothing has an effect. `needs_real`: whether
    the generator loss reads real logits, as many as fake ones; if not, any tensor can be passed. `probability`: logit
    -> D(x) in [0, 1] if the optimal logit is the log-odds of a sample being real, None otherwise. `ideal`: (labels of
    reals, labels of fakes) -> loss of the optimal discriminator when fakes and reals have the same distribution (V* of
    Hazimeh 2023, section 3).
    """

    discriminator: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    has_labels: bool
    needs_real: bool
    probability: Callable[[Tensor], Tensor] | None
    ideal: Callable[[Labels, Labels], float]


class WeightedPenalty(NamedTuple):
    """One regulariser of a loss: its weight λ, a number or a tensor, and the value of its penalty R, a scalar."""

    weight: float | Tensor
    value: Tensor


def total_loss(adversarial: Tensor, penalties: Mapping[str, WeightedPenalty]) -> Tensor:
    """L = L_adv + Σᵢ λᵢ Rᵢ: what a network minimises, scalar. `penalties`: those that are on, by name."""
    return adversarial + sum(weight * penalty for weight, penalty in penalties.values())


def loss_terms(adversarial: Tensor, penalties: Mapping[str, WeightedPenalty]) -> dict[str, Tensor]:
    """Return the summands of :func:`total_loss` for display, detached; penalties without their weights."""
    return {"adversarial": adversarial.detach()} | {name: penalty.detach() for name, (_, penalty) in penalties.items()}


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged if it is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def cross_entropy(logit: Tensor, label: Tensor) -> Tensor:
    """Mean of -t log sigma(d) - (1 - t) log(1 - sigma(d)) over the batch, for labels t.

    Unbounded below for t outside [0, 1]: a label of 1.2 rewards ever larger logits.
    """
    d, t = at_least_float32(logit), label
    return (t * softplus(-d) + (1 - t) * softplus(d)).mean()


def cross_entropy_discriminator(
    real_logit: Tensor, fake_logit: Tensor, real_label: Tensor, fake_label: Tensor
) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): Goodfellow 2014, eq. 1, at labels 1 and 0; others as in Salimans 2016, 3.4."""
    return cross_entropy(real_logit, real_label) + cross_entropy(fake_logit, fake_label)


def logistic_discriminator(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): Goodfellow 2014, eq. 1, without labels."""
    return softplus(-real_logit).mean() + softplus(fake_logit).mean()


def minimax_generator(fake_logit: Tensor, real_logit: Tensor) -> Tensor:
    """E log(1 - D(G(z))): Goodfellow 2014, eq. 1 as written. Its gradient vanishes if D rejects fakes confidently."""
    return -softplus(at_least_float32(fake_logit)).mean()


def non_saturating_generator(fake_logit: Tensor, real_logit: Tensor) -> Tensor:
    """-E log D(G(z)): Goodfellow 2014, section 3, the last paragraph."""
    return softplus(-at_least_float32(fake_logit)).mean()


def cross_entropy_ideal(real: Labels, fake: Labels) -> float:
    """2 H(q), H the entropy of a Bernoulli variable, q the mean label: log 4 at labels 1 and 0.

    If fakes and reals have the same distribution, the optimal logit d is constant and minimises
    2 (q softplus(-d) + (1-q) softplus(d)).
    """
    q = (sum(real) + sum(fake)) / 4
    return 0.0 if q in (0, 1) else -2 * (q * math.log(q) + (1 - q) * math.log(1 - q))


def least_squares_discriminator(
    real_logit: Tensor, fake_logit: Tensor, real_label: Tensor, fake_label: Tensor
) -> Tensor:
    """1/2 E(D(x) - b)^2 + 1/2 E(D(G(z)) - a)^2: Mao 2017, eq. 2, with b = `real_label`, a = `fake_label`."""
    real, fake = at_least_float32(real_logit), at_least_float32(fake_logit)
    return (real - real_label).square().mean() / 2 + (fake - fake_label).square().mean() / 2


def least_squares_ideal(real: Labels, fake: Labels) -> float:
    """(b - a)^2 / 4 + var(b) / 2 + var(a) / 2, b and a the mean labels: 1/4 at labels 1, 0. The optimum is D = (a+b)/2.

    The variance of a uniform label in [low, high] is (high - low)^2 / 12.
    """
    spread = ((real[1] - real[0]) ** 2 + (fake[1] - fake[0]) ** 2) / 12
    return (sum(real) - sum(fake)) ** 2 / 16 + spread / 2


def least_squares_generator(fake_logit: Tensor, real_logit: Tensor) -> Tensor:
    """1/2 E(D(G(z)) - c)^2: Mao 2017, eq. 2, with c = 1."""
    return (at_least_float32(fake_logit) - 1).square().mean() / 2


def hinge_discriminator(real_logit: Tensor, fake_logit: Tensor, real_label: Tensor, fake_label: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))): Lim and Ye 2017; Miyato 2018, eq. 16."""
    return relu(1 - at_least_float32(real_logit)).mean() + relu(1 + at_least_float32(fake_logit)).mean()


def wasserstein_discriminator(real_logit: Tensor, fake_logit: Tensor, real_label: Tensor, fake_label: Tensor) -> Tensor:
    """E D(G(z)) - E D(x): Arjovsky 2017, eq. 3 negated; a constraint or penalty must keep the critic Lipschitz."""
    return at_least_float32(fake_logit).mean() - at_least_float32(real_logit).mean()


def linear_generator(fake_logit: Tensor, real_logit: Tensor) -> Tensor:
    """-E D(G(z)): Arjovsky 2017, algorithm 1, line 10; for the hinge, Miyato 2018, eq. 17."""
    return -at_least_float32(fake_logit).mean()


def relativistic_discriminator(
    real_logit: Tensor, fake_logit: Tensor, real_label: Tensor, fake_label: Tensor
) -> Tensor:
    """E softplus(-(D(x) - D(G(z)))) over pairs of a real and a fake: R3GAN, Huang 2024, eq. 2 with the logistic f."""
    return softplus(-(at_least_float32(real_logit) - at_least_float32(fake_logit))).mean()


def relativistic_generator(fake_logit: Tensor, real_logit: Tensor) -> Tensor:
    """E softplus(-(D(G(z)) - D(x))): the pair with the roles exchanged, as in Huang 2024."""
    return softplus(-(at_least_float32(fake_logit) - at_least_float32(real_logit))).mean()


LOSSES: Final[Mapping[str, AdversarialLoss]] = {
    "minimax": AdversarialLoss(
        cross_entropy_discriminator,
        minimax_generator,
        has_labels=True,
        needs_real=False,
        probability=torch.sigmoid,
        ideal=cross_entropy_ideal,
    ),
    "non_saturating": AdversarialLoss(
        cross_entropy_discriminator,
        non_saturating_generator,
        has_labels=True,
        needs_real=False,
        probability=torch.sigmoid,
        ideal=cross_entropy_ideal,
    ),
    "least_squares": AdversarialLoss(
        least_squares_discriminator,
        least_squares_generator,
        has_labels=True,
        needs_real=False,
        probability=None,
        ideal=least_squares_ideal,
    ),
    "hinge": AdversarialLoss(
        hinge_discriminator,
        linear_generator,
        has_labels=False,
        needs_real=False,
        probability=None,
        ideal=lambda real, fake: 2.0,  # any logit within [-1, 1]: (1 - d) + (1 + d)
    ),
    "wasserstein": AdversarialLoss(
        wasserstein_discriminator,
        linear_generator,
        has_labels=False,
        needs_real=False,
        probability=None,
        ideal=lambda real, fake: 0.0,
    ),
    "relativistic": AdversarialLoss(
        relativistic_discriminator,
        relativistic_generator,
        has_labels=False,
        needs_real=True,
        probability=None,
        ideal=lambda real, fake: math.log(2),  # softplus(0)
    ),
}

if TYPE_CHECKING:
    AdversarialLossName = str
else:  # Literal["minimax", "non_saturating", …], for validation and docs
    AdversarialLossName = Literal[tuple(LOSSES)]
