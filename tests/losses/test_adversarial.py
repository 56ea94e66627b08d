"""Adversarial losses compared with independent formulas, and for extreme logits."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.losses.adversarial import LOSSES, AdversarialLossName, WeightedPenalty, loss_terms, total_loss

ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)
GRID = torch.linspace(-4, 4, 41, dtype=torch.float64)


def logits(seed: int, count: int = 64, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = 3 * torch.randn(2, count, generator=generator, dtype=torch.float64)
    return real.to(dtype), fake.to(dtype)


def best_response(name: str, share: float) -> float:
    """Find the optimal logit at a point where a fraction `share` of the mass is real, by grid search."""
    loss = LOSSES[name].discriminator
    far = torch.tensor(50.0, dtype=torch.float64)
    at_real = [loss(d, -far, ONE, ZERO) for d in GRID]
    at_fake = [loss(far, d, ONE, ZERO) for d in GRID]
    values = [share * real + (1 - share) * fake for real, fake in zip(at_real, at_fake, strict=True)]
    return float(GRID[int(torch.stack(values).argmin())])


def test_option_type_has_the_names_of_the_losses() -> None:
    assert set(LOSSES) == set(get_args(AdversarialLossName))


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_cross_entropy_equals_that_of_probabilities(name: str) -> None:
    real, fake = logits(0)
    generator = torch.Generator().manual_seed(1)
    real_label = 0.7 + 0.3 * torch.rand(64, generator=generator, dtype=torch.float64)
    fake_label = 0.3 * torch.rand(64, generator=generator, dtype=torch.float64)
    expected = F.binary_cross_entropy(real.sigmoid(), real_label) + F.binary_cross_entropy(fake.sigmoid(), fake_label)
    torch.testing.assert_close(LOSSES[name].discriminator(real, fake, real_label, fake_label), expected)


def test_generator_losses_of_cross_entropy() -> None:
    real, fake = logits(2)
    torch.testing.assert_close(LOSSES["minimax"].generator(fake, real), torch.log(1 - fake.sigmoid()).mean())
    torch.testing.assert_close(LOSSES["non_saturating"].generator(fake, real), -torch.log(fake.sigmoid()).mean())


def test_minimax_is_a_zero_sum_game() -> None:
    """A change of the fakes has opposite effects on both losses."""
    real, fake = logits(3)
    _, other = logits(4)
    loss = LOSSES["minimax"]
    change_d = loss.discriminator(real, fake, ONE, ZERO) - loss.discriminator(real, other, ONE, ZERO)
    change_g = loss.generator(fake, real) - loss.generator(other, real)
    torch.testing.assert_close(change_d, -change_g)


def test_non_saturating_has_a_gradient_where_minimax_vanishes() -> None:
    gradients = {}
    for name in ("minimax", "non_saturating"):
        fake = torch.full((8,), -15.0, requires_grad=True)
        LOSSES[name].generator(fake, fake.detach()).backward()
        assert fake.grad is not None
        gradients[name] = float(fake.grad.sum())
    assert -1e-6 < gradients["minimax"] < 0
    assert gradients["non_saturating"] == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize(("name", "at_equal", "value"), [
    ("minimax", 0.0, math.log(4)), ("non_saturating", 0.0, math.log(4)), ("least_squares", 0.5, 0.25),
    ("hinge", 0.0, 2.0), ("wasserstein", 0.0, 0.0), ("relativistic", 0.0, math.log(2)),
])  # fmt: skip
def test_value_at_equilibrium(name: str, at_equal: float, value: float) -> None:
    """The published value of the discriminator loss for equal distributions."""
    logit = torch.full((16,), at_equal)
    assert float(LOSSES[name].discriminator(logit, logit, ONE, ZERO)) == pytest.approx(value, abs=1e-6)


def test_least_squares_with_labels() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([1.0, -1.0])
    loss = LOSSES["least_squares"]
    # ((2 - 0.9)^2 + 0.9^2) / 4 + ((1 - 0.1)^2 + 1.1^2) / 4
    assert float(loss.discriminator(real, fake, torch.tensor(0.9), torch.tensor(0.1))) == pytest.approx(1.01)
    assert float(loss.generator(fake, real)) == pytest.approx((0 + 4) / 4)


def test_hinge_stops_beyond_the_margin() -> None:
    real = torch.tensor([2.0, 0.5], requires_grad=True)
    fake = torch.tensor([-3.0, 1.0], requires_grad=True)
    total = LOSSES["hinge"].discriminator(real, fake, ONE, ZERO)
    total.backward()
    assert float(total.detach()) == pytest.approx(0.25 + 1.0)
    assert real.grad is not None
    assert real.grad.tolist() == [0.0, -0.5]
    assert fake.grad is not None
    assert fake.grad.tolist() == [0.0, 0.5]


def test_wasserstein_is_a_difference_of_means() -> None:
    real, fake = logits(5)
    loss = LOSSES["wasserstein"]
    torch.testing.assert_close(loss.discriminator(real, fake, ONE, ZERO), fake.mean() - real.mean())
    torch.testing.assert_close(loss.generator(fake, real), -fake.mean())


def test_relativistic_depends_on_differences_of_pairs_only() -> None:
    real, fake = logits(6)
    loss = LOSSES["relativistic"]
    expected = -torch.log((real - fake).sigmoid()).mean()
    torch.testing.assert_close(loss.discriminator(real, fake, ONE, ZERO), expected)
    torch.testing.assert_close(loss.discriminator(real + 7, fake + 7, ONE, ZERO), expected)
    torch.testing.assert_close(loss.generator(fake, real), -torch.log((fake - real).sigmoid()).mean())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name: str, dtype: torch.dtype, size: float) -> None:
    real = torch.tensor([size, -size, size, 0], dtype=dtype, requires_grad=True)
    fake = torch.tensor([size, size, -size, 0], dtype=dtype, requires_grad=True)
    loss = LOSSES[name]
    for total in (loss.discriminator(real, fake, torch.tensor(0.9), torch.tensor(0.1)), loss.generator(fake, real)):
        gradients = torch.autograd.grad(total, (real, fake), allow_unused=True)
        assert total.isfinite()
        assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_logits_are_averaged_in_float32(name: str) -> None:
    real, fake = logits(7, 4096, torch.bfloat16)
    loss = LOSSES[name]
    for function, arguments in ((loss.discriminator, (real, fake, ONE, ZERO)), (loss.generator, (fake, real))):
        low = function(*arguments)
        high = function(*(argument.double() for argument in arguments))
        assert low.dtype == torch.float32
        torch.testing.assert_close(low.double(), high, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_flags_match_the_functions(name: str) -> None:
    real, fake = logits(8)
    loss = LOSSES[name]
    plain, smooth = (loss.discriminator(real, fake, torch.tensor(label), ZERO) for label in (1.0, 0.8))
    assert bool(plain != smooth) == loss.has_labels
    assert bool(loss.generator(fake, real) != loss.generator(fake, real + 1)) == loss.needs_real


@pytest.mark.parametrize("name", LOSSES)
def test_signs_of_the_gradients(name: str) -> None:
    """A gradient step increases logits of reals and decreases those of fakes for D, increases those of fakes for G."""
    real = torch.zeros(4, requires_grad=True)
    fake = torch.zeros(4, requires_grad=True)
    # Between its targets 0 and 1, where both labels of least squares pull.
    shift = 0.5 if name == "least_squares" else 0.0
    lift, sink = torch.autograd.grad(LOSSES[name].discriminator(real + shift, fake + shift, ONE, ZERO), (real, fake))
    (fool,) = torch.autograd.grad(LOSSES[name].generator(fake, real), fake)
    assert bool((lift < 0).all())
    assert bool((sink > 0).all())
    assert bool((fool < 0).all())


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.probability is not None])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_probability_of_the_optimal_logit_is_the_fraction_of_reals(name: str, share: float) -> None:
    probability = LOSSES[name].probability
    assert probability is not None
    assert float(probability(torch.tensor(best_response(name, share)))) == pytest.approx(share, abs=0.03)


def test_total_is_the_adversarial_term_plus_weighted_penalties() -> None:
    adversarial, r1, lecam = torch.tensor(1.5, requires_grad=True), torch.tensor(2.0), torch.tensor(4.0)
    penalties = {"r1": WeightedPenalty(0.5, r1), "lecam": WeightedPenalty(torch.tensor(0.25), lecam)}
    assert total_loss(adversarial, penalties).item() == 1.5 + 0.5 * 2 + 0.25 * 4
    assert total_loss(adversarial, {}).item() == 1.5
    terms = loss_terms(adversarial, penalties)
    assert {name: term.item() for name, term in terms.items()} == {"adversarial": 1.5, "r1": 2.0, "lecam": 4.0}
    assert not terms["adversarial"].requires_grad
