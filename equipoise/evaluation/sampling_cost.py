"""How much time samples take: seconds per 1,000 samples, and what they were measured with."""

from dataclasses import dataclass
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.inference.generator import Generator


@dataclass(frozen=True, slots=True)
class SamplingCost:
    """Time that `count` samples took, in batches of `batch_size` on a device.

    `seconds`: wall-clock time. `cpu_seconds`: CPU time of this process, all threads together. `device`: such as cpu or
    cuda:0. `threads`: that torch uses on the CPU. Time depends on the machine and on what else runs on it: it is never
    part of a digest, nor of what equal seeds reproduce.
    """

    count: int
    seconds: float
    cpu_seconds: float
    batch_size: int
    device: str
    threads: int

    def to_json(self) -> dict[str, object]:
        """Return seconds per 1,000 samples, and what they were measured with, as JSON values."""
        share = 1000 / self.count
        return {
            "seconds_per_1000": self.seconds * share,
            "cpu_seconds_per_1000": self.cpu_seconds * share,
            "count": self.count,
            "batch_size": self.batch_size,
            "device": self.device,
            "threads": self.threads,
        }


class TimedSamples(NamedTuple):
    """Samples (N, ...) float32, and their cost."""

    samples: Tensor
    cost: SamplingCost


def generate_timed(generator: Generator, latents: Tensor, conditions: Tensor | None) -> TimedSamples:
    """Generate samples as :meth:`Generator.generate`, and measure the time."""
    device = _device(generator)
    _wait_for(device)
    start, cpu_start = perf_counter(), process_time()
    samples = generator.generate(latents, conditions)
    _wait_for(device)
    seconds, cpu_seconds = perf_counter() - start, process_time() - cpu_start
    threads = torch.get_num_threads()
    cost = SamplingCost(len(samples), seconds, cpu_seconds, generator.batch_size, str(device), threads)
    return TimedSamples(samples, cost)


def _device(generator: Generator) -> torch.device:
    """Return the device of the networks; the CPU if they have no weights."""
    weights = (weight for network in generator.networks.values() for weight in network.parameters())
    return next((weight.device for weight in weights), torch.device("cpu"))


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
