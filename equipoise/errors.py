"""Every exception of Equipoise.

EquipoiseError           one line for people: names the thing and the way out; the command line exits with 2
├── UnknownNameError     a plug, preset, knob, option or key that does not exist; the nearest right one is offered
├── SettingError         a value outside its range, or settings that cannot go together
│   └── MissingPackageError  a setting that needs an extra that is not installed
├── DataError            data that cannot be read, or is too little
├── RunError             a run folder that is in the way, damaged, not writable, or not a run
└── CheckpointError      a checkpoint that is cut short, of other shapes, or of a newer version
"""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path


class EquipoiseError(Exception):
    """The base of all errors that are the reader's to mend."""


class UnknownNameError(EquipoiseError):
    """A name that does not exist."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no {what} '{name}'{nearest(name, known)}")


class SettingError(EquipoiseError):
    """A setting that cannot be."""


class MissingPackageError(SettingError):
    """A setting that needs a package of an extra that is not installed."""


class DataError(EquipoiseError):
    """Data that cannot be used."""


class RunError(EquipoiseError):
    """A run folder that cannot be used."""


class CheckpointError(EquipoiseError):
    """A checkpoint that cannot be used."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that offers what was probably meant: a near match, else everything there is."""
    known = sorted(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if match:
        return f"; did you mean '{match[0]}'?"
    return f"; there is: {', '.join(known)}" if known else "; there are none"


def unwritable(folder: Path, error: OSError) -> str:
    """One line for people on why a folder cannot be written, and the way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk that holds {folder} is full; make room, then: equipoise resume {folder}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write to {folder}; choose another folder with --out"
    return f"cannot write to {folder}: {error.strerror or error}"
