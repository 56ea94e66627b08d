"""Measurement of how much time samples take."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.sampling_cost import SamplingCost


class TimedSamples(NamedTuple):
    """Samples (N, ...), and their cost."""

    samples: Tensor
    cost: SamplingCost


def time_sampling(generate: Callable[[], Tensor], batch_size: int, device: torch.device) -> TimedSamples:
    """Generate samples (N, ...) on a device and measure the time. `batch_size`: of `generate`, for the record."""
    _wait_for(device)
    start, cpu_start = perf_counter(), process_time()
    samples = generate()
    _wait_for(device)
    seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    threads = torch.get_num_threads()
    return TimedSamples(samples, SamplingCost(len(samples), seconds, cpu_seconds, batch_size, str(device), threads))


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
