"""Precision, recall, density and coverage, compared with values by hand and with their definitions."""

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics import _manifold
from equipoise.metrics.coverage import Coverage
from equipoise.metrics.density import Density
from equipoise.metrics.precision import Precision
from equipoise.metrics.recall import Recall

METRICS = (Precision, Recall, Density, Coverage)


def points(count, seed, scale=1.0, shift=0.0):
    return scale * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)) + shift


def by_definition(real, fake, k):
    """Compute all four pair by pair: Kynkäänniemi 2019, equation 2; Naeem 2020, equations 3 and 4."""
    real, fake = real.double(), fake.double()

    def away(x, y):
        return (x - y).square().sum().sqrt().item()

    def radius(x, others):
        return sorted(away(x, other) for other in others)[k]

    real_radii, fake_radii = [radius(x, real) for x in real], [radius(y, fake) for y in fake]
    inside = [[away(x, y) <= r for x, r in zip(real, real_radii, strict=True)] for y in fake]
    covered = [any(away(x, y) <= r for y, r in zip(fake, fake_radii, strict=True)) for x in real]
    near = [any(away(x, y) < r for y in fake) for x, r in zip(real, real_radii, strict=True)]
    return (
        sum(map(any, inside)) / len(fake),
        sum(covered) / len(real),
        sum(map(sum, inside)) / k / len(fake),
        sum(near) / len(real),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_values_equal_the_definitions(k, monkeypatch):
    monkeypatch.setattr(_manifold, "ROWS", 7)
    real, fake = points(30, 0), points(40, 1, 1.2, 0.5)
    result = [metric("samples", k).compute(ReferenceSet(real), fake, Bootstrap()).value for metric in METRICS]
    assert result == pytest.approx(by_definition(real, fake, k))


def test_values_computed_by_hand():
    """Reals at 0, 1, 2, 10: radii 1, 1, 1, 8. Samples at 0.5 and 30: radii 29.5."""
    real, fake = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[0.5], [30.0]])
    result = [metric("samples", 1).compute(ReferenceSet(real), fake, Bootstrap()).value for metric in METRICS]
    assert result == [0.5, 1.0, 1.0, 0.5]


def test_coverage_of_perfect_samples_equals_theory():
    """E[coverage] = 1 - (N - 1) … (N - k) / ((2N - 1) … (2N - k)) for N samples and N reals of any distribution."""
    count, k, share = 200, 5, 1.0
    for step in range(1, k + 1):
        share *= (count - step) / (2 * count - step)
    result = [
        Coverage("samples")
        .compute(ReferenceSet(points(count, 2 * seed)), points(count, 2 * seed + 1), Bootstrap())
        .value
        for seed in range(30)
    ]
    assert sum(result) / len(result) == pytest.approx(1 - share, abs=0.006)


def test_interval_of_a_proportion_has_binomial_width():
    """The interval of a proportion: ± 1.96 √(p (1 - p) / N)."""
    result = Precision("samples").compute(ReferenceSet(points(100, 0)), points(400, 1, 1.5), Bootstrap(1000))
    low, high = result.interval
    assert low < result.value < high
    wide = 2 * 1.96 * (result.value * (1 - result.value) / 400) ** 0.5
    assert high - low == pytest.approx(wide, rel=0.15)


def test_unequal_counts_give_a_warning():
    result = Density("samples").compute(ReferenceSet(points(20, 0)), points(60, 1), Bootstrap())
    assert ["60 samples" in warning and "20 reals" in warning for warning in result.warnings] == [True]
    assert Density("samples").compute(ReferenceSet(points(50, 0)), points(60, 1), Bootstrap()).warnings == ()


def test_copies_have_distance_zero():
    real = 100 + points(50, 0)
    assert _manifold.nearest_neighbours(real, real, 1).distance.max() < 1e-5
    assert torch.equal(_manifold.nearest_neighbours(real, real, 1).row[:, 0], torch.arange(50))


def test_too_few_samples_are_refused():
    with pytest.raises(DataError, match="there are 3 samples, too few for 3 neighbours each"):
        Precision("samples").compute(ReferenceSet(points(3, 0)), points(9, 1), Bootstrap())
    with pytest.raises(DataError, match="there are 0 samples, too few for 1 neighbours"):
        _manifold.nearest_neighbours(points(3, 0), points(0, 1), 1)


def test_suits_depends_on_the_features():
    assert Precision("samples").suits(DataSpec((2,)))
    assert Precision("digits").suits(DataSpec((1, 28, 28)))
    assert not Precision("digits").suits(DataSpec((2,)))
