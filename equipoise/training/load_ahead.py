"""Loading of training batches ahead of the steps that use them, so that no step waits for data.

For accelerators, a second thread reads the next batch into pinned memory while the device computes; the copy from there
does not block either. Data that is decoded when it is drawn can be read by several processes: nearly half of decoding
small images is Python, where the GIL lets only one thread run, the steps included. Streams are pure functions
of the index: the batches are those that would be read without either.
"""

import dataclasses
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import torch
from torch import Tensor

from equipoise.core.data import BatchReader, DecodingStream, Stream
from equipoise.core.model import AnyBatch
from equipoise.errors import DataError
from equipoise.training import batch_reading
from equipoise.training.batch_reading import Reply

T = TypeVar("T")

AHEAD_PER_PROCESS = 2
"""Batches that are read ahead for each process that reads."""
SECONDS_TO_END = 10.0
"""Time in which a process that reads must end, before it is killed."""


@contextmanager
def load_ahead(
    stream: Stream, device: torch.device, processes: int = 0, share: Callable[[Stream], Stream] = lambda stream: stream
) -> Iterator[Stream]:
    """Context manager: yield a stream of the same batches, loaded ahead for a CUDA device or by several processes.

    `processes`: number of processes that read batches, if the stream decodes files; 0: none. `share`: returns the part
    of a stream that this process trains on. Without either: the stream itself. Batches that are being read when the
    context ends are completed first; then the processes end.
    """
    with ExitStack() as stack:
        is_parallel = processes > 0 and isinstance(stream, DecodingStream)
        if is_parallel and isinstance(stream, DecodingStream):
            stream = stack.enter_context(_read_in_processes(stream, processes))
        stream = share(stream)
        if is_parallel or device.type == "cuda":
            threads = ThreadPoolExecutor(processes if is_parallel else 1, "load_ahead")
            stack.callback(threads.shutdown, cancel_futures=True)
            depth = AHEAD_PER_PROCESS * processes if is_parallel else 1
            stream = AheadStream(stream, threads, pinned=device.type == "cuda", depth=depth)
        yield stream


@dataclasses.dataclass(slots=True)
class AheadStream:
    """Stream that prefetches the `depth` batches after the requested one. Batches may be requested in any order."""

    stream: Stream
    threads: ThreadPoolExecutor
    pinned: bool = True
    depth: int = 1
    _pending: dict[int, Future[AnyBatch]] = dataclasses.field(default_factory=dict)

    def batch(self, index: int) -> AnyBatch:
        """Return batch number `index`, on the CPU, in pinned memory. Raises what reading it raised."""
        wanted = range(index, index + self.depth + 1)
        for number in [number for number in self._pending if number not in wanted]:
            self._pending.pop(number).cancel()
        for number in wanted:
            if number not in self._pending:
                self._pending[number] = self._read(number)
        return self._pending.pop(index).result()

    def _read(self, index: int) -> "Future[AnyBatch]":
        return self.threads.submit(lambda: self._pin(self.stream.batch(index)))

    def _pin(self, batch: T) -> T:
        return pin(batch) if self.pinned else batch


def pin(batch: T) -> T:
    """Return a batch whose tensors are in pinned memory; a batch that is not a dataclass is returned unchanged."""
    if not dataclasses.is_dataclass(batch) or isinstance(batch, type):
        return batch
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.init}
    tensors = {name: value.pin_memory() for name, value in fields.items() if isinstance(value, Tensor)}
    return dataclasses.replace(batch, **tensors)


class ReadingProcess:
    """A process that reads batches. One thread at a time may use it."""

    def __init__(self, reader: BatchReader[object]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", f"from {batch_reading.__name__} import main; main()"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        with suppress(BrokenPipeError):  # reported when a batch is read
            self._send(sys.path)
            self._send(reader)

    def read(self, index: int) -> object:
        """Return what the reader returns for batch number `index`. Raises DataError as it does, or if it has ended."""
        assert self.process.stdout is not None
        try:
            self._send(index)
            reply = batch_reading.receive(self.process.stdout)
        except (EOFError, BrokenPipeError, ValueError) as error:
            raise DataError(
                f"a process that reads data has ended (exit code {self.process.poll()}); is memory full? Give fewer "
                "--data-workers, or resume the run"
            ) from error
        assert isinstance(reply, Reply)
        if reply.message:
            raise DataError(reply.message)
        if reply.trace:
            raise RuntimeError(f"in a process that reads data:\n{reply.trace}")
        return reply.value

    def end(self) -> None:
        """Let the process end; kill it if it does not."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, value: object) -> None:
        assert self.process.stdin is not None
        batch_reading.send(self.process.stdin, value)


@dataclasses.dataclass(slots=True)
class ParallelStream:
    """The batches of a stream, each read by one of the processes that are free at that time."""

    stream: DecodingStream[object]
    processes: Sequence[ReadingProcess]
    _free: "queue.SimpleQueue[ReadingProcess]" = dataclasses.field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        for process in self.processes:
            self._free.put(process)

    def batch(self, index: int) -> AnyBatch:
        """Return batch number `index`, on the CPU; called in as many threads as there are processes."""
        process = self._free.get()
        try:
            read = process.read(index)
        finally:
            self._free.put(process)
        batch: AnyBatch = self.stream.assemble(read)
        return batch


@contextmanager
def _read_in_processes(stream: DecodingStream[object], count: int) -> Iterator[Stream]:
    processes: list[ReadingProcess] = []
    try:
        for _ in range(count):
            processes.append(ReadingProcess(stream.reader))
        yield ParallelStream(stream, processes)
    finally:
        for process in processes:
            process.end()
