"""Every knob has the documented effect, in small models on 16 x 16 images."""

import math

import pytest
import torch
from torch import Tensor

from equipoise.core.knobs import AdversarialKnobs
from equipoise.nn import latents
from equipoise.training.weights import RAMP

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


def largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    return max((b - a).abs().max().item() for a, b in zip(before, after, strict=True))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


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


def test_learning_rate_scales_the_step_of_sgd(create_plain) -> None:
    """The discriminator is updated first, so its update does not depend on the rate of the generator."""
    slow = create_plain(optimizer="sgd")
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


def test_beta1_is_the_momentum_of_sgd(create_plain) -> None:
    trainer = create_plain(optimizer="sgd")
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


@pytest.mark.parametrize("std", [0.1, 1.0])
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_instance_noise_is_the_standard_deviation_of_the_noise(create_plain, phase: str, std: float) -> None:
    """For reals and fakes, in both phases; 64 images of 256 pixels determine it within 2 %."""
    trainer = create_plain(batch=64, loss="relativistic")
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
def test_augment_p_is_the_probability_of_each_augmentation(create_plain, p: float) -> None:
    """An image is unchanged if no augmentation is applied, or only a translation by 0, with probability 1 / 25."""
    trainer = create_plain(batch=512)
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


def test_knobs_at_0_draw_only_latents(plain) -> None:
    source = plain.random_numbers()
    plain.step()
    for _ in ("discriminator", "generator"):
        latents.normal(8, 6, source)
    assert torch.equal(source.get_state(), plain.state.generator.get_state())
