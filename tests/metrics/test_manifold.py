"""Precision, recall, density and coverage, by hand and by their definitions."""

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
    """All four, pair by pair: Kynkäänniemi 2019, equation 2; Naeem 2020, equations 3 and 4."""
    real, fake = real.double(), fake.double()

    def away(x, y):
        return (x - y).square().sum().sqrt().item()

    def radius(x, others):
        return sorted(away(x, other) for other in others)[k]

    ours, theirs = [radius(x, real) for x in real], [radius(y, fake) for y in fake]
    inside = [[away(x, y) <= r for x, r in zip(real, ours, strict=True)] for y in fake]
    covered = [any(away(x, y) <= r for y, r in zip(fake, theirs, strict=True)) for x in real]
    near = [any(away(x, y) < r for y in fake) for x, r in zip(real, ours, strict=True)]
    return (
        sum(map(any, inside)) / len(fake),
        sum(covered) / len(real),
        sum(map(sum, inside)) / k / len(fake),
        sum(near) / len(real),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_are_their_definitions(k, monkeypatch):
    monkeypatch.setattr(_manifold, "ROWS", 7)
    real, fake = points(30, 0), points(40, 1, 1.2, 0.5)
    result = [metric("samples", k).compare(ReferenceSet(real), fake, Bootstrap()).value for metric in METRICS]
    assert result == pytest.approx(by_definition(real, fake, k))


def test_by_hand():
    """Reals at 0, 1, 2, 10: radii 1, 1, 1, 8. Samples at 0.5 and 30: radii 29.5."""
    real, fake = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[0.5], [30.0]])
    result = [metric("samples", 1).compare(ReferenceSet(real), fake, Bootstrap()).value for metric in METRICS]
    assert result == [0.5, 1.0, 1.0, 0.5]


def test_perfect_samples_cover_as_much_as_naeem_derives():
    """E[coverage] = 1 - (N - 1) … (N - k) / ((2N - 1) … (2N - k)) for as many samples as reals, whatever they are."""
    count, k, share = 200, 5, 1.0
    for step in range(1, k + 1):
        share *= (count - step) / (2 * count - step)
    result = [
        Coverage("samples")
        .compare(ReferenceSet(points(count, 2 * seed)), points(count, 2 * seed + 1), Bootstrap())
        .value
        for seed in range(30)
    ]
    assert sum(result) / len(result) == pytest.approx(1 - share, abs=0.006)


def test_an_interval_of_a_share_is_as_wide_as_chance_has_it():
    """Of a mean of N draws of 0 and 1: ± 1.96 √(p (1 - p) / N)."""
    figure = Precision("samples").compare(ReferenceSet(points(100, 0)), points(400, 1, 1.5), Bootstrap(1000))
    low, high = figure.interval
    assert low < figure.value < high
    wide = 2 * 1.96 * (figure.value * (1 - figure.value) / 400) ** 0.5
    assert high - low == pytest.approx(wide, rel=0.15)


def test_unequal_counts_are_told():
    figure = Density("samples").compare(ReferenceSet(points(20, 0)), points(60, 1), Bootstrap())
    assert figure.doubts == ("60 samples beside 20 reals: compare it at the same two counts only",)
    assert Density("samples").compare(ReferenceSet(points(50, 0)), points(60, 1), Bootstrap()).doubts == ()


def test_copies_of_reals_lie_at_no_distance():
    real = 100 + points(50, 0)
    assert _manifold.nearest(real, real, 1).distance.max() < 1e-5
    assert torch.equal(_manifold.nearest(real, real, 1).row[:, 0], torch.arange(50))


def test_too_few_samples_for_their_neighbours():
    with pytest.raises(DataError, match="there are 3 samples, too few for 3 neighbours each; take more"):
        Precision("samples").compare(ReferenceSet(points(3, 0)), points(9, 1), Bootstrap())
    with pytest.raises(DataError, match="there are 0 samples, too few for 1 neighbours"):
        _manifold.nearest(points(3, 0), points(0, 1), 1)


def test_what_they_suit():
    assert Precision("samples").suits(DataSpec((2,)))
    assert Precision("digits").suits(DataSpec((1, 28, 28)))
    assert not Precision("digits").suits(DataSpec((2,)))
