"""Every knob acts, and as its text says: small games on 16 x 16 images, played with the real step."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from equipoise.core.knobs import AdversarialKnobs
from equipoise.losses import adversarial
from equipoise.nn import latents
from equipoise.training.averaging import RAMP

PLAIN: dict[str, Any] = {"knobs": {}, "penalty_interval": 1, "conditional": False, "fakes": "fresh"}
ELSEWHERE = {
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
def plain(deal):
    """A game with every penalty off."""
    return deal(**PLAIN)


@pytest.fixture
def penalised(deal):
    """A game under a gradient penalty, its weight at 0."""
    return deal(**PLAIN | {"constraint": "gradient_penalty", "knobs": {"gp_weight": 0.0}})


def largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    return max((b - a).abs().max().item() for a, b in zip(before, after, strict=True))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradients(total: Tensor, table: Any) -> list[Tensor]:
    weights = list(table.model.networks["discriminator"].parameters())
    return list(torch.autograd.grad(total, weights, allow_unused=True, materialize_grads=True))


def test_there_is_a_value_for_every_knob() -> None:
    assert list(ELSEWHERE) == list(AdversarialKnobs.ranges())


@pytest.mark.parametrize("knob", ELSEWHERE)
def test_every_knob_that_is_turnable_changes_the_game(penalised, knob: str) -> None:
    """Labels need a range to be drawn from, so the other end may have to make room, in both games."""
    companions = {name: value for name, value in COMPANIONS.get(knob, {}).items() if name != knob}
    assert knob in penalised.model.turnable
    turned = penalised.copy()
    for _ in range(2):
        penalised.step(**companions)
        turned.step(**companions, **{knob: ELSEWHERE[knob]})
    mine, theirs = penalised.state.tensors(), turned.state.tensors()
    changed = {name for name in mine if name.startswith(("network/", "averaged/"))}
    assert any(not torch.equal(mine[name], theirs[name]) for name in changed)


@pytest.mark.parametrize(("player", "other"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_learning_rate_is_the_size_of_the_first_step_of_adam(plain, player: str, other: str) -> None:
    """Adam's first update of each weight is lr g / |g|, whatever the gradient; the other player's stays."""
    knobs = {f"lr_{player[0]}": 4e-3, f"lr_{other[0]}": 1e-3}
    before = {name: plain.weights(name) for name in (player, other)}
    plain.step(beta1=0, **knobs)
    assert largest_change(before[player], plain.weights(player)) == pytest.approx(4e-3, rel=1e-3)
    assert largest_change(before[other], plain.weights(other)) == pytest.approx(1e-3, rel=1e-3)


def test_a_learning_rate_scales_the_step_of_plain_descent(deal) -> None:
    """The discriminator moves first, so that it does not notice the generator's rate."""
    slow = deal(**PLAIN, optimizer="sgd")
    fast, start = slow.copy(), slow.weights("generator")
    slow.step(beta1=0, lr_g=3e-3)
    fast.step(beta1=0, lr_g=9e-3)
    assert same(slow.weights("discriminator"), fast.weights("discriminator"))
    for first, here, there in zip(start, slow.weights("generator"), fast.weights("generator"), strict=True):
        torch.testing.assert_close(there - first, 3 * (here - first), rtol=1e-3, atol=1e-6)
    assert largest_change(start, slow.weights("generator")) > 2e-5


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_the_betas_decay_both_moments_of_adam(plain, player: str) -> None:
    """After one step the moments are (1 - beta1) g and (1 - beta2) g^2, and the gradient is the same g."""
    other = plain.copy()
    plain.step(beta1=0.75, beta2=0.99)
    other.step(beta1=0.0, beta2=0.5)
    mine, theirs = plain.state.tensors(), other.state.tensors()
    if player == "discriminator":
        g = theirs["optimizer/discriminator/0/exp_avg"]
        torch.testing.assert_close(mine["optimizer/discriminator/0/exp_avg"], 0.25 * g)
    g = mine[f"optimizer/{player}/0/exp_avg"] / 0.25
    torch.testing.assert_close(mine[f"optimizer/{player}/0/exp_avg_sq"], 0.01 * g**2, rtol=1e-4, atol=1e-12)
    assert plain.state.optimizers[player].param_groups[0]["betas"] == (0.75, 0.99)


def test_beta2_decays_the_squares_of_rmsprop(deal) -> None:
    table = deal("wgan", conditional=False)
    table.step(beta2=0.9)
    assert table.state.optimizers["generator"].param_groups[0]["alpha"] == 0.9
    assert "beta1" not in table.model.turnable


def test_beta1_is_the_momentum_of_plain_descent(deal) -> None:
    table = deal(**PLAIN, optimizer="sgd")
    table.step(beta1=0.7)
    assert table.state.optimizers["generator"].param_groups[0]["momentum"] == 0.7
    assert "beta2" not in table.model.turnable


@pytest.mark.parametrize(("d", "g"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_steps_count_the_updates_of_each_player(plain, d: int, g: int) -> None:
    for _ in range(2):
        plain.step(discriminator_steps=d, generator_steps=g)
    tensors = plain.state.tensors()
    assert tensors["optimizer/discriminator/0/step"].item() == 2 * d
    assert tensors["optimizer/generator/0/step"].item() == 2 * g


def by_hand(logit: Tensor, label: float | Tensor) -> Tensor:
    """-t log sigma(d) - (1 - t) log(1 - sigma(d)), the long way."""
    d = logit.double()
    return -(label * d.sigmoid().log() + (1 - label) * (1 - d.sigmoid()).log()).mean()


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
@pytest.mark.parametrize(("real", "fake"), [(1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (1.2, 0.5), (0.0, 0.0)])
def test_labels_stand_in_the_cross_entropy(deal, loss: str, real: float, fake: float) -> None:
    """One-sided smoothing moves the real label, two-sided both."""
    table = deal(**PLAIN, loss=loss)
    ends = {"real_label_low": real, "real_label_high": real, "fake_label_low": fake, "fake_label_high": fake}
    result = table.loss("discriminator", **ends)
    expected = by_hand(result.logit_real, real) + by_hand(result.logit_fake, fake)
    torch.testing.assert_close(result.total.double(), expected, rtol=1e-5, atol=1e-6)


def test_smoothing_to_nine_tenths_adds_a_tenth_of_the_real_logit(plain) -> None:
    """softplus(d) - softplus(-d) = d, so a label of t moves the loss by (1 - t) E D(x)."""
    hard = plain.loss("discriminator")
    soft = plain.loss("discriminator", real_label_low=0.9, real_label_high=0.9)
    torch.testing.assert_close(soft.total - hard.total, 0.1 * hard.logit_real.mean(), rtol=1e-3, atol=1e-6)
    assert soft.total != hard.total


def test_labels_are_the_targets_of_least_squares(deal) -> None:
    table = deal(**PLAIN, loss="least_squares")
    result = table.loss(
        "discriminator", real_label_low=0.8, real_label_high=0.8, fake_label_high=0.3, fake_label_low=0.3
    )
    expected = (result.logit_real - 0.8).square().mean() / 2 + (result.logit_fake - 0.3).square().mean() / 2
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("batch", [64])
def test_labels_are_drawn_for_each_sample_from_low_to_high(deal, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    asked: list[tuple[Tensor, ...]] = []
    original = adversarial.LOSSES["non_saturating"]

    def spy(*given: Tensor) -> Tensor:
        asked.append(given)
        return original.discriminator(*given)

    monkeypatch.setitem(adversarial.LOSSES, "non_saturating", dataclasses.replace(original, discriminator=spy))
    table = deal(**PLAIN, batch=batch)
    ends = {"real_label_low": 0.7, "real_label_high": 1.2, "fake_label_low": 0.1, "fake_label_high": 0.3}
    result = table.loss("discriminator", **ends)
    real_logit, fake_logit, real_label, fake_label = asked[0]
    for label, low, high in ((real_label, 0.7, 1.2), (fake_label, 0.1, 0.3)):
        assert label.shape == (batch,)
        assert low <= label.min() < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < label.max() <= high
        assert len(label.unique()) > batch // 2
    expected = (real_label * softplus(-real_logit) + (1 - real_label) * softplus(real_logit)).mean()
    expected = expected + (fake_label * softplus(-fake_logit) + (1 - fake_label) * softplus(fake_logit)).mean()
    torch.testing.assert_close(result.total, expected)


@pytest.mark.parametrize("side", ["real", "fake"])
def test_labels_may_change_places_while_a_controller_turns_them(plain, side: str) -> None:
    """Low above high is the same range: no run stops half-way because one schedule overtook another."""
    ends = {f"{side}_label_low": 0.4, f"{side}_label_high": 0.2}
    logit = plain.loss("discriminator").logit_real if side == "real" else plain.loss("discriminator").logit_fake
    least, most = sorted(by_hand(logit, label).item() for label in (0.2, 0.4))
    other = {"real": ("fake", 0.0), "fake": ("real", 1.0)}[side]
    rest = plain.loss("discriminator")
    result = plain.loss("discriminator", **ends).total.item()
    others = by_hand(rest.logit_fake if other[0] == "fake" else rest.logit_real, other[1]).item()
    assert least - 1e-6 <= result - others <= most + 1e-6


@pytest.mark.parametrize("loss", ["hinge", "wasserstein", "relativistic"])
def test_labels_do_not_act_where_the_loss_has_none(deal, loss: str) -> None:
    turnable = deal(**PLAIN, loss=loss).model.turnable
    assert turnable.isdisjoint({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})
    assert deal(**PLAIN, loss="least_squares").model.turnable > turnable


@pytest.mark.parametrize("std", [0.1, 1.0])
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_instance_noise_is_the_deviation_of_what_is_added(deal, phase: str, std: float) -> None:
    """On reals and on fakes, for both players: 64 images of 256 pixels know a deviation within 2 %."""
    table = deal(**PLAIN, batch=64, loss="relativistic")
    seen = table.seen()
    table.loss(phase)
    clean = list(seen)
    seen.clear()
    table.loss(phase, instance_noise=std)
    for before, after in zip(torch.cat(clean).chunk(2), torch.cat(seen).chunk(2), strict=True):
        added = after.detach() - before.detach()
        assert added.std().item() == pytest.approx(std, rel=0.03)
        assert added.mean().item() == pytest.approx(0, abs=0.04 * std)
        spread = before.detach().var().item()
        assert after.detach().var().item() == pytest.approx(spread + std**2, rel=0.05)


@pytest.mark.parametrize("p", [0.1, 0.4, 0.8])
def test_augment_p_is_the_chance_of_each_augmentation(deal, p: float) -> None:
    """An image stays as it was if all three kinds pass it by, or if it is shifted by nothing: once in 25."""
    table = deal(**PLAIN, batch=512)
    batch, seen = table.reals.batch(0), table.seen()
    table.loss("discriminator", batch, augment_p=p)
    real, fake = torch.cat(seen).chunk(2)
    kept = (real == batch.real).flatten(1).all(1).float().mean().item()
    assert kept == pytest.approx((1 - p) ** 2 * (1 - p + p / 25), abs=0.06)
    assert fake.shape == real.shape


def test_without_augmentation_the_discriminator_sees_the_very_images(plain) -> None:
    batch, seen = plain.reals.batch(0), plain.seen()
    plain.loss("discriminator", batch)
    assert torch.equal(torch.cat(seen)[: len(batch)], batch.real)


def test_the_gradient_of_the_generator_passes_augmentation_and_noise(plain) -> None:
    before = plain.weights("generator")
    plain.step(augment_p=0.8, instance_noise=0.5)
    assert largest_change(before, plain.weights("generator")) > 0


def squared_gradient(table: Any, samples: Tensor) -> Tensor:
    """E |dD/dx|^2, image by image: slow, and surely what the formula says."""
    discriminator = table.model.networks["discriminator"]
    norms = []
    for one in samples.detach():
        x = one[None].requires_grad_()
        (g,) = torch.autograd.grad(discriminator.judge(discriminator.features(x), None).sum(), x, create_graph=True)
        norms.append(g.square().sum())
    return torch.stack(norms).mean()


@pytest.mark.parametrize(("knob", "term", "place"), [("r1_gamma", "r1", 0), ("r2_gamma", "r2", 1)])
def test_r1_and_r2_add_half_gamma_times_the_squared_gradient(plain, knob: str, term: str, place: int) -> None:
    """R1 at reals, R2 at fakes; the weights feel exactly that much more."""
    seen = plain.seen()
    without = plain.loss("discriminator")
    samples = torch.cat(seen).chunk(2)[place]
    result = plain.loss("discriminator", **{knob: 10.0})
    square = squared_gradient(plain, samples)
    torch.testing.assert_close(result.terms[term], square.detach() / 2)
    torch.testing.assert_close(result.total, without.total + 10 / 2 * square)
    extra = gradients(10 / 2 * square, plain)
    for mine, base, more in zip(gradients(result.total, plain), gradients(without.total, plain), extra, strict=True):
        torch.testing.assert_close(mine, base + more, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("knob", ["r1_gamma", "r2_gamma"])
def test_a_lazy_penalty_counts_as_often_as_it_is_left_out(deal, knob: str) -> None:
    """In a phase of its own every fourth step, four times as heavy; the others do not know of it."""
    table = deal(**PLAIN | {"penalty_interval": 4})
    term = knob.removesuffix("_gamma")
    assert term not in table.loss("discriminator", **{knob: 2.0}).terms
    result = table.loss("penalties", **{knob: 2.0})
    torch.testing.assert_close(result.total.detach(), 4 * 2.0 * result.terms[term])
    ran = [set(table.step(**{knob: 2.0}).phases) for _ in range(6)]
    assert ["penalties" in phases for phases in ran] == [True, False, False, False, True, False]


def test_a_lazy_penalty_slows_adam_to_make_up_for_its_updates(deal) -> None:
    """Karras 2020, appendix B: c = k / (k + 1), lr' = c lr, beta' = beta^c; only while a penalty is on."""
    table = deal(**PLAIN | {"penalty_interval": 4})
    table.step(r1_gamma=1.0, lr_d=1e-3, beta1=0.5, beta2=0.99)
    group = table.state.optimizers["discriminator"].param_groups[0]
    assert group["lr"] == pytest.approx(0.8e-3)
    assert group["betas"] == pytest.approx((0.5**0.8, 0.99**0.8))
    table.step(lr_d=1e-3, beta1=0.5, beta2=0.99)
    assert group["lr"] == 1e-3
    assert group["betas"] == (0.5, 0.99)


def test_gp_weight_weighs_the_distance_of_the_gradients_norm_from_one(penalised) -> None:
    """Gulrajani 2017, eq. 3, between real and fake, with the same random numbers drawn by hand."""
    source, batch = penalised.random_numbers(), penalised.reals.batch(0)
    latent = latents.normal(len(batch), 6, source)
    fake = penalised.model.networks["generator"](latent, None)
    e = torch.rand(len(batch), 1, 1, 1, generator=source)
    between = (e * batch.real + (1 - e) * fake).detach()
    discriminator = penalised.model.networks["discriminator"]
    penalty = 0.0
    for one in between:
        x = one[None].requires_grad_()
        (g,) = torch.autograd.grad(discriminator.judge(discriminator.features(x), None).sum(), x)
        penalty += (g.norm() - 1) ** 2 / len(batch)
    result = penalised.loss("discriminator", batch, gp_weight=5.0)
    without = penalised.loss("discriminator", batch)
    torch.testing.assert_close(result.terms["gradient_penalty"], penalty, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((result.total - without.total).detach(), 5 * penalty, rtol=1e-4, atol=1e-4)


def test_gp_weight_acts_only_under_that_constraint(deal) -> None:
    assert deal(**PLAIN | {"knobs": None}, constraint="gradient_penalty").model.knobs.gp_weight == 10
    assert "gp_weight" not in deal(**PLAIN).model.turnable


def test_lecam_weight_draws_logits_to_the_other_sides_mean(plain) -> None:
    """In the first step the running means are those of the batch."""
    result, without = plain.loss("discriminator", lecam_weight=0.5), plain.loss("discriminator")
    real, fake = result.logit_real, result.logit_fake
    penalty = (real - fake.mean()).relu().square().mean() + (real.mean() - fake).relu().square().mean()
    torch.testing.assert_close(result.terms["lecam"], penalty)
    torch.testing.assert_close((result.total - without.total).detach(), 0.5 * penalty, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(result.memory["lecam_fake"], fake.mean())
    assert without.memory == {}


def test_the_means_of_lecam_run_on(plain) -> None:
    for _ in range(3):
        plain.step(lecam_weight=0.5)
    assert plain.state.memory["lecam_mass"].item() == pytest.approx(1 - 0.99**3)


def test_feature_matching_weight_weighs_the_distance_of_mean_features(plain) -> None:
    """Salimans 2016, section 3.1, over the features that the discriminator judges by."""
    batch, discriminator = plain.reals.batch(0), plain.model.networks["discriminator"]
    latent = latents.normal(len(batch), 6, plain.random_numbers())
    fake = plain.model.networks["generator"](latent, None)
    distance = discriminator.features(batch.real).mean(0) - discriminator.features(fake).mean(0)
    penalty = distance.square().mean()
    result = plain.loss("generator", batch, feature_matching_weight=3.0)
    torch.testing.assert_close(result.terms["feature_matching"], penalty.detach())
    torch.testing.assert_close(result.total, result.terms["adversarial"] + 3 * penalty)
    assert "feature_matching" not in plain.loss("discriminator", batch, feature_matching_weight=3.0).terms


def test_a_half_life_of_zero_is_no_average(plain) -> None:
    for _ in range(2):
        plain.step(ema_half_life=0)
    current = plain.model.networks["generator"].state_dict()
    for name, value in plain.state.averaged["generator"].state_dict().items():
        assert torch.equal(value, current[name]), name


def test_after_one_half_life_the_average_has_gone_half_the_way(plain) -> None:
    """A batch of 8 is one half-life of 8 images, once the ramp is over."""
    for _ in range(math.ceil(1 / RAMP)):
        plain.step(ema_half_life=8, lr_g=1e-3)
    before = [weight.clone() for weight in plain.state.averaged["generator"].parameters()]
    plain.step(ema_half_life=8, lr_g=1e-3)
    after = plain.state.averaged["generator"].parameters()
    for here, there, target in zip(before, after, plain.weights("generator"), strict=True):
        torch.testing.assert_close(there, (here + target) / 2)


def test_knobs_at_zero_leave_no_term_no_phase_and_no_pass(plain) -> None:
    """The discriminator looks at two batches for itself and at one for the generator, and at no more."""
    seen = plain.seen()
    record = plain.step()
    assert set(record.phases) == {"discriminator", "generator"}
    assert all(set(phase.terms) == {"adversarial"} for phase in record.phases.values())
    assert len(torch.cat(seen)) == 3 * 8


def test_knobs_at_zero_draw_no_random_numbers_but_latents(plain) -> None:
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
def test_a_penalty_that_is_off_has_no_term(penalised, knob: str, phase: str, term: str) -> None:
    assert term not in penalised.loss(phase).terms
    assert term in penalised.loss(phase, **{knob: 1.0}).terms
