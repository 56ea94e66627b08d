"""Probes: logits and samples of the current networks, computed without changing the training state."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch, Stream
from equipoise.core.knobs import Knobs
from equipoise.core.model import Moment
from equipoise.training.optimizers import autocast
from equipoise.training.state import TrainingState

PROBE_SAMPLES = 256
"""Logits per set, rounded up to whole batches; the standard error of a rank of 256 against 256 is 0.05."""

GENERATION_BATCH = 250
"""Number of samples generated at once."""


def draw_batches(stream: Stream, index: int, batch_size: int) -> list[Batch]:
    """Return the batches of probe number `index`: PROBE_SAMPLES samples, rounded up to whole batches."""
    count = -(-PROBE_SAMPLES // batch_size)
    return [stream.batch(index * count + i) for i in range(count)]


def real_samples(batches: Sequence[object]) -> Tensor | None:
    """Return the real samples of batches, (N, ...) on the CPU; None for custom batches that have more than one kind."""
    parts = [batch.real for batch in batches if isinstance(batch, Batch)]
    return torch.cat(parts) if parts else None


def probe_logits(
    state: TrainingState, batches: Sequence[Batch], index: int, knobs: Knobs, progress: float
) -> Tensor | None:
    """Return the logits of the discriminator for batches of real samples, flattened: (N,) or longer.

    None for a model without discriminator, or one that knobs switch off.

    Computed in training mode with the augmentation of training; buffers are restored afterwards, and random numbers
    come from a separate generator, seeded with `index`.
    """
    compute_logits = state.model.logits
    if compute_logits is None:
        return None
    generator = torch.Generator(state.device).manual_seed(index)
    moment = Moment(state.step, state.images, progress, knobs, generator, state.memory)
    with restored_buffers(state.model.networks.values()), torch.no_grad(), autocast(state.precision, state.device):
        logits = [compute_logits(state.model.networks, batch.to(state.device), moment) for batch in batches]
    parts = [part.flatten() for part in logits if part is not None]
    return torch.cat(parts) if parts else None


@contextmanager
def restored_buffers(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Restore the buffers of networks at the end of the context."""
    buffers = [buffer for network in networks for buffer in network.buffers()]
    copies = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, copies, strict=True):
            buffer.copy_(value)


@torch.no_grad()
def generate_samples(
    state: TrainingState, latents: Tensor, condition: Tensor | None, batch_size: int = GENERATION_BATCH
) -> Tensor:
    """Generate samples with the averaged generator: (N, ...) float32 on the CPU, for latents and labels (N, ...).

    They are sampled with `Model.preview_sampling`.
    """
    parts = []
    with evaluation_mode(state.sampling_networks.values()), autocast(state.precision, state.device):
        for start in range(0, len(latents), batch_size):
            rows = slice(start, start + batch_size)
            labels = None if condition is None else condition[rows].to(state.device)
            samples = state.model.generate(
                state.sampling_networks, latents[rows].to(state.device), labels, state.model.preview_sampling
            )
            parts.append(samples.float().cpu())
    return torch.cat(parts)


@contextmanager
def evaluation_mode(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Put networks into evaluation mode within the context, so that running statistics do not change."""
    modules = [module for network in networks for module in network.modules()]
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def to_array(samples: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Convert a tensor on the CPU to the array that an event holds."""
    return samples.numpy().astype(np.float32)
