"""The exceptions of the package.

EquipoiseError           a problem that the user can solve; one line that names the problem and the remedy
├── UnknownNameError     a plug, preset, knob, option or key that does not exist; suggests the most similar name
├── SettingError         a value outside its range, or settings that contradict each other
│   ├── MissingPackageError  a setting that needs an optional package that is not installed
│   └── MemoryLimitError     a setting that needs more memory than this machine has available
├── DataError            data that cannot be read, or too few data
│   └── UndefinedMetricError  too few samples or reals for a metric, or reals of a kind that cannot answer its question
├── RunError             a run folder that exists already, is damaged or not writable, or is not a run
│   ├── UnknownRunError      a name of a run that does not exist in a folder of runs
│   ├── NewerFormatError     a run that a newer version of this package has written
│   ├── LostProcessError     a process of a run of several processes that ended while others waited for it
│   └── FailedProcessError   an error of another process of the run, in its words
└── CheckpointError      a checkpoint that is truncated, does not fit the model, or is of a newer version
"""

import difflib
import errno
import shlex
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


class MemoryLimitError(SettingError):
    """A setting that needs more memory than this machine has available; another machine may have enough."""


class DataError(EquipoiseError):
    """Data that cannot be used."""


class UndefinedMetricError(DataError):
    """A metric that has no meaningful value for these samples and reals; the message says what is missing."""


class RunError(EquipoiseError):
    """A run folder that cannot be used."""


class UnknownRunError(RunError):
    """A name of a run that does not exist in a folder of runs, perhaps because its folder was deleted."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(f"there is no run '{name}' in {root}; list the runs with: equipoise runs {shell_path(root)}")


class NewerFormatError(RunError):
    """A run in a format that a newer version of this package writes; the message says how to update."""


class LostProcessError(RunError):
    """Another process of a run has ended while this one waited for it."""


class FailedProcessError(RunError):
    """Another process of a run has failed and reported why. `exit_code`: of the command line, 1 for a defect."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CheckpointError(EquipoiseError):
    """A checkpoint that cannot be used."""


def nearest(name: str, available: Iterable[str]) -> str:
    """Format a suggestion as the end of a message: the most similar of the available names, otherwise all of them."""
    names = sorted(available)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean '{match[0]}'?"
    return f"; available: {', '.join(names)}" if names else "; none are available"


def unwritable(folder: Path, error: OSError, *, then: str = "", has_out: bool = False) -> str:
    """Format why a folder cannot be written, and the remedy, in one line.

    `then`: the command to run when there is space again; default: the same. `has_out`: whether the command can
    write to another folder, with --out.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = f"then: {then}" if then else "then try again"
        return f"the disk of {folder} is full; free some space, {remedy}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "choose another folder with --out" if has_out else "make it writable, or use a copy of it"
        return f"no permission to write to {folder}; {remedy}"
    return f"cannot write to {folder}: {error.strerror or error}"


def shell_path(path: Path) -> str:
    """Return a path as a word of a command line: quoted if necessary, and not mistaken for a flag."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def resume_command(folder: Path) -> str:
    """Return the command that resumes a run."""
    return f"equipoise resume {shell_path(folder)}"


def report_command(folder: Path) -> str:
    """Return the command that writes the report of a run."""
    return f"equipoise report {shell_path(folder)}"
