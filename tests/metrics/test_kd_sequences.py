"""Kernel distance of sequences: zero for the same distribution, larger for other courses and for noise."""

import math

import torch

from equipoise.core.data import Batch, DataSpec
from equipoise.metrics.kd_sequences import KdSequences


def waves(count, seed, frequency=2.0, noise=0.05):
    source = torch.Generator().manual_seed(seed)
    phase = torch.rand(count, 1, 1, generator=source) * 2 * math.pi
    time = torch.linspace(0, 2 * math.pi, 50)
    return 0.6 * torch.sin(frequency * time + phase) + noise * torch.randn(count, 2, 50, generator=source)


def distance(fake):
    metric = KdSequences()
    return metric.value(metric.statistics(Batch(waves(300, 0))), fake)


def test_distance_grows_with_the_difference():
    same, faster, noisy = distance(waves(300, 1)), distance(waves(300, 1, 4.0)), distance(waves(300, 1, 2.0, 0.3))
    assert abs(same) < 0.01
    assert faster > 5 * abs(same)
    assert noisy > 5 * abs(same)
    assert distance(torch.zeros(300, 2, 50)) > faster


def test_it_suits_sequences_of_any_length():
    assert KdSequences().suits(DataSpec((2, 50)))
    assert not KdSequences().suits(DataSpec((1, 16, 16)))
    assert not KdSequences().suits(DataSpec((2,)))
    assert KdSequences().features(torch.zeros(3, 1, 8)).isfinite().all()
    assert KdSequences().features(torch.zeros(3, 1, 1000)).shape == (3, 64 + 16)
