"""Seconds per 1,000 samples."""

import time

import torch

from equipoise.evaluation import sampling_cost
from equipoise.evaluation.sampling_cost import SamplingCost, generate_timed
from equipoise.inference.generator import load


def test_time_is_measured_around_the_generator(trained, monkeypatch) -> None:
    generator = load(trained)
    clock, cpu_clock = iter([10.0, 13.0]), iter([5.0, 6.5])
    monkeypatch.setattr(sampling_cost, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(sampling_cost, "process_time", lambda: next(cpu_clock))
    samples, cost = generate_timed(generator, generator.latents(20), generator.labels(20))
    assert torch.equal(samples, generator.sample(20))
    assert cost == SamplingCost(20, 3.0, 1.5, 16, "cpu", torch.get_num_threads())
    assert cost.to_json() == {
        "seconds_per_1000": 150.0,
        "cpu_seconds_per_1000": 75.0,
        "count": 20,
        "batch_size": 16,
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }


def test_time_is_plausible(trained) -> None:
    generator = load(trained)
    start = time.perf_counter()
    cost = generate_timed(generator, generator.latents(32), generator.labels(32)).cost
    assert 0 < cost.seconds <= time.perf_counter() - start
    assert cost.cpu_seconds > 0
