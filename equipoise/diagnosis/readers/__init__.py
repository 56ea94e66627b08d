"""Readers of training logs of other programs: one file per program, with one public class in `__all__`.

A reader is a class with the attributes and the method of `LogReader`; it is found automatically, also through the entry
points `equipoise.readers` of installed packages. Nothing in a log is executed or unpickled.
"""

import importlib
import pkgutil
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from equipoise.core.catalog import installed_plugs
from equipoise.diagnosis.interpretation import interpret
from equipoise.diagnosis.log_columns import LogColumns, ReadOptions
from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import TrainingLog
from equipoise.errors import DataError, SettingError

MAX_BYTES = 64 * 2**20
"""Largest decompressed size of a log: reading it takes about ten times as much memory."""
BLOCK = 2**16
"""Bytes that are decompressed at once, so that a damaged file gives what precedes the damage."""


class LogReader(Protocol):
    """Interface of readers, each for the logs of one program.

    `name`: the program, for messages and docs. `contents`: description of the log, for the docs. `order`: readers are
    tried in ascending order, general ones last. `folder_files`: patterns of files in a folder; the first that matches
    is read.
    """

    name: str
    contents: str
    order: int
    folder_files: tuple[str, ...]

    def read(self, files: Sequence[LogFile]) -> LogColumns | TrainingLog | None:
        """Read one file, or all the files of a folder that match; None if they are in another format.

        Raises DataError if the format matches but the content is not usable.
        """


@cache
def log_readers() -> tuple[LogReader, ...]:
    """Return all readers, in the order in which they are tried."""
    return tuple(sorted((*_own_readers(), *_installed_readers()), key=lambda reader: reader.order))


def _own_readers() -> Iterator[LogReader]:
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        (public,) = module.__all__
        yield getattr(module, public)()


def _installed_readers() -> Iterator[LogReader]:
    """Yield the readers of installed packages. Raises SettingError if one cannot be imported."""
    for name, (entry_point, *_) in installed_plugs("readers").items():
        try:
            yield entry_point.load()()
        except ImportError as error:
            message = f"the log reader '{name}' of {entry_point.value} cannot be imported: {error}"
            raise SettingError(message) from error


def format_names() -> str:
    """Return the names of all readable formats as one phrase."""
    *names, last = (reader.name for reader in log_readers())
    return f"{', '.join(names)} and {last}"


def read_log(path: Path) -> TrainingLog:
    """Read the first game of a log: see :func:`read_games`."""
    return read_games(path)[0]


def read_games(path: Path, options: ReadOptions | None = None) -> tuple[TrainingLog, ...]:
    """Read a log file, optionally .gz, or a folder that contains one: one training log per game.

    Raises DataError if the path does not exist, the format is unknown, or the log contains no usable numbers.
    """
    options = options or ReadOptions()
    if path.is_dir():
        return _read_folder(path, options)
    file = LogFile(path, _read_content(path))
    for reader in log_readers():
        if logs := _read_with(reader, [file], path, options):
            return logs
    raise DataError(f"{path} is not a log in a known format; known formats are {format_names()}")


def _read_folder(path: Path, options: ReadOptions) -> tuple[TrainingLog, ...]:
    """Read the log of a folder with the first reader whose files it contains."""
    for reader in log_readers():
        for pattern in reader.folder_files:
            if matches := sorted(path.glob(pattern)):
                files = [LogFile(match, _read_content(match)) for match in matches]
                return _read_with(reader, files, path, options) or read_games(matches[0], options)
    patterns = ", ".join(pattern for reader in log_readers() for pattern in reader.folder_files)
    raise DataError(f"{path} is neither a run folder nor a folder with a log ({patterns}); use the path of a log file")


def _read_with(
    reader: LogReader, files: Sequence[LogFile], path: Path, options: ReadOptions
) -> tuple[TrainingLog, ...]:
    """Apply a reader; no log if the format is another one. Errors name the path."""
    try:
        result = reader.read(files)
        logs = interpret(result, options) if isinstance(result, LogColumns) else (result,) if result else ()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if logs and not any(len(log.steps) for log in logs):
        raise DataError(
            f"{path} ({logs[0].log_format}) contains no losses, probabilities or metrics to diagnose; use another log"
        )
    return logs


def _read_content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; use the path of a run folder or of a log") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return _decompress(content, path) if content[:2] == b"\x1f\x8b" else content


def _decompress(content: bytes, path: Path) -> bytes:
    """Decompress a .gz file; of a truncated file, the part that is readable. Raises DataError beyond MAX_BYTES."""
    result, stream = bytearray(), zlib.decompressobj(wbits=31)
    parts = deque(content[start : start + BLOCK] for start in range(0, len(content), BLOCK))
    while parts and len(result) <= MAX_BYTES:
        try:
            result += stream.decompress(stream.unconsumed_tail + parts.popleft(), MAX_BYTES + 1 - len(result))
        except zlib.error:
            break
        if stream.eof and (rest := stream.unused_data):  # one file after another
            stream = zlib.decompressobj(wbits=31)
            parts.appendleft(rest)
    if len(result) > MAX_BYTES:
        raise DataError(
            f"{path} has more than {MAX_BYTES >> 20} MiB when it is decompressed; keep every tenth row, or only the "
            "columns of losses and metrics"
        )
    return bytes(result)
