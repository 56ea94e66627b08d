"""Frames: what the processes of a run exchange first, so that they notice if they do not do the same.

A sum or a message in which one process takes part with another number of bytes, or while the other does something else,
ends in wrong numbers, an abort of the process, or a wait without end. A frame always has the same size, and its header
must be equal in all processes; small tensors and texts are part of it.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from equipoise.errors import SettingError

FRAME = 4096
"""Bytes of a frame: gloo gathers as many as fast as a single number."""
HEADER = 64
"""Bytes of the header: three numbers, and zeros, so that the content is aligned for every dtype."""
CAPACITY = FRAME - HEADER
"""Most bytes of the content of a frame."""
NUMBERS = struct.Struct("=qqq")
"""The numbers of a header: a checksum of what the process does, the kind of the exchange, a count that may differ."""
EQUAL = 16
"""Bytes of a header that must be equal in all processes: all but the count."""

GatherFrames = Callable[[list[Tensor], Tensor], None]
"""Fills frames, by rank, with those that the processes give."""


@dataclass(slots=True)
class Frames:
    """The memory of a frame of each process, and what this process does. Mutable. A copy has memory of its own.

    `task`: a verb and its object. `detail`: what the process does it with, or "".
    """

    task: str = "prepares the run"
    detail: str = ""
    _checksum: int = 0
    _memory: list[bytearray] = field(default_factory=list)
    _tensors: list[Tensor] = field(default_factory=list)

    def __reduce__(self) -> tuple[type["Frames"], tuple[str, str, int]]:
        return Frames, (self.task, self.detail, self._checksum)

    def begin(self, task: str, detail: str) -> None:
        """Set what this process does."""
        self.task, self.detail, self._checksum = task, detail, zlib.crc32(f"{task}\n{detail}".encode())

    def exchange(
        self, size: int, kind: int, content: Tensor | None, count: int, gather: GatherFrames
    ) -> Sequence[Tensor]:
        """Exchange frames; return the content (CAPACITY,) of each process, which is valid until the next exchange.

        `kind`: see :func:`describe_kind`. `content`: at most CAPACITY bytes. Raises SettingError, in all processes, if
        they do something else or exchange another kind.
        """
        self._fill(size, (self._checksum, kind, count), content)
        gather(self._tensors[1:], self._tensors[0])
        first = self._memory[1][:EQUAL]
        if any(memory[:EQUAL] != first for memory in self._memory[2:]):
            self._fill(size, (0, 0, 0), as_bytes(f"{kind}\n{self.task}\n{self.detail}\0")[:CAPACITY])
            gather(self._tensors[1:], self._tensors[0])
            raise SettingError(explain([as_text(tensor[HEADER:]) for tensor in self._tensors[1:]]))
        return [tensor[HEADER:] for tensor in self._tensors[1:]]

    def count(self, rank: int) -> int:
        """Return the count in the last frame of a process."""
        return int(NUMBERS.unpack_from(self._memory[1 + rank])[2])

    def _fill(self, size: int, numbers: tuple[int, int, int], content: Tensor | None) -> None:
        """Write the own frame, the first one in memory; those of all processes follow, by rank."""
        if len(self._memory) != 1 + size:
            self._memory = [bytearray(FRAME) for _ in range(1 + size)]
            self._tensors = [torch.frombuffer(memory, dtype=torch.uint8) for memory in self._memory]
        NUMBERS.pack_into(self._memory[0], 0, *numbers)
        if content is not None:
            self._tensors[0][HEADER : HEADER + len(content)].copy_(content)


def as_bytes(text: str) -> Tensor:
    """Return a text as a vector uint8."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def as_text(content: Tensor) -> str:
    """Return the text of bytes that :func:`as_bytes` made, or of the first of them."""
    return content.numpy().tobytes().decode(errors="ignore")


def describe_kind(kind: int) -> str:
    """Return in words what is exchanged: a sum of `kind` bytes from 0, or a text of process -1 - kind below."""
    return f"a sum of {kind:,} bytes" if kind >= 0 else f"a message of process {-1 - kind}"


def explain(descriptions: Sequence[str]) -> str:
    """Return in one line what differs between processes, and the remedy.

    `descriptions`: kind, task and detail of each, on three lines, up to the first zero.
    """
    texts = [text.partition("\0")[0].split("\n", 2) for text in descriptions]
    rank = next((rank for rank, text in enumerate(texts) if text != texts[0]), 0)
    (kind, task, detail), (other_kind, other_task, other_detail) = texts[0], texts[rank]
    if task != other_task:
        return (
            f"process {rank} {other_task}, process 0 {task}; `when` and `repeats` of a phase must not depend on what "
            "differs between processes, such as random numbers"
        )
    ours, theirs = detail, other_detail
    if detail == other_detail:
        ours, theirs = describe_kind(int(kind)), describe_kind(int(other_kind))
    return (
        f"process {rank} {task} with {theirs}, process 0 with {ours}; the terms, logits and statistics of a loss must "
        "not depend on what differs between processes, such as random numbers"
    )
