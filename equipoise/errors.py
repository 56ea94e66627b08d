"""The exceptions of the package.

EquipoiseError           a problem that the user can solve; one line that names the problem and the remedy
├── UnknownNameError     a plug, preset, knob, option or key that does not exist; suggests the most similar name
├── SettingError         a value outside its range, or settings that contradict each other
│   └── MissingPackageError  a setting that needs an optional package that is not installed
├── DataError            data that cannot be read, or too few data
├── RunError             a run folder that exists already, is damaged or not writable, or is not a run
└── CheckpointError      a checkpoint that is truncated, does not fit the model, or is of a newer version
"""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path


class EquipoiseError(Exception):
    """Base class of all errors that the user can correct. The command line prints the message and exits with 2."""


class UnknownNameError(EquipoiseError):
    """A name that does not exist.

    The message is "there is no KIND 'NAME' WHERE" with the most similar of the `available` names, or all of them.
    `available` None: no suggestion. `where`: optional words after the name, such as "of model 'dcgan'" or "in
    plan.toml".
    """

    def __init__(self, kind: str, name: str, available: Iterable[str] | None, where: str = "") -> None:
        place = f" {where}" if where else ""
        suggestion = "" if available is None else nearest(name, available)
        super().__init__(f"there is no {kind} '{name}'{place}{suggestion}")


class SettingError(EquipoiseError):
    """An invalid setting, or settings that contradict each other."""


class MissingPackageError(SettingError):
    """A setting that needs an optional package that is not installed."""


class DataError(EquipoiseError):
    """Data that cannot be used."""


class RunError(EquipoiseError):
    """A run folder that cannot be used."""


class CheckpointError(EquipoiseError):
    """A checkpoint that cannot be used."""


def nearest(name: str, available: Iterable[str]) -> str:
    """Format a suggestion as the end of a message: the most similar of the available names, otherwise all of them."""
    names = sorted(available)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean '{match[0]}'?"
    return f"; available: {', '.join(names)}" if names else "; none are available"


def unwritable(folder: Path, error: OSError) -> str:
    """Format why a folder cannot be written, and the remedy, in one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full; free some space, then: equipoise resume {folder}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write to {folder}; choose another folder with --out"
    return f"cannot write to {folder}: {error.strerror or error}"
