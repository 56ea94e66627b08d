"""The processes that train one model together, and what they exchange: nothing, if there is one process.

Each process has the whole model and a share of every batch. What a loss or a layer takes over the samples of a batch
must be taken over all shares; :func:`batch_world` says of which processes the batch of the current step consists.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, distributed

from equipoise.core.shared_memory import SharedSums
from equipoise.errors import LostProcessError

SMALL = 2**16
"""Most bytes of a tensor on the CPU that is gathered and added up: gloo takes 0.4 ms for that, and 1.5 for its own sum
of the same numbers (two processes on one computer)."""

OWN_FAILURES = ("CUDA error", "cuda error", "out of memory", "Duplicate GPU")
"""Parts of the messages of exchanges that failed because of this process or its GPU, not because another has ended."""


@dataclass(frozen=True, slots=True)
class World:
    """`size` processes that train one model; this one is number `rank`, and number 0 decides and writes.

    Every process must call the same methods in the same order, with tensors of the same shapes; with one process all
    methods return their argument. Sums are taken in a fixed order: the same processes get the same bytes, all of them.
    Methods raise LostProcessError if another process has ended.
    """

    rank: int = 0
    size: int = 1
    _sums: SharedSums = field(default_factory=SharedSums, init=False, repr=False, compare=False)

    def add(self, numbers: Tensor) -> Tensor:
        """Replace a contiguous tensor by its sum over the processes, in place, and return it."""
        if self.size == 1:
            return numbers
        is_large = numbers.device.type == "cpu" and numbers.nbytes > SMALL
        if is_large and self._sums.prepare(self.size, numbers.nbytes, self.gather_texts):
            self._sums.add(numbers, self.rank, _wait)
        else:
            _add(numbers)
        return numbers

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, differentiable any number of times.

        The gradient is right if the gradients of the processes' losses are averaged afterwards.
        """
        return values if self.size == 1 else _sum_of_ranks(values) / self.size

    def concatenate(self, values: Tensor) -> Tensor:
        """Return the values (N, ...) of all processes, (size N, ...), in the order of their ranks; differentiable."""
        if self.size == 1:
            return values
        padded = values.new_zeros((self.size, *values.shape))
        place = torch.full((1,), self.rank, device=values.device)  # unlike torch.tensor, without waiting for the device
        padded = padded.index_copy(0, place, values[None])
        return _sum_of_ranks(padded).flatten(0, 1)

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
        content = torch.frombuffer(bytearray(f"{text}\n".encode()), dtype=torch.uint8)  # never empty
        count = torch.tensor([len(content)])
        with _lost_processes():
            distributed.broadcast(count, rank)
            content = content if self.rank == rank else torch.empty(int(count), dtype=torch.uint8)
            distributed.broadcast(content, rank)
        return content.numpy().tobytes().decode()[:-1]


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
    def forward(context: object, values: Tensor) -> Tensor:
        result = values.clone(memory_format=torch.contiguous_format)
        _add(result)
        return result

    @staticmethod
    def backward(context: object, *gradients: Tensor) -> Tensor:
        return _sum_of_ranks(gradients[0])


def _sum_of_ranks(values: Tensor) -> Tensor:
    return cast(Tensor, _Sum.apply(values))


def _add(numbers: Tensor) -> None:
    """Replace a contiguous tensor by its sum over the processes."""
    with _lost_processes():
        if numbers.device.type != "cpu" or numbers.nbytes > SMALL:
            distributed.all_reduce(numbers)
            return
        parts = [torch.empty_like(numbers) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, numbers)
    numbers.copy_(parts[0])
    for part in parts[1:]:
        numbers.add_(part)


def _wait() -> None:
    """Return when all processes have called this."""
    _add(torch.zeros(1))


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
