"""Chains of noise: the forward process by statistics, the way back by a second derivation, published schedules."""

import math

import pytest
import torch
from torch import Generator

from equipoise.nn.noise_chain import NoiseChain, continuous_chain, linear_chain

CPU = torch.device("cpu")
CHAINS = [linear_chain(1000, CPU), linear_chain(7, CPU), continuous_chain(4, CPU)]


def times(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def share(chain: NoiseChain, time: int) -> float:
    return math.exp(chain.log_shares[time].double().item())


def test_linear_chain_is_the_product_of_the_betas() -> None:
    """Ho 2020, section 4: T = 1,000 leaves 4.04e-5 of the variance."""
    product = 1.0
    for step in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
    assert share(linear_chain(1000, CPU), 1000) == pytest.approx(product, rel=1e-5)
    assert share(linear_chain(1000, CPU), 1) == pytest.approx(1 - 1e-4, rel=1e-7)
    assert share(linear_chain(1, CPU), 1) == pytest.approx(1 - 1e-4, rel=1e-7)


def test_continuous_chain_integrates_the_rate() -> None:
    """a_t = exp(-∫ 0.1 + 19.9 u du) from 0.001 to the time of step t, by the midpoint rule."""
    chain = continuous_chain(4, CPU)
    for step in range(5):
        end = 1e-3 + (1 - 1e-3) * step / 4
        width = (end - 1e-3) / 1000
        integral = sum((0.1 + 19.9 * (1e-3 + (index + 0.5) * width)) * width for index in range(1000))
        assert share(chain, step) == pytest.approx(math.exp(-integral), rel=1e-5)


@pytest.mark.parametrize("chain", CHAINS)
def test_shares_fall_from_one(chain: NoiseChain) -> None:
    assert chain.log_shares[0] == 0
    assert (chain.log_shares.diff() < 0).all()
    assert chain.length == len(chain.log_shares) - 1


@pytest.mark.parametrize("chain", CHAINS)
def test_mean_and_deviation_of_noisy_samples(chain: NoiseChain) -> None:
    time = chain.length // 2
    noise = torch.randn(20_000, 1, generator=Generator().manual_seed(0))
    noisy = chain.add_noise(torch.full((20_000, 1), 0.8), noise, None, torch.full((20_000,), time), std=0.05)
    deviation = 0.05 * math.sqrt(1 - share(chain, time))
    assert noisy.mean().item() == pytest.approx(0.8 * math.sqrt(share(chain, time)), abs=4 * deviation / 141)
    assert noisy.std().item() == pytest.approx(deviation, rel=0.02)


def test_time_zero_changes_nothing() -> None:
    samples = torch.randn(3, 2, 4, 4, generator=Generator().manual_seed(0))
    assert torch.equal(CHAINS[0].add_noise(samples, torch.ones_like(samples), None, times(0, 0, 0)), samples)


def test_two_steps_are_one_in_distribution() -> None:
    """x_3 of x_1 of x_0 has the coefficients of x_3 of x_0: the mean, and the sum of both variances."""
    chain = continuous_chain(4, CPU)
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    start, end = times(1), times(3)
    mean = chain.add_noise(chain.add_noise(one, zero, None, start), zero, start, end)
    assert mean.item() == pytest.approx(chain.add_noise(one, zero, None, end).item(), rel=1e-6)
    first = chain.add_noise(chain.add_noise(zero, one, None, start), zero, start, end)
    second = chain.add_noise(zero, one, start, end)
    whole = chain.add_noise(zero, one, None, end)
    assert (first.square() + second.square()).item() == pytest.approx(whole.square().item(), rel=1e-6)


@pytest.mark.parametrize(("chain", "start", "end"), [(CHAINS[2], 4, 3), (CHAINS[2], 3, 1), (CHAINS[0], 700, 699)])
def test_the_way_back_is_bayes_rule(chain: NoiseChain, start: int, end: int) -> None:
    """Second derivation: precisions and precision-weighted means of the two Gaussians q(x_s|x_0), q(x_t|x_s) add."""
    a_s, a_t = share(chain, end), share(chain, start)
    clean, noisy = 0.7, -0.4
    prior_precision = 1 / (1 - a_s)
    factor, variance = math.sqrt(a_t / a_s), 1 - a_t / a_s
    precision = prior_precision + factor**2 / variance
    mean = (prior_precision * math.sqrt(a_s) * clean + factor / variance * noisy) / precision
    values = torch.tensor([[clean]]), torch.tensor([[noisy]])
    actual_mean = chain.step_back(*values, torch.zeros(1, 1), times(start), times(end)).item()
    deviation = chain.step_back(*values, torch.ones(1, 1), times(start), times(end)).item() - actual_mean
    assert actual_mean == pytest.approx(mean, abs=2e-4)
    assert deviation == pytest.approx(precision**-0.5, rel=2e-3)


def test_one_step_back_has_the_coefficients_of_the_paper() -> None:
    """Ho 2020, equation 7, with beta_t = 1 - a_t / a_{t-1}."""
    chain = continuous_chain(4, CPU)
    a_1, a_2 = share(chain, 1), share(chain, 2)
    beta = 1 - a_2 / a_1
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)

    def coefficient(*values: torch.Tensor) -> float:
        return chain.step_back(*values, times(2), times(1)).item()

    assert coefficient(one, zero, zero) == pytest.approx(math.sqrt(a_1) * beta / (1 - a_2), rel=1e-5)
    assert coefficient(zero, one, zero) == pytest.approx(math.sqrt(1 - beta) * (1 - a_1) / (1 - a_2), rel=1e-5)
    assert coefficient(zero, zero, one) == pytest.approx(math.sqrt((1 - a_1) / (1 - a_2) * beta), rel=1e-5)


def test_the_last_step_back_is_the_clean_sample_to_the_bit() -> None:
    source = Generator().manual_seed(0)
    clean, noisy, noise = (torch.randn(5, 3, 4, 4, generator=source) for _ in range(3))
    start = times(1, 2, 3, 4, 4)
    assert torch.equal(CHAINS[2].step_back(clean, noisy, noise, start, torch.zeros_like(start)), clean)


def test_the_way_back_after_the_way_there_has_the_law_of_the_chain() -> None:
    """For x_0 = 0.5, x_3 drawn and x_1 drawn given both has the mean and deviation of q(x_1 | x_0)."""
    chain, source = continuous_chain(4, CPU), Generator().manual_seed(0)
    count = 40_000
    clean = torch.full((count, 1), 0.5)
    start, end = torch.full((count,), 3), torch.full((count,), 1)
    noisy = chain.add_noise(clean, torch.randn(count, 1, generator=source), None, start)
    back = chain.step_back(clean, noisy, torch.randn(count, 1, generator=source), start, end)
    assert back.mean().item() == pytest.approx(0.5 * math.sqrt(share(chain, 1)), abs=0.015)
    assert back.std().item() == pytest.approx(math.sqrt(1 - share(chain, 1)), rel=0.015)
