"""Seconds per 1,000 samples."""

import time

import pytest
import torch

from equipoise.core import timed_sampling
from equipoise.core.sampling_cost import SamplingCost
from equipoise.core.timed_sampling import time_sampling

CPU = torch.device("cpu")


def test_time_is_that_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cpu_clock = iter([10.0, 13.0]), iter([5.0, 6.5])
    monkeypatch.setattr(timed_sampling, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timed_sampling, "process_time", lambda: next(cpu_clock))
    samples, cost = time_sampling(lambda: torch.ones(20, 2), 16, CPU)
    assert torch.equal(samples, torch.ones(20, 2))
    threads = torch.get_num_threads()
    assert cost == SamplingCost(20, 3.0, 1.5, 16, "cpu", threads)
    assert cost.to_json() == {
        "seconds_per_1000": 150.0,
        "cpu_seconds_per_1000": 75.0,
        "count": 20,
        "batch_size": 16,
        "device": "cpu",
        "threads": threads,
    }


def test_cost_is_described_in_one_line() -> None:
    cost = SamplingCost(500, 0.21, 0.4, 16, "cpu", 2)
    assert str(cost) == "0.42 s per 1,000 samples (0.8 s of CPU time), 16 at once on cpu, 2 threads"
    assert str(SamplingCost(1000, 1, 1, 250, "cuda:0", 1)).endswith("250 at once on cuda:0, 1 thread")


def test_waiting_takes_no_cpu_time() -> None:
    def wait() -> torch.Tensor:
        time.sleep(0.05)
        return torch.zeros(10, 1)

    cost = time_sampling(wait, 10, CPU).cost
    assert cost.seconds >= 0.05
    assert cost.cpu_seconds < 0.05
    assert cost.seconds_per_1000 == pytest.approx(100 * cost.seconds)
