"""A process that reads batches for another one, with pipes to that process: see load_ahead.

It ends when its input is closed, hence also when the other process is killed. It ignores the signals that stop a run:
the training process reacts to them and then ends this one. Imports no torch unless the reader does.
"""

import os
import pickle
import signal
import sys
import traceback
from typing import IO, NamedTuple

from equipoise.errors import EquipoiseError

LENGTH_BYTES = 8


class Reply(NamedTuple):
    """Reply to a request: a value, or the `message` of an error that the user can solve, or the `trace` of another."""

    value: object = None
    message: str = ""
    trace: str = ""


def send(file: IO[bytes], value: object) -> None:
    """Write a value, preceded by its length."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    file.write(len(content).to_bytes(LENGTH_BYTES))
    file.write(content)
    file.flush()


def receive(file: IO[bytes]) -> object:
    """Return the next value. Raises EOFError at the end."""
    start = file.read(LENGTH_BYTES)
    content = file.read(int.from_bytes(start)) if len(start) == LENGTH_BYTES else b""
    if not content:
        raise EOFError
    return pickle.loads(content)


def main() -> None:
    """Receive a reader, and then reply to each index with what it reads."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with replies
    try:
        sys.path[:] = receive(requests)  # type: ignore[call-overload]
        reader = receive(requests)
        while True:
            send(replies, _reply(reader, receive(requests)))
    except (EOFError, BrokenPipeError):
        os._exit(0)  # without flushing what nobody reads


def _reply(reader: object, index: object) -> Reply:
    try:
        return Reply(reader.read(index))  # type: ignore[attr-defined]
    except EquipoiseError as error:
        return Reply(message=str(error))
    except Exception:
        return Reply(trace=traceback.format_exc())
