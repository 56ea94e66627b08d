"""Mode counts as metrics, for mixtures and for stacked digits."""

import math

import pytest
import torch

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, ReferenceSet
from equipoise.data.digits import Digits
from equipoise.data.grid import Grid
from equipoise.metrics._features_small import StackedDigitNumbers
from equipoise.metrics.high_quality import HighQuality
from equipoise.metrics.mixture_modes import MixtureModes
from equipoise.metrics.modes import Modes
from equipoise.metrics.reverse_kl import ReverseKl
from equipoise.metrics.stacked_modes import StackedModes
from equipoise.metrics.stacked_reverse_kl import StackedReverseKl


@pytest.fixture(scope="module")
def grid():
    held_out = Grid().stream("held_out", 1000, 0).batch(0)
    return ReferenceSet(held_out.real, held_out.condition)


def test_metrics_equal_the_mode_counts(grid):
    fake = Grid().stream("train", 300, 0).batch(0)
    some = fake.real[fake.condition < 7]
    counts = MixtureModes().counts(MixtureModes().statistics(grid), some)
    results = [
        metric.compute(grid, some, Bootstrap(30)) for metric in (Modes(), HighQuality(), ReverseKl(), MixtureModes())
    ]
    assert [result.value for result in results[:3]] == [7, counts.high_quality, pytest.approx(counts.reverse_kl)]
    assert counts.reverse_kl == pytest.approx(math.log(25 / 7), abs=0.1)
    assert results[3].value == pytest.approx(7 / 25 * counts.high_quality)
    for result in results:
        assert result.interval[0] <= result.value + 1e-12
        assert result.value <= result.interval[1] + 1e-12


def test_bad_samples_belong_to_no_mode(grid):
    nowhere = torch.full((20, 2), 50.0)
    result = [metric.compute(grid, nowhere, Bootstrap()).value for metric in (Modes(), HighQuality(), ReverseKl())]
    assert result == [0, 0, pytest.approx(math.log(25))]


def test_stacked_digits_are_classified_per_channel():
    batch = Digits().stream("train", 300, 0).batch(0)
    stacked, labels = batch.real.view(100, 3, 32, 32), batch.condition.view(100, 3)
    numbers = StackedDigitNumbers()(stacked)[:, 0].long()
    assert (numbers == labels @ torch.tensor([100, 10, 1])).float().mean() > 0.97


def test_stacks_are_counted_evenly():
    """Numbers 0 to 999 once each: all modes, divergence 0; one number only: one mode, divergence ln 1000."""
    every, one = torch.arange(1000.0)[:, None], torch.full((50, 1), 7.0)
    nothing = ReferenceSet(torch.zeros(0, 1))
    assert StackedModes().compute(nothing, every, Bootstrap()).value == 1000
    assert StackedReverseKl().compute(nothing, every, Bootstrap()).value == pytest.approx(0, abs=1e-12)
    assert StackedModes().compute(nothing, one, Bootstrap(5)).interval == (1, 1)
    assert StackedReverseKl().compute(nothing, one, Bootstrap()).value == pytest.approx(math.log(1000))


def test_stacked_reverse_kl_of_perfect_samples_equals_theory():
    """(K - 1) / (2 N), to first order; 999 / 52,000 = 0.0192 for the usual 26,000 samples."""
    fake = torch.randint(1000, (26_000, 1), generator=torch.Generator().manual_seed(0)).float()
    result = StackedReverseKl().compute(ReferenceSet(torch.zeros(0, 1)), fake, Bootstrap()).value
    assert result == pytest.approx(999 / 52_000, rel=0.15)


def test_suits_points_or_stacked_digits():
    stacked = DataSpec((3, 32, 32), classes=1000)
    assert StackedModes().suits(stacked)
    assert StackedReverseKl().suits(stacked)
    assert not StackedModes().suits(DataSpec((3, 32, 32), classes=10))
    assert not Modes().suits(stacked)
