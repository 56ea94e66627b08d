"""The pool of earlier fakes: it fills, then changes places with new ones, and loses none."""

import pytest
import torch
from torch import Tensor

from equipoise.nn.pool import swapped


def numbered(first: int, count: int) -> Tensor:
    """Fakes that can be told apart: (count, 1, 2, 2), each full of its number."""
    return torch.arange(first, first + count).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def numbers(images: Tensor) -> list[int]:
    return sorted(int(image[0, 0, 0]) for image in images)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_while_it_fills_new_fakes_are_shown_and_nothing_is_drawn() -> None:
    generator = seeded()
    before = generator.get_state()
    pool = torch.zeros(0, 1, 2, 2)
    for first in (0, 4):
        drawn = swapped(pool, numbered(first, 4), 8, generator)
        assert numbers(drawn.shown) == list(range(first, first + 4))
        pool = drawn.pool
    assert numbers(pool) == list(range(8))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("held", "new", "size"), [(8, 4, 8), (6, 4, 8), (3, 8, 3), (0, 8, 3), (5, 2, 5)])
def test_no_fake_is_lost_and_only_those_that_enter_are_doubled(held: int, new: int, size: int) -> None:
    drawn = swapped(numbered(0, held), numbered(100, new), size, seeded())
    entering = range(100, 100 + min(size - held, new))
    assert numbers(torch.cat([drawn.shown, drawn.pool])) == sorted([*range(held), *range(100, 100 + new), *entering])
    assert len(drawn.shown) == new
    assert len(drawn.pool) == min(size, held + new)


def test_half_of_the_new_ones_change_places() -> None:
    """1,000 batches of 4: 4,000 coins, whose share of heads scatters by 0.008."""
    pool, generator, earlier = numbered(0, 50), seeded(), 0
    for number in range(1000):
        drawn = swapped(pool, numbered(1000 + 4 * number, 4), 50, generator)
        earlier += sum(shown < 1000 + 4 * number for shown in numbers(drawn.shown))
        pool = drawn.pool
    assert earlier / 4000 == pytest.approx(0.5, abs=0.04)


def test_each_place_of_the_pool_is_as_likely() -> None:
    """2,000 batches of 2 over 5 places: 400 swaps each, which scatter by 18."""
    generator, left = seeded(), torch.zeros(5)
    for _ in range(2000):
        drawn = swapped(numbered(0, 5), numbered(100, 2), 5, generator)
        left += torch.tensor([float(place not in numbers(drawn.pool)) for place in range(5)])
    assert left.sum().item() == pytest.approx(2000, abs=150)
    assert (left - 400).abs().max() < 90


def test_without_a_pool_new_fakes_are_shown() -> None:
    drawn = swapped(torch.zeros(0, 1, 2, 2), numbered(0, 4), 0, seeded())
    assert numbers(drawn.shown) == [0, 1, 2, 3]
    assert len(drawn.pool) == 0


def test_nothing_carries_a_gradient() -> None:
    drawn = swapped(numbered(0, 3), numbered(9, 3).requires_grad_(), 3, seeded())
    assert not drawn.shown.requires_grad
    assert not drawn.pool.requires_grad
