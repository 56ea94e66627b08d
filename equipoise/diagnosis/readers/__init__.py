"""Logs of other people's programs, read into a trace. Nothing of them is executed or unpickled."""

import dataclasses
import gzip
import zlib
from pathlib import Path

from equipoise.diagnosis.readers import lines, stats, table, tensorboard
from equipoise.diagnosis.trace import Trace
from equipoise.errors import DataError

FORMS = "the PyTorch DCGAN example, PyTorch-GAN, PyTorch-StudioGAN, StyleGAN, TensorBoard, and CSV with a header"


def read(path: Path) -> Trace:
    """A log, or a folder that has one, as a trace. Raises DataError if it is of no known form, or holds nothing."""
    if path.is_dir():
        return _folder(path)
    content = _content(path)
    try:
        if tensorboard.looks_like(content):
            return _told(path, tensorboard.read([path]))
        text = _text(content)
        if result := stats.stats(text):
            return _told(path, dataclasses.replace(result, metrics=stats.beside(path)))
        result = next(filter(None, (form(text) for form in (*lines.FORMS, table.table))), None)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if result:
        return _told(path, result)
    raise DataError(f"{path} is no log of a form that is known: {FORMS}")


def _folder(path: Path) -> Trace:
    """A folder: TensorBoard's event files, or the stats.jsonl or log.txt of StyleGAN."""
    if events := sorted(path.glob(tensorboard.FILES)):
        return _told(path, tensorboard.read(events))
    for name in ("stats.jsonl", "log.txt"):
        if (path / name).exists():
            return read(path / name)
    raise DataError(f"{path} is neither a run nor a folder with event files, stats.jsonl or log.txt; give a log file")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no {path}; give a run folder or a log") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return _unpacked(content) if content[:2] == b"\x1f\x8b" else content


def _unpacked(content: bytes) -> bytes:
    """What a .gz file holds; of one cut short, what there is."""
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        stream = zlib.decompressobj(wbits=31)
        try:
            return stream.decompress(content)
        except zlib.error:
            return b""


def _text(content: bytes) -> str:
    """Text in UTF-8 or UTF-16, what is neither replaced; a last line without an end was cut short and is left out."""
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16" if is_wide else "utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return text[: text.rfind("\n") + 1] or text


def _told(path: Path, result: Trace) -> Trace:
    if not len(result.steps):
        raise DataError(
            f"{path} is a log ({result.form}) without a number to judge by: losses, probabilities or metrics"
        )
    return result
