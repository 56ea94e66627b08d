"""Sampling with truncated latents from a generator with batch normalisation: statistics for each truncation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from equipoise.core.model import Networks
from equipoise.core.sampling import Sampling
from equipoise.nn.conditional_norm import standing_statistics

BATCHES, BATCH_SIZE = 16, 32
"""Samples from which statistics are estimated: 16 batches as in Brock 2019's code, of a size for CPUs (our choice)."""


@dataclass
class _Estimates:
    """Statistics of one generator by truncation, valid for one version of its tensors."""

    version: tuple[tuple[int, int], ...]
    statistics: dict[float, dict[str, Tensor]] = field(default_factory=dict)


class TruncatedSampler:
    """Generates with batch statistics that fit the truncation (Brock 2019, section 3.1 and appendix C.1).

    The running statistics are those of latents without truncation. For truncation T, the statistics are estimated from
    512 samples with latents truncated at T and all labels, drawn from a fixed generator; so a sample is a function of
    weights, latent, label and T. They are kept until the weights change. `latent`: as in Model. `classes`: 0 for none.
    """

    def __init__(self, latent: Callable[[int, Generator, float | None], Tensor], classes: int) -> None:
        self._latent, self._classes = latent, classes
        self._estimates: WeakKeyDictionary[nn.Module, _Estimates] = WeakKeyDictionary()

    def generate(self, networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
        """Generate samples from latents (N, L) and labels (N,) or None, in evaluation mode."""
        generator = networks["generator"]
        if sampling.truncation is None:
            samples: Tensor = generator(latent, condition)
            return samples
        statistics = self._statistics(generator, sampling.truncation)
        truncated: Tensor = functional_call(generator, statistics, (latent, condition))
        return truncated

    def _statistics(self, network: nn.Module, truncation: float) -> dict[str, Tensor]:
        tensors = (*network.parameters(), *network.buffers())
        version = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        estimates = self._estimates.get(network)
        if estimates is None or estimates.version != version:
            estimates = self._estimates[network] = _Estimates(version)
        if truncation not in estimates.statistics:
            inputs = self._inputs(truncation, tensors[0].device)
            estimates.statistics[truncation] = standing_statistics(network, inputs)
        return estimates.statistics[truncation]

    def _inputs(self, truncation: float, device: torch.device) -> Iterator[tuple[Tensor, Tensor | None]]:
        source = Generator().manual_seed(0)
        for _ in range(BATCHES):
            latent = self._latent(BATCH_SIZE, source, truncation).to(device)
            labels = None
            if self._classes:
                labels = torch.randint(self._classes, (BATCH_SIZE,), generator=source).to(device)
            yield latent, labels
