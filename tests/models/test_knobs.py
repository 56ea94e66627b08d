"""Every knob has the documented effect, in small models on 16 x 16 images."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from equipoise.core.knobs import AdversarialKnobs
from equipoise.losses import adversarial
from equipoise.losses.adversarial import LOSSES
from equipoise.nn import latents
from equipoise.training.weights import RAMP

PLAIN: dict[str, Any] = {"knobs": {}, "penalty_interval": 1, "conditional": False, "fakes": "fresh"}
CHANGED = {
    "lr_g": 1e-3,
    "lr_d": 1e-3,
    "beta1": 0.9,
    "beta2": 0.9,
    "discriminator_steps": 2,
    "generator_steps": 2,
    "ema_half_life": 1.0,
    "real_label_low": 0.8,
    "real_label_high": 1.2,
    "fake_label_low": 0.1,
    "fake_label_high": 0.3,
    "instance_noise": 0.5,
    "augment_p": 0.5,
    "r1_gamma": 1.0,
    "r2_gamma": 1.0,
    "gp_weight": 1.0,
    "lecam_weight": 0.5,
    "feature_matching_weight": 1.0,
}
COMPANIONS = {"real_label_low": {"real_label_high": 1.0}, "fake_label_low": {"fake_label_high": 0.3}}


@pytest.fixture
def plain(create_trainer):
    """A model without penalties."""
    return create_trainer(**PLAIN)


@pytest.fixture
def penalised(create_trainer):
    """A model with a gradient penalty of weight 0."""
    return create_trainer(**PLAIN | {"constraint": "gradient_penalty", "knobs": {"gp_weight": 0.0}})


def largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    return max((b - a).abs().max().item() for a, b in zip(before, after, strict=True))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradients(total: Tensor, trainer: Any) -> list[Tensor]:
    weights = list(trainer.model.networks["discriminator"].parameters())
    return list(torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True))


def test_there_is_a_value_for_every_knob() -> None:
    assert list(CHANGED) == list(AdversarialKnobs.ranges())


@pytest.mark.parametrize("knob", CHANGED)
def test_every_turnable_knob_has_an_effect(penalised, knob: str) -> None:
    """Some knobs of labels need a companion value, so that lowest and highest differ."""
    companions = {name: value for name, value in COMPANIONS.get(knob, {}).items() if name != knob}
    assert knob in penalised.model.turnable
    changed_trainer = penalised.copy()
    for _ in range(2):
        penalised.step(**companions)
        changed_trainer.step(**companions, **{knob: CHANGED[knob]})
    tensors, expected = penalised.state.tensors(), changed_trainer.state.tensors()
    names = {name for name in tensors if name.startswith(("network/", "averaged/"))}
    assert any(not torch.equal(tensors[name], expected[name]) for name in names)


@pytest.mark.parametrize(("network", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_learning_rate_is_the_size_of_the_first_adam_step(plain, network: str, other: str) -> None:
    """Adam's first update of each weight is lr g / |g|; each network has its own learning rate."""
    knobs = {f"lr_{network[0]}": 4e-3, f"lr_{other[0]}": 1e-3}
    before = {name: plain.weights(name) for name in (network, other)}
    plain.step(beta1=0, **knobs)
    assert largest_change(before[network], plain.weights(network)) == pytest.approx(4e-3, rel=1e-3)
    assert largest_change(before[other], plain.weights(other)) == pytest.approx(1e-3, rel=1e-3)


def test_learning_rate_scales_the_step_of_sgd(create_trainer) -> None:
    """The discriminator is updated first, so its update does not depend on the rate of the generator."""
    slow = create_trainer(**PLAIN, optimizer="sgd")
    fast, start = slow.copy(), slow.weights("generator")
    slow.step(beta1=0, lr_g=3e-3)
    fast.step(beta1=0, lr_g=9e-3)
    assert same(slow.weights("discriminator"), fast.weights("discriminator"))
    for first, after_slow, after_fast in zip(start, slow.weights("generator"), fast.weights("generator"), strict=True):
        torch.testing.assert_close(after_fast - first, 3 * (after_slow - first), rtol=1e-3, atol=1e-6)
    assert largest_change(start, slow.weights("generator")) > 2e-5


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_betas_are_the_decays_of_adam(plain, network: str) -> None:
    """After one step the moments are (1 - beta1) g and (1 - beta2) g^2, with the same gradient g."""
    other = plain.copy()
    plain.step(beta1=0.75, beta2=0.99)
    other.step(beta1=0.0, beta2=0.5)
    state, default_state = plain.state.tensors(), other.state.tensors()
    if network == "discriminator":
        g = default_state["optimizer/discriminator/0/exp_avg"]
        torch.testing.assert_close(state["optimizer/discriminator/0/exp_avg"], 0.25 * g)
    g = state[f"optimizer/{network}/0/exp_avg"] / 0.25
    torch.testing.assert_close(state[f"optimizer/{network}/0/exp_avg_sq"], 0.01 * g**2, rtol=1e-4, atol=1e-12)
    assert plain.state.optimizers[network].param_groups[0]["betas"] == (0.75, 0.99)


def test_beta2_is_the_decay_of_rmsprop(create_trainer) -> None:
    trainer = create_trainer("wgan", conditional=False)
    trainer.step(beta2=0.9)
    assert trainer.state.optimizers["generator"].param_groups[0]["alpha"] == 0.9
    assert "beta1" not in trainer.model.turnable


def test_beta1_is_the_momentum_of_sgd(create_trainer) -> None:
    trainer = create_trainer(**PLAIN, optimizer="sgd")
    trainer.step(beta1=0.7)
    assert trainer.state.optimizers["generator"].param_groups[0]["momentum"] == 0.7
    assert "beta2" not in trainer.model.turnable


@pytest.mark.parametrize(("d", "g"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_steps_are_the_number_of_updates(plain, d: int, g: int) -> None:
    for _ in range(2):
        plain.step(discriminator_steps=d, generator_steps=g)
    tensors = plain.state.tensors()
    assert tensors["optimizer/discriminator/0/step"].item() == 2 * d
    assert tensors["optimizer/generator/0/step"].item() == 2 * g


def by_hand(logit: Tensor, label: float | Tensor) -> Tensor:
    """-t log sigma(d) - (1 - t) log(1 - sigma(d)), without softplus."""
    d = logit.double()
    return -(label * d.sigmoid().log() + (1 - label) * (1 - d.sigmoid()).log()).mean()


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
@pytest.mark.parametrize(("real", "fake"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (1.2, 0.5), (0.0, 0.0)])
def test_labels_enter_the_cross_entropy(create_trainer, loss: str, real: float, fake: float) -> None:
    """One-sided smoothing changes the label of reals, two-sided smoothing both."""
    trainer = create_trainer(**PLAIN, loss=loss)
    ends = {"real_label_low": real, "real_label_high": real, "fake_label_low": fake, "fake_label_high": fake}
    result = trainer.loss("discriminator", **ends)
    expected = by_hand(result.logit_real, real) + by_hand(result.logit_fake, fake)
    torch.testing.assert_close(result.total.double(), expected, rtol=1e-5, atol=1e-6)


def test_label_smoothing_adds_a_multiple_of_the_real_logit(plain) -> None:
    """softplus(d) - softplus(-d) = d, so a label of t changes the loss by (1 - t) E D(x)."""
    hard = plain.loss("discriminator")
    soft = plain.loss("discriminator", real_label_low=0.9, real_label_high=0.9)
    torch.testing.assert_close(soft.total - hard.total, 0.1 * hard.logit_real.mean(), rtol=1e-3, atol=1e-6)
    assert soft.total != hard.total


def test_labels_are_the_targets_of_least_squares(create_trainer) -> None:
    trainer = create_trainer(**PLAIN, loss="least_squares")
    result = trainer.loss(
        "discriminator", real_label_low=0.8, real_label_high=0.8, fake_label_high=0.3, fake_label_low=0.3
    )
    expected = (result.logit_real - 0.8).square().mean() / 2 + (result.logit_fake - 0.3).square().mean() / 2
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("batch", [64])
def test_labels_are_uniform_per_sample(create_trainer, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    calls: list[tuple[Tensor, ...]] = []
    original = adversarial.LOSSES["non_saturating"]

    def spy(*args: Tensor) -> Tensor:
        calls.append(args)
        return original.discriminator(*args)

    monkeypatch.setitem(adversarial.LOSSES, "non_saturating", dataclasses.replace(original, discriminator=spy))
    trainer = create_trainer(**PLAIN, batch=batch)
    ends = {"real_label_low": 0.7, "real_label_high": 1.2, "fake_label_low": 0.1, "fake_label_high": 0.3}
    result = trainer.loss("discriminator", **ends)
    real_logit, fake_logit, real_label, fake_label = calls[0]
    for label, low, high in ((real_label, 0.7, 1.2), (fake_label, 0.1, 0.3)):
        assert label.shape == (batch,)
        assert low <= label.min() < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < label.max() <= high
        assert len(label.unique()) > batch // 2
    expected = (real_label * softplus(-real_logit) + (1 - real_label) * softplus(real_logit)).mean()
    expected = expected + (fake_label * softplus(-fake_logit) + (1 - fake_label) * softplus(fake_logit)).mean()
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("side", ["real", "fake"])
def test_lowest_label_can_exceed_the_highest(plain, side: str) -> None:
    """The interval is the same, so that a controller can change both independently."""
    ends = {f"{side}_label_low": 0.4, f"{side}_label_high": 0.2}
    logit = plain.loss("discriminator").logit_real if side == "real" else plain.loss("discriminator").logit_fake
    least, most = sorted(by_hand(logit, label).item() for label in (0.2, 0.4))
    other = {"real": ("fake", 0.0), "fake": ("real", 1.0)}[side]
    rest = plain.loss("discriminator")
    result = plain.loss("discriminator", **ends).total.item()
    other_loss = by_hand(rest.logit_fake if other[0] == "fake" else rest.logit_real, other[1]).item()
    assert least - 1e-6 <= result - other_loss <= most + 1e-6


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.has_labels])
def test_labels_are_not_turnable_if_the_loss_has_none(create_trainer, loss: str) -> None:
    turnable = create_trainer(**PLAIN, loss=loss).model.turnable
    assert turnable.isdisjoint({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})
    assert create_trainer(**PLAIN, loss="least_squares").model.turnable > turnable


@pytest.mark.parametrize("std", [0.1, 1.0])
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_instance_noise_is_the_standard_deviation_of_the_noise(create_trainer, phase: str, std: float) -> None:
    """For reals and fakes, in both phases; 64 images of 256 pixels determine it within 2 %."""
    trainer = create_trainer(**PLAIN, batch=64, loss="relativistic")
    inputs = trainer.record_inputs()
    trainer.loss(phase)
    clean = list(inputs)
    inputs.clear()
    trainer.loss(phase, instance_noise=std)
    for before, after in zip(torch.cat(clean).chunk(2), torch.cat(inputs).chunk(2), strict=True):
        added = after.detach() - before.detach()
        assert added.std().item() == pytest.approx(std, rel=0.03)
        assert added.mean().item() == pytest.approx(0, abs=0.04 * std)
        spread = before.detach().var().item()
        assert after.detach().var().item() == pytest.approx(spread + std**2, rel=0.05)


@pytest.mark.parametrize("p", [0.1, 0.4, 0.8])
def test_augment_p_is_the_probability_of_each_augmentation(create_trainer, p: float) -> None:
    """An image is unchanged if no augmentation is applied, or only a translation by 0, with probability 1 / 25."""
    trainer = create_trainer(**PLAIN, batch=512)
    batch, inputs = trainer.reals.batch(0), trainer.record_inputs()
    trainer.loss("discriminator", batch, augment_p=p)
    real, fake = torch.cat(inputs).chunk(2)
    share = (real == batch.real).flatten(1).all(1).float().mean().item()
    assert share == pytest.approx((1 - p) ** 2 * (1 - p + p / 25), abs=0.06)
    assert fake.shape == real.shape


def test_discriminator_inputs_are_unchanged_without_augmentation(plain) -> None:
    batch, inputs = plain.reals.batch(0), plain.record_inputs()
    plain.loss("discriminator", batch)
    assert torch.equal(torch.cat(inputs)[: len(batch)], batch.real)


def test_augmentation_and_noise_are_differentiable(plain) -> None:
    before = plain.weights("generator")
    plain.step(augment_p=0.8, instance_noise=0.5)
    assert largest_change(before, plain.weights("generator")) > 0


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
def test_lazy_penalty_is_weighted_by_the_interval(create_trainer, knob: str) -> None:
    """In a separate phase every fourth step, with four times the weight."""
    trainer = create_trainer(**PLAIN | {"penalty_interval": 4})
    term = knob.removesuffix("_gamma")
    assert term not in trainer.loss("discriminator", **{knob: 2.0}).terms
    result = trainer.loss("penalties", **{knob: 2.0})
    torch.testing.assert_close(result.total.detach(), 4 * 2.0 * result.terms[term])
    ran = [set(trainer.step(**{knob: 2.0}).phases) for _ in range(6)]
    assert ["penalties" in phases for phases in ran] == [True, False, False, False, True, False]


def test_lazy_penalty_adjusts_adam(create_trainer) -> None:
    """Karras 2020, appendix B: c = k / (k + 1), lr' = c lr, beta' = beta^c; only while a penalty is on."""
    trainer = create_trainer(**PLAIN | {"penalty_interval": 4})
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


def test_gp_weight_is_turnable_only_with_gradient_penalty(create_trainer) -> None:
    assert create_trainer(**PLAIN | {"knobs": None}, constraint="gradient_penalty").model.knobs.gp_weight == 10
    assert "gp_weight" not in create_trainer(**PLAIN).model.turnable


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


def test_half_life_of_0_disables_averaging(plain) -> None:
    for _ in range(2):
        plain.step(ema_half_life=0)
    current = plain.model.networks["generator"].state_dict()
    for name, value in plain.state.averages["generator"].state_dict().items():
        assert torch.equal(value, current[name]), name


def test_average_moves_halfway_in_one_half_life(plain) -> None:
    """With batches of 8, a step is one half-life of 8 images after the ramp."""
    for _ in range(math.ceil(1 / RAMP)):
        plain.step(ema_half_life=8, lr_g=1e-3)
    before = [weight.clone() for weight in plain.state.averages["generator"].parameters()]
    plain.step(ema_half_life=8, lr_g=1e-3)
    after = plain.state.averages["generator"].parameters()
    for old, new, target in zip(before, after, plain.weights("generator"), strict=True):
        torch.testing.assert_close(new, (old + target) / 2)


def test_penalties_of_weight_0_are_skipped(plain) -> None:
    """The discriminator processes two batches in its own phase and one in that of the generator."""
    inputs = plain.record_inputs()
    record = plain.step()
    assert set(record.phases) == {"discriminator", "generator"}
    assert all(set(phase.terms) == {"adversarial"} for phase in record.phases.values())
    assert len(torch.cat(inputs)) == 3 * 8


def test_knobs_at_0_draw_only_latents(plain) -> None:
    source = plain.random_numbers()
    plain.step()
    for _ in ("discriminator", "generator"):
        latents.normal(8, 6, source)
    assert torch.equal(source.get_state(), plain.state.generator.get_state())


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
