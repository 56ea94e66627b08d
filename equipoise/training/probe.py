"""Looking at the players without touching them: watching changes no byte of the training."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.core.data import Batch, Stream
from equipoise.core.knobs import Knobs
from equipoise.core.model import Moment
from equipoise.training.precision import autocast
from equipoise.training.state import TrainingState

PROBE = 256
"""Logits a side, rounded up to whole batches; the standard error of a rank of 256 against 256 is 0.05."""

PIECE = 250
"""Samples made at once."""


@dataclass(frozen=True, slots=True)
class Few:
    """Held-out reals that do not fill a batch of training: all of them at once, beside as many training reals at once.

    `size`: of a batch of either side. The two are alike, for batch norm makes of a real what its neighbours are.
    """

    train: Stream
    held_out: Stream
    size: int


def batches(stream: Stream, turn: int, batch_size: int) -> list[Any]:
    """The reals that are looked at in one turn: PROBE of them, rounded up to whole batches."""
    count = -(-PROBE // batch_size)
    return [stream.batch(turn * count + i) for i in range(count)]


def reals(drawn: Sequence[Any]) -> Tensor | None:
    """The reals of batches, (N, ...) on the CPU; None where batches have no one kind of reals, such as two domains."""
    parts = [batch.real for batch in drawn if isinstance(batch, Batch)]
    return torch.cat(parts) if parts else None


def logits(state: TrainingState, reals: Sequence[Any], turn: int, knobs: Knobs, progress: float) -> Tensor:
    """What the discriminator says of batches of reals: one logit or more for each.

    In training mode, at the batch size and augmentation of training; buffers are put back, and random numbers come
    from a generator of their own, by `turn`.
    """
    generator = torch.Generator(state.device).manual_seed(turn)
    moment = Moment(state.step, state.images, progress, knobs, generator, state.memory)
    with untouched(state.model.networks.values()), torch.no_grad(), autocast(state.precision, state.device):
        result = [state.model.logits(state.model.networks, batch.to(state.device), moment) for batch in reals]
    return torch.cat([part.flatten() for part in result])


@contextmanager
def untouched(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Put the buffers of networks back after whatever was done with them."""
    buffers = [buffer for network in networks for buffer in network.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, kept, strict=True):
            buffer.copy_(value)


@torch.no_grad()
def samples(state: TrainingState, latents: Tensor, condition: Tensor | None, batch_size: int = PIECE) -> Tensor:
    """Samples of the averaged generator, (N, ...) float32 on the CPU, for these latents and labels."""
    parts = []
    with at_rest(state.playing.values()), autocast(state.precision, state.device):
        for start in range(0, len(latents), batch_size):
            rows = slice(start, start + batch_size)
            labels = None if condition is None else condition[rows].to(state.device)
            parts.append(state.model.generate(state.playing, latents[rows].to(state.device), labels).float().cpu())
    return torch.cat(parts)


@contextmanager
def at_rest(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode for a while, so that no running statistic moves."""
    modules = [module for network in networks for module in network.modules()]
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def as_array(made: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A tensor on the CPU as an event carries it."""
    return made.numpy().astype(np.float32)
