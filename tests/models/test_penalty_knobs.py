"""Knobs of penalties and feature matching: weights, gradients, and lazy regularisation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.nn import latents


def gradients(total: Tensor, trainer: Any) -> list[Tensor]:
    weights = list(trainer.model.networks["discriminator"].parameters())
    return list(torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True))


def squared_gradient(trainer: Any, samples: Tensor) -> Tensor:
    """Compute E |dD/dx|^2 image by image."""
    discriminator = trainer.model.networks["discriminator"]
    norms = []
    for one in samples.detach():
        x = one[None].requires_grad_()
        (g,) = torch.autograd.grad(discriminator.logits(discriminator.features(x), None).sum(), x, create_graph=True)
        norms.append(g.square().sum())
    return torch.stack(norms).mean()


@pytest.mark.parametrize(("knob", "term", "place"), [("r1_gamma", "r1", 0), ("r2_gamma", "r2", 1)])
def test_r1_and_r2_add_half_gamma_times_the_squared_gradient(plain, knob: str, term: str, place: int) -> None:
    """R1 at reals, R2 at fakes; the gradient of the weights increases accordingly."""
    inputs = plain.record_inputs()
    without = plain.loss("discriminator")
    samples = torch.cat(inputs).chunk(2)[place]
    result = plain.loss("discriminator", **{knob: 10.0})
    square = squared_gradient(plain, samples)
    torch.testing.assert_close(result.terms[term], square.detach() / 2)
    torch.testing.assert_close(result.total, without.total + 10 / 2 * square)
    extra = gradients(10 / 2 * square, plain)
    for gradient, base, penalty in zip(
        gradients(result.total, plain), gradients(without.total, plain), extra, strict=True
    ):
        torch.testing.assert_close(gradient, base + penalty, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("knob", ["r1_gamma", "r2_gamma"])
def test_lazy_penalty_is_weighted_by_the_interval(create_plain, knob: str) -> None:
    """In a separate phase every fourth step, with four times the weight."""
    trainer = create_plain(penalty_interval=4)
    term = knob.removesuffix("_gamma")
    assert term not in trainer.loss("discriminator", **{knob: 2.0}).terms
    result = trainer.loss("penalties", **{knob: 2.0})
    torch.testing.assert_close(result.total.detach(), 4 * 2.0 * result.terms[term])
    ran = [set(trainer.step(**{knob: 2.0}).phases) for _ in range(6)]
    assert ["penalties" in phases for phases in ran] == [True, False, False, False, True, False]


def test_lazy_penalty_adjusts_adam(create_plain) -> None:
    """Karras 2020, appendix B: c = k / (k + 1), lr' = c lr, beta' = beta^c; only while a penalty is on."""
    trainer = create_plain(penalty_interval=4)
    trainer.step(r1_gamma=1.0, lr_d=1e-3, beta1=0.5, beta2=0.99)
    group = trainer.state.optimizers["discriminator"].param_groups[0]
    assert group["lr"] == pytest.approx(0.8e-3)
    assert group["betas"] == pytest.approx((0.5**0.8, 0.99**0.8))
    trainer.step(lr_d=1e-3, beta1=0.5, beta2=0.99)
    assert group["lr"] == 1e-3
    assert group["betas"] == (0.5, 0.99)


def test_gp_weight_is_the_weight_of_the_gradient_penalty(penalised) -> None:
    """Gulrajani 2017, eq. 3, with the same random numbers."""
    source, batch = penalised.random_numbers(), penalised.reals.batch(0)
    latent = latents.normal(len(batch), 6, source)
    fake = penalised.model.networks["generator"](latent, None)
    e = torch.rand(len(batch), 1, 1, 1, generator=source)
    between = (e * batch.real + (1 - e) * fake).detach()
    discriminator = penalised.model.networks["discriminator"]
    penalty = 0.0
    for one in between:
        x = one[None].requires_grad_()
        (g,) = torch.autograd.grad(discriminator.logits(discriminator.features(x), None).sum(), x)
        penalty += (g.norm() - 1) ** 2 / len(batch)
    result = penalised.loss("discriminator", batch, gp_weight=5.0)
    without = penalised.loss("discriminator", batch)
    torch.testing.assert_close(result.terms["gradient_penalty"], penalty, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((result.total - without.total).detach(), 5 * penalty, rtol=1e-4, atol=1e-4)


def test_gp_weight_is_turnable_only_with_gradient_penalty(create_plain) -> None:
    assert create_plain(knobs=None, constraint="gradient_penalty").model.knobs.gp_weight == 10
    assert "gp_weight" not in create_plain().model.turnable


def test_lecam_weight_is_the_weight_of_the_lecam_penalty(plain) -> None:
    """In the first step the running means are those of the batch."""
    result, without = plain.loss("discriminator", lecam_weight=0.5), plain.loss("discriminator")
    real, fake = result.logit_real, result.logit_fake
    penalty = (real - fake.mean()).relu().square().mean() + (real.mean() - fake).relu().square().mean()
    torch.testing.assert_close(result.terms["lecam"], penalty)
    torch.testing.assert_close((result.total - without.total).detach(), 0.5 * penalty, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(result.memory["lecam_fake"], fake.mean())
    assert without.memory == {}


def test_lecam_means_are_updated_every_step(plain) -> None:
    for _ in range(3):
        plain.step(lecam_weight=0.5)
    assert plain.state.memory["lecam_mass"].item() == pytest.approx(1 - 0.99**3)


def test_feature_matching_weight_is_the_weight_of_feature_matching(plain) -> None:
    """Salimans 2016, section 3.1, of the features of the last layer."""
    batch, discriminator = plain.reals.batch(0), plain.model.networks["discriminator"]
    latent = latents.normal(len(batch), 6, plain.random_numbers())
    fake = plain.model.networks["generator"](latent, None)
    distance = discriminator.features(batch.real).mean(0) - discriminator.features(fake).mean(0)
    penalty = distance.square().mean()
    result = plain.loss("generator", batch, feature_matching_weight=3.0)
    torch.testing.assert_close(result.terms["feature_matching"], penalty.detach())
    torch.testing.assert_close(result.total, result.terms["adversarial"] + 3 * penalty)
    assert "feature_matching" not in plain.loss("discriminator", batch, feature_matching_weight=3.0).terms


def test_penalties_of_weight_0_are_skipped(plain) -> None:
    """The discriminator processes two batches in its own phase and one in that of the generator."""
    inputs = plain.record_inputs()
    record = plain.step()
    assert set(record.phases) == {"discriminator", "generator"}
    assert all(set(phase.terms) == {"adversarial"} for phase in record.phases.values())
    assert len(torch.cat(inputs)) == 3 * 8


@pytest.mark.parametrize(
    ("knob", "phase", "term"),
    [
        ("r1_gamma", "discriminator", "r1"),
        ("r2_gamma", "discriminator", "r2"),
        ("gp_weight", "discriminator", "gradient_penalty"),
        ("lecam_weight", "discriminator", "lecam"),
        ("feature_matching_weight", "generator", "feature_matching"),
    ],
)
def test_penalty_of_weight_0_has_no_term(penalised, knob: str, phase: str, term: str) -> None:
    assert term not in penalised.loss(phase).terms
    assert term in penalised.loss(phase, **{knob: 1.0}).terms
