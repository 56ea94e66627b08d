"""Penalties that keep a discriminator smooth or modest, and the distance between mean features.

All are computed in float32 at least, with autocast off: a gradient of a gradient does not survive 16 bits. Each is a
scalar without its weight; the caller multiplies by a knob. Samples are (B, ...), logits (B,).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import relu

from equipoise.core.model import Memory
from equipoise.losses.adversarial import at_least_float32

Judge = Callable[[Tensor], Tensor]


def input_gradient(discriminator: Judge, samples: Tensor) -> Tensor:
    """dD(x)/dx at each sample, flattened: (B, ...) -> (B, N), with its own graph. Nothing flows back into `samples`.

    One backward pass serves the whole batch, since sample i moves logit i only. Where batch statistics couple them
    (batch normalisation in training mode) it is the gradient of the batch's summed logit.
    """
    with torch.autocast(samples.device.type, enabled=False):
        x = at_least_float32(samples.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.flatten(1)


def zero_centred(discriminator: Judge, samples: Tensor) -> Tensor:
    """E |dD(x)/dx|^2 / 2: Mescheder 2018, eq. 9 without its gamma. R1 at reals, R2 (eq. 10) at fakes.

    The half is in here: gamma = 10 in the paper is a weight of 10 on this.
    """
    return input_gradient(discriminator, samples).square().sum(1).mean() / 2


def gradient_penalty(discriminator: Judge, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
    """E (|dD(x^)/dx^|_2 - 1)^2, x^ = e x + (1 - e) G(z), e ~ U(0, 1) per pair: Gulrajani 2017, eq. 3.

    `real` and `fake`: (B, ...) alike; `generator` on their device. Where the gradient is 0 the norm has no
    derivative; 0 is taken for it, so that a discriminator whose last layer starts at zero stays finite.
    """
    real, fake = at_least_float32(real.detach()), at_least_float32(fake.detach())
    shape = (len(real),) + (1,) * (real.dim() - 1)
    e = torch.rand(shape, generator=generator, device=real.device, dtype=real.dtype)
    gradient = input_gradient(discriminator, e * real + (1 - e) * fake)
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (norm - 1).square().mean()


class LeCam(NamedTuple):
    """`penalty`: scalar. `memory`: the running means after this batch, to be handed in with the next."""

    penalty: Tensor
    memory: Memory


def lecam_memory(device: torch.device) -> Memory:
    """Before the first batch, scalars in float32.

    `lecam_real`, `lecam_fake`: the running means of the logits. `lecam_mass`: how much of the endless past their
    weights cover, in [0, 1); 0 says that they hold nothing yet.
    """
    return {name: torch.zeros((), device=device) for name in ("lecam_real", "lecam_fake", "lecam_mass")}


def lecam(real_logit: Tensor, fake_logit: Tensor, memory: Mapping[str, Tensor], decay: float = 0.99) -> LeCam:
    """E relu(D(x) - a_F)^2 + E relu(a_R - D(G(z)))^2, a_R and a_F running means of the logits: Tseng 2021.

    Draws reals down to the fakes' mean and fakes up to the reals'. The paper has no relu; the authors' released
    code does, and so have we: a real already below the fakes' mean is left alone.

    The means are weighted averages of all batches so far, this one included: mass' = decay mass + (1 - decay) and
    a' = a + (1 - decay) / mass' (batch mean - a). That is a moving average from 0 with Adam's bias correction, and
    holds if `decay` is turned. So the first step compares with its own batch; without the correction it would draw
    all logits to 0 for some 1 / (1 - decay) steps.
    """
    real, fake = at_least_float32(real_logit), at_least_float32(fake_logit)
    mass = decay * memory["lecam_mass"] + (1 - decay)
    share = (1 - decay) / mass
    mean_real = torch.lerp(memory["lecam_real"], real.detach().mean().float(), share)
    mean_fake = torch.lerp(memory["lecam_fake"], fake.detach().mean().float(), share)
    penalty = relu(real - mean_fake).square().mean() + relu(mean_real - fake).square().mean()
    return LeCam(penalty, {"lecam_real": mean_real, "lecam_fake": mean_fake, "lecam_mass": mass})


def feature_matching(real_features: Tensor | Sequence[Tensor], fake_features: Tensor | Sequence[Tensor]) -> Tensor:
    """|E f(x) - E f(G(z))|_2^2: Salimans 2016, section 3.1, divided by the number of features.

    Features are (B, ...), flattened to (B, N); the mean over N, not the paper's sum, lets one weight suit networks
    of any width. Several layers count alike: the mean over the sequence. Reals are targets; no gradient flows there.
    """
    reals = [real_features] if isinstance(real_features, Tensor) else real_features
    fakes = [fake_features] if isinstance(fake_features, Tensor) else fake_features
    return torch.stack([_distance(real, fake) for real, fake in zip(reals, fakes, strict=True)]).mean()


def _distance(real: Tensor, fake: Tensor) -> Tensor:
    """Mean over features of the squared difference of their batch means. The batches may differ in size."""
    return (at_least_float32(real.detach()).mean(0) - at_least_float32(fake).mean(0)).square().mean()
