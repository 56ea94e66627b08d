"""Files into rows of numbers: read, hashed and decoded in two threads, in order."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from equipoise.data._files import File, content_digest
from equipoise.errors import DataError

THREADS = 2
"""That decode: Pillow and numpy let go of the interpreter while they work."""
AT_ONCE = 8
"""Files that a thread takes at once."""
AHEAD = 8
"""Such takes that may wait for their turn; bounds memory, and the work lost to an interruption."""

Array = npt.NDArray[Any]


class Decoded(NamedTuple):
    """What a file holds. `rows`: (N, *shape), or one row of that shape. `facts`: counts, summed over all files."""

    rows: Array
    facts: Mapping[str, int]


Decode = Callable[[bytes, str], Array | Decoded]
"""From the content and the relative path of a file to its rows. Called in several threads. Raises DataError, whose
message is the reason, if the content is not what it should be."""


class Read(NamedTuple):
    """A file that was read. `content`: its digest, "" if it could not be read. `rows`: None for a `reason`."""

    path: str
    content: str
    rows: Array | None
    facts: Mapping[str, int]
    reason: str | None


def read_all(folder: Path, files: Sequence[File], decode: Decode | None) -> Iterator[Read]:
    """Every file in order, hashed, and decoded if there is a `decode`; a few ahead of the one that is asked for."""
    waiting: deque[Future[list[Read]]] = deque()
    pool = ThreadPoolExecutor(THREADS)
    try:
        for start in range(0, len(files), AT_ONCE):
            waiting.append(pool.submit(_take, folder, files[start : start + AT_ONCE], decode))
            if len(waiting) > AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _take(folder: Path, files: Sequence[File], decode: Decode | None) -> list[Read]:
    return [_read(folder, file, decode) for file in files]


def _read(folder: Path, file: File, decode: Decode | None) -> Read:
    try:
        content = (folder / file.path).read_bytes()
    except OSError as error:
        return Read(file.path, "", None, {}, f"cannot be read: {error.strerror or error}")
    digest = content_digest(content)
    if decode is None:
        return Read(file.path, digest, None, {}, None)
    try:
        result = decode(content, file.path)
    except DataError as error:
        return Read(file.path, digest, None, {}, str(error))
    rows, facts = result if isinstance(result, Decoded) else (result, {})
    return Read(file.path, digest, rows, facts, None)
