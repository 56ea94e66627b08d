"""Loading of training batches for accelerators: one batch ahead, in pinned memory, so that no step waits for data.

The CPU reads the next batch in a second thread while the device computes; the copy from pinned memory does not block
either. Streams are pure functions of the index, so the batches are those that would be read without it.
"""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from equipoise.core.data import Stream
from equipoise.core.model import AnyBatch

T = TypeVar("T")


@contextmanager
def load_ahead(stream: Stream, device: torch.device) -> Iterator[Stream]:
    """Give a stream of the same batches that are loaded ahead, if the device is a CUDA one; otherwise the same stream.

    A batch that is being read when the context ends is completed first.
    """
    if device.type != "cuda":
        yield stream
        return
    with ThreadPoolExecutor(1, "load_ahead") as thread:
        yield AheadStream(stream, thread)


@dataclasses.dataclass(slots=True)
class AheadStream:
    """Stream that starts to read batch i + 1 when batch i is read. Batches are right in every order of indices."""

    stream: Stream
    thread: ThreadPoolExecutor
    pinned: bool = True
    _index: int | None = None
    _next: Future[AnyBatch] | None = None

    def batch(self, index: int) -> AnyBatch:
        """Return batch number `index`, on the CPU, in pinned memory. Raises what reading it raised."""
        future = self._next if self._next is not None and self._index == index else self._read(index)
        batch = future.result()
        self._index, self._next = index + 1, self._read(index + 1)
        return batch

    def _read(self, index: int) -> "Future[AnyBatch]":
        return self.thread.submit(lambda: self._pin(self.stream.batch(index)))

    def _pin(self, batch: T) -> T:
        return pin(batch) if self.pinned else batch


def pin(batch: T) -> T:
    """Return a batch whose tensors are in pinned memory; one that is no dataclass is returned as it is."""
    if not dataclasses.is_dataclass(batch) or isinstance(batch, type):
        return batch
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.init}
    tensors = {name: value.pin_memory() for name, value in fields.items() if isinstance(value, Tensor)}
    return dataclasses.replace(batch, **tensors)
