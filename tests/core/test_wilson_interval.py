"""Wilson's interval against a second derivation, and the values of a published table."""

import math

import pytest

from equipoise.core.wilson_interval import wilson_interval


def solve(count: int, total: int, bound: float) -> float:
    """Return the share q between the observed one and `bound` with |p - q| = z sqrt(q (1 - q) / N), by bisection."""
    p, inside, outside = count / total, count / total, bound
    for _ in range(200):
        q = (inside + outside) / 2
        is_inside = abs(p - q) <= 1.959963984540054 * math.sqrt(q * (1 - q) / total)
        inside, outside = (q, outside) if is_inside else (inside, q)
    return inside


@pytest.mark.parametrize(("count", "total"), [(1, 2), (7, 10), (1, 40), (39, 40), (250, 400), (3, 5)])
def test_it_holds_the_shares_from_which_the_observed_one_is_likely(count: int, total: int) -> None:
    low, high = wilson_interval(count, total)
    assert low == pytest.approx(solve(count, total, 0.0), abs=1e-9)
    assert high == pytest.approx(solve(count, total, 1.0), abs=1e-9)


def test_published_values() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    expected = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (count, total), bounds in expected.items():
        assert wilson_interval(count, total) == pytest.approx(bounds, abs=5e-5)


def test_extremes() -> None:
    assert wilson_interval(0, 3)[0] == 0.0
    assert wilson_interval(3, 3)[1] == 1.0
    assert wilson_interval(3, 3)[0] == pytest.approx(1 - wilson_interval(0, 3)[1])
    with pytest.raises(ValueError, match="case"):
        wilson_interval(0, 0)
