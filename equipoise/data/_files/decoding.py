"""Parallel reading, hashing and decoding of files, in order."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.data._files.listing import File, content_digest
from equipoise.data._files.sources import Source
from equipoise.errors import DataError

THREADS = 2
"""Decoding threads: Pillow and numpy release the interpreter lock."""
FILES_PER_TASK = 8
"""Files per task of a thread."""
MAX_PENDING = 8
"""Largest number of pending tasks; bounds memory, and the work that is lost by an interruption."""

DecodedArray = npt.NDArray[np.generic]


class Decoded(NamedTuple):
    """The content of a file. `rows`: (N, *shape), or one row of that shape. `facts`: counts, summed over all files."""

    rows: DecodedArray
    facts: Mapping[str, int]


Decode = Callable[[bytes, str], DecodedArray | Decoded]
"""Maps the content and the relative path of a file to its rows; called in several threads.

Raises DataError, whose message is the reason, for invalid content.
"""


DecodingKey = Mapping[str, object]
"""Options of decoding, as JSON values. They include a version number, incremented when decoding changes."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the items of a source become rows of the cache.

    `key`: all options of decoding. `decode`: called once for each item. `shape`, `dtype`: of a row. `task`: as
    progress is reported. `tolerance`: largest share of items that may be skipped; with 0, the first one that cannot be
    decoded is an error with its own message. `compare`: whether rows are images (C, H, W) of which near-identical ones
    are counted. `optional`: extensions of formats of which decoders read some variants only; those that they do not
    read are skipped, however many there are.
    """

    key: DecodingKey
    decode: Decode
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    task: str
    tolerance: float = 0.05
    compare: bool = False
    optional: tuple[str, ...] = ()


class DecodedFile(NamedTuple):
    """A file that was read. `content`: its digest, "" if unreadable. `rows`: None if skipped. `reason`: of skipping."""

    path: str
    content: str
    rows: DecodedArray | None
    facts: Mapping[str, int]
    reason: str | None


def decode_files(source: Source, files: Sequence[File], decode: Decode | None) -> Iterator[DecodedFile]:
    """Read, hash and decode items of a source in parallel; yields them in order. `decode`: None to hash only."""
    pending: deque[Future[list[DecodedFile]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for start in range(0, len(files), FILES_PER_TASK):
            pending.append(pool.submit(_decode_task, source, files[start : start + FILES_PER_TASK], decode))
            if len(pending) > MAX_PENDING:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_task(source: Source, files: Sequence[File], decode: Decode | None) -> list[DecodedFile]:
    return [_decode_file(source, file, decode) for file in files]


def _decode_file(source: Source, file: File, decode: Decode | None) -> DecodedFile:
    try:
        content = source.read(file.path)
    except DataError as error:
        return DecodedFile(file.path, "", None, {}, str(error))
    except OSError as error:
        return DecodedFile(file.path, "", None, {}, f"cannot be read: {error.strerror or error}")
    digest = content_digest(content)
    if decode is None:
        return DecodedFile(file.path, digest, None, {}, None)
    try:
        result = decode(content, file.path)
    except DataError as error:
        return DecodedFile(file.path, digest, None, {}, str(error))
    rows, facts = result if isinstance(result, Decoded) else (result, {})
    return DecodedFile(file.path, digest, rows, facts, None)
