"""Errors that no command expects: the user's own code that raises, exhausted memory, and defects of the package."""

import errno
import os
import tempfile
import traceback

from equipoise.cli.output import FAILURE, USAGE_ERROR
from equipoise.core.own_code import describe_error, place_of_error

TRACEBACK_VARIABLE = "EQUIPOISE_TRACEBACK"
"""Environment variable: if it is not empty, the traceback of an unexpected error is printed."""
OUT_OF_MEMORY = ("out of memory", "allocate memory", "Storage size calculation overflowed", "Overflow when unpacking")
"""Parts of torch's messages if memory is exhausted or a size exceeds any memory."""
LESS_MEMORY = {
    "train": "use a smaller --batch-size or a smaller model (--option width=…)",
    "resume": "close other programs, or train again with a smaller --batch-size or model",
    "evaluate": "use a smaller --count",
    "sample": "use a smaller --count",
}
"""How to reduce the memory that a command needs, by command."""


def describe(error: Exception, command: str) -> tuple[str, int]:
    """Return the message for an unexpected error, in one line, and the exit code.

    The traceback is printed if EQUIPOISE_TRACEBACK is set; otherwise that of a defect is written to a temporary file.
    """
    is_printed = bool(os.environ.get(TRACEBACK_VARIABLE))
    if is_printed:
        traceback.print_exception(error)
    if isinstance(error, MemoryError) or any(part in str(error) for part in OUT_OF_MEMORY):
        return f"not enough memory; {LESS_MEMORY.get(command, 'close other programs')}", USAGE_ERROR
    if place := place_of_error(error):
        return f"{place}: {describe_error(error)}; correct it, then run the command again", USAGE_ERROR
    if isinstance(error, OSError):
        return _system_message(error), USAGE_ERROR
    saved = "printed above" if is_printed else _save_traceback(error)
    problem = f"unexpected error: {describe_error(error)}; this is a defect of Equipoise"
    return f"{problem}, please report it with the command and the traceback ({saved})", FAILURE


def _system_message(error: OSError) -> str:
    """Return a message for an error of the operating system that no command has converted."""
    place = error.filename if error.filename is not None else "the system"
    place = os.fsdecode(place) if isinstance(place, str | bytes) else f"file {place}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: the disk is full; free some space, then run the command again"
    return f"{place}: {error.strerror or error}"


def _save_traceback(error: Exception) -> str:
    """Write the traceback to a new temporary file; return its path, or how to print it if that fails."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="equipoise-traceback-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(traceback.format_exception(error))
        return path
    except OSError:
        return f"printed if {TRACEBACK_VARIABLE}=1 is set"
