"""The processes that train one model together, and what they exchange: nothing, if there is one process.

Each process has the whole model and a share of every batch. What a loss or a layer takes over the samples of a batch
must be taken over all shares; :func:`batch_world` says of which processes the batch of the current step consists.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx

from equipoise.core.frames import CAPACITY, Frames, as_bytes, as_text
from equipoise.core.shared_memory import SharedSums
from equipoise.errors import LostProcessError

SMALL = 2**16
"""Most bytes of a tensor on the CPU that is gathered and added up if the processes cannot share memory: gloo takes 0.4
ms for that, and 1.5 for its own sum of the same numbers (two processes on one computer)."""

OWN_FAILURES = ("CUDA error", "cuda error", "out of memory", "Duplicate GPU", "No backend type associated")
"""Parts of the messages of exchanges that failed because of this process or its GPU, not because another has ended."""


@dataclass(frozen=True, slots=True)
class World:
    """`size` processes that train one model; this one is number `rank`, and number 0 decides and writes.

    Every process must call the same methods in the same order, with tensors of the same shapes; with one process all
    methods return their argument. Sums are taken in a fixed order: the same processes get the same bytes, all of them.
    Methods raise LostProcessError if another process has ended, and SettingError, in all processes, if they do not do
    the same; sums of tensors on GPUs are not compared, because that would wait for the GPU.
    """

    rank: int = 0
    size: int = 1
    _sums: SharedSums = field(default_factory=SharedSums, init=False, repr=False, compare=False)
    _frames: Frames = field(default_factory=Frames, init=False, repr=False, compare=False)

    def begin(self, task: str, detail: str = "") -> None:
        """Set what all processes do from here on: a verb and its object, and what they do it with."""
        if self.size > 1:
            self._frames.begin(task, detail)

    def add(self, numbers: Tensor) -> Tensor:
        """Replace a contiguous tensor by its sum over the processes, in place, and return it."""
        if self.size > 1:
            self._add(numbers)
        return numbers

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, differentiable any number of times.

        The gradient is right if the gradients of the processes' losses are averaged afterwards.
        """
        return values if self.size == 1 else _sum_of_ranks(values, self) / self.size

    def concatenate(self, values: Tensor) -> Tensor:
        """Return the values (N, ...) of all processes, (size N, ...), in the order of their ranks; differentiable."""
        if self.size == 1:
            return values
        padded = values.new_zeros((self.size, *values.shape))
        place = torch.full((1,), self.rank, device=values.device)  # unlike torch.tensor, without waiting for the device
        padded = padded.index_copy(0, place, values[None])
        return _sum_of_ranks(padded, self).flatten(0, 1)

    def own_part(self, values: Tensor) -> Tensor:
        """Return the part of this process, (N, ...), of what :meth:`concatenate` returned."""
        return values.chunk(self.size)[self.rank]

    def share_text(self, text: str) -> str:
        """Return the text of rank 0; those of the others are ignored."""
        return self._text_of(0, text)

    def gather_texts(self, text: str) -> list[str]:
        """Return the texts of all processes, in the order of their ranks."""
        return [self._text_of(rank, text) for rank in range(self.size)]

    def share_tensors(self, tensors: Mapping[str, Tensor], source: int = 0) -> dict[str, Tensor]:
        """Return the tensors of rank `source` by name, on the CPU; those of the others are ignored."""
        if self.size == 1:
            return dict(tensors)
        names = self._text_of(source, "\n".join(_describe(name, value) for name, value in tensors.items()))
        result = {}
        for line in names.splitlines():
            name, dtype, *shape = line.split("\t")
            if self.rank == source:
                value = tensors[name].detach().to("cpu").contiguous()
            else:
                value = torch.empty([int(side) for side in shape], dtype=cast(torch.dtype, getattr(torch, dtype)))
            with _lost_processes():
                distributed.broadcast(value.view(-1).view(torch.uint8), source)
            result[name] = value
        return result

    def gather_tensors(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return the tensors of all processes, in the order of their ranks, on the CPU."""
        return [self.share_tensors(tensors, rank) for rank in range(self.size)]

    @contextmanager
    def sharing_batches(self) -> Iterator[None]:
        """Let the batches in the context be shares of one batch: :func:`batch_world` returns this world."""
        _worlds.append(self)
        try:
            yield
        finally:
            _worlds.pop()

    def _text_of(self, rank: int, text: str) -> str:
        """Return the text of a rank."""
        if self.size == 1:
            return text
        content = as_bytes(f"{text}\n")  # never empty
        parts = self._exchange(-1 - rank, content[:CAPACITY] if self.rank == rank else None, len(content))
        count = self._frames.count(rank)
        if count <= CAPACITY:
            return as_text(parts[rank][:count])[:-1]
        content = content if self.rank == rank else torch.empty(count, dtype=torch.uint8)
        with _lost_processes():
            distributed.broadcast(content, rank)
        return as_text(content)[:-1]

    def _add(self, numbers: Tensor) -> None:
        """Replace a contiguous tensor by its sum over the processes."""
        if numbers.device.type != "cpu":
            with _lost_processes():
                distributed.all_reduce(numbers)
            return
        count = numbers.nbytes
        if count <= CAPACITY:
            parts = self._exchange(count, numbers.view(-1).view(torch.uint8))
            _add_up([part[:count].view(numbers.dtype) for part in parts], numbers)
            return
        if not self._sums.has_room(count):
            self._exchange(count)  # before anything whose size depends on that of the tensor
        if self._sums.prepare(self.size, count, self.gather_texts):
            self._sums.add(numbers, self.rank, lambda: self._exchange(count))
        else:
            _add_by_messages(numbers)

    def _exchange(self, kind: int, content: Tensor | None = None, count: int = 0) -> Sequence[Tensor]:
        """Return what all processes give, in the order of ranks, when all have called this; see :class:`Frames`."""
        return self._frames.exchange(self.size, kind, content, count, _gather)


ALONE = World()
"""The world of one process."""
_worlds: list[World] = [ALONE]


def batch_world() -> World:
    """Return the processes whose shares make up the batch of the current step; ALONE outside a step.

    Layers and losses with statistics of a batch use it: batch normalisation, running means, maximum mean discrepancy.
    """
    return _worlds[-1]


class _Sum(torch.autograd.Function):
    """Sum over the processes. Its gradient is the sum of the gradients: each process's loss depends on all values."""

    @staticmethod
    def forward(context: FunctionCtx, values: Tensor, world: World) -> Tensor:
        context.world = world  # type: ignore[attr-defined]
        return world.add(values.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(context: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return _sum_of_ranks(gradients[0], context.world), None  # type: ignore[attr-defined]


def _sum_of_ranks(values: Tensor, world: World) -> Tensor:
    return cast(Tensor, _Sum.apply(values, world))


def _gather(parts: list[Tensor], own: Tensor) -> None:
    """Replace the parts by what the processes give."""
    with _lost_processes():
        distributed.all_gather(parts, own)


def _add_by_messages(numbers: Tensor) -> None:
    """Replace a contiguous tensor on the CPU by its sum over the processes, which do not share memory."""
    if numbers.nbytes > SMALL:
        with _lost_processes():
            distributed.all_reduce(numbers)
        return
    parts = [torch.empty_like(numbers) for _ in range(distributed.get_world_size())]
    _gather(parts, numbers)
    _add_up(parts, numbers)


def _add_up(parts: Sequence[Tensor], numbers: Tensor) -> None:
    """Replace numbers by the sum of the parts, in their order."""
    flat = numbers.view(-1)
    flat.copy_(parts[0].view(-1))
    for part in parts[1:]:
        flat.add_(part.view(-1))


def _describe(name: str, value: Tensor) -> str:
    return "\t".join((name, str(value.dtype).removeprefix("torch."), *map(str, value.shape)))


@contextmanager
def _lost_processes() -> Iterator[None]:
    """Turn the error of an exchange in the context into a LostProcessError, if another process may be its cause."""
    try:
        yield
    except RuntimeError as error:
        if any(part in str(error) for part in OWN_FAILURES):
            raise
        raise LostProcessError("another process of this run has ended") from error
