"""Penalties on a discriminator's gradient and logits, and feature matching.

All are computed in float32 or wider, with autocast off: second derivatives are inaccurate in 16 bits. Each returns a
scalar without its weight; the caller multiplies by a knob. Samples are (B, ...), logits (B,).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import relu

from equipoise.core.model import Memory
from equipoise.core.world import batch_world
from equipoise.losses.adversarial import at_least_float32

LogitFunction = Callable[[Tensor], Tensor]
"""A discriminator with its condition fixed: samples (B, ...) -> logits (B,)."""


def input_gradient(discriminator: LogitFunction, samples: Tensor) -> Tensor:
    """Compute dD(x)/dx at each sample: (B, ...) -> (B, ...), differentiable. No gradient reaches `samples`.

    One backward pass serves the whole batch, since logit i depends on sample i only. If batch normalisation in
    training mode couples the samples, the result is the gradient of the batch's summed logit.
    """
    with torch.autocast(samples.device.type, enabled=False):
        x = at_least_float32(samples.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient


def half_squared_norm(gradient: Tensor) -> Tensor:
    """Compute E |dD(x)/dx|^2 / 2 from input gradients (B, ...): the value of R1 and R2."""
    return gradient.flatten(1).square().sum(1).mean() / 2


def r1_penalty(discriminator: LogitFunction, real: Tensor) -> Tensor:
    """Compute R1, E |dD(x)/dx|^2 / 2 at reals (B, ...): Mescheder 2018, eq. 9.

    The factor 1/2 of the paper is included, its gamma is not: gamma = 10 is a weight of 10 on this penalty.
    """
    return half_squared_norm(input_gradient(discriminator, real))


def r2_penalty(discriminator: LogitFunction, fake: Tensor) -> Tensor:
    """Compute R2, the same expression at fakes (B, ...): Mescheder 2018, eq. 10."""
    return half_squared_norm(input_gradient(discriminator, fake))


def gradient_penalty(discriminator: LogitFunction, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
    """E (|dD(x^)/dx^|_2 - 1)^2, x^ = e x + (1 - e) G(z), e ~ U(0, 1) per pair: Gulrajani 2017, eq. 3.

    `real` and `fake`: (B, ...), of the same shape; `generator` on their device. If the gradient is 0, the norm is not
    differentiable and its derivative is taken as 0, so that a last layer initialised with zeros causes no NaN.
    """
    real, fake = at_least_float32(real.detach()), at_least_float32(fake.detach())
    shape = (len(real),) + (1,) * (real.dim() - 1)
    e = torch.rand(shape, generator=generator, device=real.device, dtype=real.dtype)
    gradient = input_gradient(discriminator, e * real + (1 - e) * fake).flatten(1)
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return (norm - 1).square().mean()


class LeCam(NamedTuple):
    """Result of :func:`lecam`. `penalty`: scalar. `memory`: running means after this batch, input of the next call."""

    penalty: Tensor
    memory: Memory


def lecam_memory(device: torch.device) -> Memory:
    """Return the initial buffers of :func:`lecam`: float32 zeros.

    `lecam_real`, `lecam_fake`: running means of the logits. `lecam_mass`: total weight of the batches in these means,
    in [0, 1); 0 before the first batch.
    """
    return {name: torch.zeros((), device=device) for name in ("lecam_real", "lecam_fake", "lecam_mass")}


def lecam(real_logit: Tensor, fake_logit: Tensor, memory: Mapping[str, Tensor], decay: float = 0.99) -> LeCam:
    """E relu(D(x) - a_F)^2 + E relu(a_R - D(G(z)))^2, a_R and a_F running means of the logits: Tseng 2021.

    Pulls logits of reals down to the mean of the fakes, and logits of fakes up to that of the reals. The relu is not in
    the paper but in the authors' code: a real whose logit is below the mean of the fakes is not penalised.

    The means are weighted averages of all batches so far, this one included: mass' = decay mass + (1 - decay) and
    a' = a + (1 - decay) / mass' (batch mean - a). This is an exponential moving average with Adam's bias correction; it
    remains valid if `decay` changes. The first step therefore compares with its own batch; without the correction all
    logits would be pulled to 0 for about 1 / (1 - decay) steps.
    """
    real, fake = at_least_float32(real_logit), at_least_float32(fake_logit)
    mass = decay * memory["lecam_mass"] + (1 - decay)
    share = (1 - decay) / mass
    batch_means = batch_world().mean(torch.stack([real.detach().mean().float(), fake.detach().mean().float()]))
    mean_real = torch.lerp(memory["lecam_real"], batch_means[0], share)
    mean_fake = torch.lerp(memory["lecam_fake"], batch_means[1], share)
    penalty = relu(real - mean_fake).square().mean() + relu(mean_real - fake).square().mean()
    return LeCam(penalty, {"lecam_real": mean_real, "lecam_fake": mean_fake, "lecam_mass": mass})


def feature_matching(real_features: Tensor | Sequence[Tensor], fake_features: Tensor | Sequence[Tensor]) -> Tensor:
    """|E f(x) - E f(G(z))|_2^2: Salimans 2016, section 3.1, divided by the number of features.

    Features are (B, ...). The mean over features instead of the paper's sum makes the weight independent of the width
    of the network. Several layers are averaged with equal weights. No gradient reaches the real features.
    """
    reals = [real_features] if isinstance(real_features, Tensor) else real_features
    fakes = [fake_features] if isinstance(fake_features, Tensor) else fake_features
    return torch.stack([_distance(real, fake) for real, fake in zip(reals, fakes, strict=True)]).mean()


def _distance(real: Tensor, fake: Tensor) -> Tensor:
    """Compute the mean squared difference of the batch means. The batches may differ in size."""
    difference = at_least_float32(real.detach()).mean(0) - at_least_float32(fake).mean(0)
    return batch_world().mean(difference).square().mean()
