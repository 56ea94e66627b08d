"""Errors in the user's own code, such as a model of their own: where it was raised, in one line."""

import os
import sys
import sysconfig
import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def describe_error(error: BaseException) -> str:
    """Return the type and the message of an error, in one line."""
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_of_error(error: BaseException) -> str | None:
    """Return file and line of the innermost part of an error that is the user's own code; None if there is none.

    For a syntax error, the place in the source.
    """
    place = None
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_own_code(frame.filename):
            place = f"{frame.filename}, line {frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename and _is_own_code(error.filename):
        return f"{error.filename}, line {error.lineno}"
    return place


def _is_own_code(filename: str) -> bool:
    """Whether a file belongs neither to this package nor to an installed one nor to Python."""
    path = Path(filename)
    paths = sysconfig.get_paths()
    installed = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    is_program = path == Path(sys.argv[0]).absolute() or path.parent == Path(sys.executable).parent
    is_installed = any(path.is_relative_to(root) for root in (PACKAGE, *installed))
    return not is_program and not is_installed and os.path.isfile(filename)
