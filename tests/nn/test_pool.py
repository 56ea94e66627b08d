"""The pool of earlier samples: it fills, then exchanges samples, and loses none."""

import pytest
import torch
from torch import Tensor

from equipoise.nn.pool import exchange_with_pool


def numbered(first: int, count: int) -> Tensor:
    """Return distinguishable images (count, 1, 2, 2), each filled with its number."""
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def numbers(images: Tensor) -> list[int]:
    return sorted(int(image[0, 0, 0]) for image in images)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_samples_are_returned_unchanged_while_the_pool_fills() -> None:
    generator = seeded()
    before = generator.get_state()
    pool = torch.zeros(0, 1, 2, 2)
    for first in (0, 4):
        result = exchange_with_pool(pool, numbered(first, 4), 8, generator)
        assert numbers(result.samples) == list(range(first, first + 4))
        pool = result.pool
    assert numbers(pool) == list(range(8))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("pool_size", "new", "size"), [(8, 4, 8), (6, 4, 8), (3, 8, 3), (0, 8, 3), (5, 2, 5)])
def test_no_sample_is_lost(pool_size: int, new: int, size: int) -> None:
    result = exchange_with_pool(numbered(0, pool_size), numbered(100, new), size, seeded())
    entering = range(100, 100 + min(size - pool_size, new))
    assert numbers(torch.cat([result.samples, result.pool])) == sorted(
        [*range(pool_size), *range(100, 100 + new), *entering]
    )
    assert len(result.samples) == new
    assert len(result.pool) == min(size, pool_size + new)


def test_half_of_the_samples_are_exchanged() -> None:
    """1,000 batches of 4: the standard deviation of the share is 0.008."""
    pool, generator, earlier = numbered(0, 50), seeded(), 0
    for number in range(1000):
        result = exchange_with_pool(pool, numbered(1000 + 4 * number, 4), 50, generator)
        earlier += sum(value < 1000 + 4 * number for value in numbers(result.samples))
        pool = result.pool
    assert earlier / 4000 == pytest.approx(0.5, abs=0.04)


def test_samples_of_the_pool_are_exchanged_uniformly() -> None:
    """2,000 batches of 2 with 5 positions: 400 exchanges each, with a standard deviation of 18."""
    generator, counts = seeded(), torch.zeros(5)
    for _ in range(2000):
        result = exchange_with_pool(numbered(0, 5), numbered(100, 2), 5, generator)
        counts += torch.tensor([float(position not in numbers(result.pool)) for position in range(5)])
    assert counts.sum().item() == pytest.approx(2000, abs=150)
    assert (counts - 400).abs().max() < 90


def test_samples_are_unchanged_without_a_pool() -> None:
    result = exchange_with_pool(torch.zeros(0, 1, 2, 2), numbered(0, 4), 0, seeded())
    assert numbers(result.samples) == [0, 1, 2, 3]
    assert len(result.pool) == 0


def test_results_are_detached() -> None:
    result = exchange_with_pool(numbered(0, 3), numbered(9, 3).requires_grad_(), 3, seeded())
    assert not result.samples.requires_grad
    assert not result.pool.requires_grad
