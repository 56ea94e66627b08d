"""Penalties of discriminators with known gradients, and the running means of LeCam."""

import pytest
import torch
from torch import Tensor, nn

from equipoise.losses.penalties import feature_matching, gradient_penalty, lecam, lecam_memory, r1_penalty

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int = 0, count: int = 6) -> Tensor:
    return torch.randn(count, 1, 4, 4, generator=seeded(seed))


def linear(weight: Tensor) -> nn.Module:
    layer = nn.Linear(16, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer, nn.Flatten(0))


def test_r1_penalty_of_a_linear_discriminator() -> None:
    weight = torch.randn(1, 16, generator=seeded())
    discriminator = linear(weight)
    penalty = r1_penalty(discriminator, images())
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    penalty.backward()
    (parameter,) = discriminator.parameters()
    torch.testing.assert_close(parameter.grad, weight)


def test_r1_penalty_of_a_quadratic_discriminator() -> None:
    """D(x) = |x|^2 / 2 has the gradient x."""
    x = images()
    expected = sum(float(sample.square().sum()) for sample in x) / len(x) / 2
    penalty = r1_penalty(lambda x: x.flatten(1).square().sum(1) / 2, x)
    assert float(penalty.detach()) == pytest.approx(expected, rel=1e-5)


def test_no_gradient_reaches_the_samples() -> None:
    discriminator = linear(torch.ones(1, 16))
    x = images().requires_grad_()
    total = r1_penalty(discriminator, x) + gradient_penalty(discriminator, x, x * 2, seeded())
    total.backward()
    assert x.grad is None
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_r1_penalty_agrees_with_finite_differences() -> None:
    """The double backward pass through a small network, in float64."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    weight = network[1].weight
    r1_penalty(network, images().double()).backward()
    step = 1e-5
    with torch.no_grad():
        weight[2, 3] += step
    after_increase = r1_penalty(network, images().double())
    with torch.no_grad():
        weight[2, 3] -= 2 * step
    after_decrease = r1_penalty(network, images().double())
    assert float(weight.grad[2, 3]) == pytest.approx(
        float((after_increase - after_decrease).detach()) / (2 * step), rel=1e-6
    )


def test_penalties_disable_autocast() -> None:
    discriminator = linear(torch.randn(1, 16, generator=seeded()))
    dtypes = []
    discriminator.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    plain = r1_penalty(discriminator, images()), gradient_penalty(discriminator, images(), images(1), seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = (
            r1_penalty(discriminator, images()),
            gradient_penalty(discriminator, images(), images(1).bfloat16().float(), seeded()),
        )
    assert set(dtypes) == {torch.float32}
    assert bool(plain[0] == mixed[0])
    torch.testing.assert_close(plain[1], mixed[1])


def test_penalties_accept_bfloat16_samples() -> None:
    discriminator = linear(torch.ones(1, 16))
    assert r1_penalty(discriminator, images().bfloat16()).dtype == torch.float32
    penalty = gradient_penalty(discriminator, images().bfloat16(), images(1).bfloat16(), seeded())
    assert float(penalty.detach()) == pytest.approx(9.0)


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.25, 0.5625)])
def test_gradient_penalty_of_a_linear_discriminator(slope: float, expected: float) -> None:
    weight = torch.zeros(1, 16)
    weight[0, 5] = slope
    penalty = gradient_penalty(linear(weight), images(), images(1), seeded())
    assert float(penalty.detach()) == pytest.approx(expected, abs=1e-6)


def test_gradient_penalty_interpolates_between_pairs() -> None:
    """Reals at 0 and fakes at 1 put the points on [0, 1]; D(x) = x^2 / 2 has the slope x there."""
    inputs = []

    def discriminator(x: Tensor) -> Tensor:
        inputs.append(x.detach())
        return x.square().sum(1) / 2

    penalty = gradient_penalty(discriminator, torch.zeros(4000, 1), torch.ones(4000, 1), seeded())
    points = inputs[0]
    assert points.min() >= 0
    assert points.max() <= 1
    assert float(points.mean()) == pytest.approx(0.5, abs=0.02)
    # E (u - 1)^2 of u uniform on [0, 1]
    assert float(penalty.detach()) == pytest.approx(1 / 3, abs=0.02)


def test_gradient_penalty_uses_one_coefficient_per_sample() -> None:
    inputs = []

    def discriminator(x: Tensor) -> Tensor:
        inputs.append(x.detach())
        return x.flatten(1).sum(1)

    gradient_penalty(discriminator, torch.zeros(5, 2, 3, 3), torch.ones(5, 2, 3, 3), seeded())
    per_sample = inputs[0].flatten(1)
    assert bool((per_sample == per_sample[:, :1]).all())
    assert len(per_sample[:, 0].unique()) == 5


def test_gradient_penalty_of_a_constant_discriminator_is_finite() -> None:
    discriminator = linear(torch.zeros(1, 16))
    penalty = gradient_penalty(discriminator, images(), images(1), seeded())
    penalty.backward()
    assert float(penalty.detach()) == 1.0
    assert all(bool(parameter.grad.isfinite().all()) for parameter in discriminator.parameters())


def test_gradient_penalty_uses_the_generator() -> None:
    def run(seed: int) -> float:
        return float(gradient_penalty(lambda x: x.flatten(1).pow(3).sum(1), images(), images(1), seeded(seed)).detach())

    before = torch.get_rng_state()
    assert run(3) == run(3) != run(4)
    assert torch.equal(before, torch.get_rng_state())


def test_first_lecam_means_are_those_of_the_batch() -> None:
    real, fake = torch.tensor([4.0, 6.0]), torch.tensor([-2.0, 0.0])
    penalty, memory = lecam(real, fake, lecam_memory(CPU))
    assert float(memory["lecam_real"]) == 5.0
    assert float(memory["lecam_fake"]) == -1.0
    # Reals are 5 and 7 above the mean of fakes, fakes 7 and 5 below that of reals.
    assert float(penalty) == pytest.approx(37 + 37)


def test_lecam_means_are_weighted_averages_of_the_past() -> None:
    decay, memory = 0.8, lecam_memory(CPU)
    batches = torch.randn(7, 5, generator=seeded()) + 2
    for batch in batches:
        memory = lecam(batch, -batch, memory, decay).memory
    weights = torch.tensor([decay ** (6 - i) for i in range(7)])
    expected = (weights * batches.mean(1)).sum() / weights.sum()
    torch.testing.assert_close(memory["lecam_real"], expected)
    torch.testing.assert_close(memory["lecam_fake"], -expected)


def test_lecam_is_0_for_logits_below_the_means() -> None:
    memory = {**lecam_memory(CPU), "lecam_mass": torch.tensor(1.0), "lecam_real": torch.tensor(-3.0)}
    memory["lecam_fake"] = torch.tensor(3.0)
    assert float(lecam(torch.zeros(4), torch.zeros(4), memory).penalty) == 0


def test_lecam_does_not_modify_its_arguments() -> None:
    memory = lecam_memory(CPU)
    before = {name: value.clone() for name, value in memory.items()}
    real, fake = torch.randn(2, 8, generator=seeded()).requires_grad_()
    penalty, after = lecam(real, fake, memory)
    assert all(torch.equal(memory[name], before[name]) for name in before)
    assert set(after) == set(before)
    assert not any(value.requires_grad for value in after.values())
    assert all(value.dim() == 0 and value.dtype == torch.float32 for value in after.values())
    assert penalty.requires_grad


def test_lecam_pulls_logits_together() -> None:
    logit = torch.tensor([[4.0, 5.0], [-4.0, -5.0]], requires_grad=True)
    lecam(logit[0], logit[1], lecam_memory(CPU)).penalty.backward()
    assert logit.grad is not None
    assert bool((logit.grad[0] > 0).all())
    assert bool((logit.grad[1] < 0).all())


def test_feature_matching_compares_means_only() -> None:
    real = torch.tensor([[0.0, 2.0], [4.0, 2.0]])
    fake = torch.tensor([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]])
    assert float(feature_matching(real, fake)) == pytest.approx((1 + 1) / 2)
    assert float(feature_matching(real, real.flip(0))) == 0


def test_feature_matching_averages_over_layers() -> None:
    real = [torch.zeros(4, 3, 2, 2), torch.zeros(4, 5)]
    fake = [torch.ones(4, 3, 2, 2), torch.full((4, 5), 2.0)]
    assert float(feature_matching(real, fake)) == pytest.approx((1 + 4) / 2)
    with pytest.raises(ValueError, match="shorter"):
        feature_matching(real, fake[:1])


def test_feature_matching_has_a_gradient_for_fakes_only() -> None:
    real = torch.ones(4, 3, requires_grad=True)
    fake = torch.zeros(4, 3, requires_grad=True)
    feature_matching(real.bfloat16(), fake.bfloat16()).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert bool((fake.grad < 0).all())
