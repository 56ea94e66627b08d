"""How much time samples take. Imports no torch."""

from dataclasses import dataclass


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

    @property
    def seconds_per_1000(self) -> float:
        """Wall-clock seconds per 1,000 samples."""
        return 1000 * self.seconds / self.count

    @property
    def cpu_seconds_per_1000(self) -> float:
        """CPU seconds per 1,000 samples."""
        return 1000 * self.cpu_seconds / self.count

    def to_json(self) -> dict[str, object]:
        """Return seconds per 1,000 samples, and what they were measured with, as JSON values."""
        return {
            "seconds_per_1000": self.seconds_per_1000,
            "cpu_seconds_per_1000": self.cpu_seconds_per_1000,
            "count": self.count,
            "batch_size": self.batch_size,
            "device": self.device,
            "threads": self.threads,
        }

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return (
            f"{self.seconds_per_1000:.3g} s per 1,000 samples ({self.cpu_seconds_per_1000:.3g} s of CPU time), "
            f"{self.batch_size} at once on {self.device}, {threads}"
        )
