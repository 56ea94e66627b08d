"""Creating run folders and choosing their names; safe if several processes do so at once."""

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from equipoise.errors import RunError, unwritable
from equipoise.runs.artifacts import PARTIAL, write_text
from equipoise.runs.locks import BUSY, hold, is_lock, lock_of
from equipoise.runs.run import EVENTS_FILE, EXPERIMENT_FILE


def create_run(folder: Path, experiment: Mapping[str, object]) -> None:
    """Create a run folder with its experiment.json and an empty log.

    Raises RunError if the folder exists and is not empty, or cannot be written.
    """
    require_free(folder)
    log = folder / EVENTS_FILE
    try:
        with hold(log, BUSY, owner=folder):
            if (folder / EXPERIMENT_FILE).exists():  # created by another process in the meantime
                require_free(folder)
            log.touch()
            write_text(folder / EXPERIMENT_FILE, json.dumps(experiment, indent=2) + "\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            log.unlink(missing_ok=True)
            lock_of(log).unlink(missing_ok=True)
            folder.rmdir()
        raise RunError(unwritable(folder, error)) from error


def require_free(folder: Path) -> None:
    """Raise RunError if a folder exists and is not empty, or cannot be read.

    Partial files and lock files of a killed process do not count.
    """
    try:
        if not folder.exists() or (folder.is_dir() and all(map(_is_leftover, folder.iterdir()))):
            return
        is_run = (folder / EXPERIMENT_FILE).exists()
    except OSError as error:
        raise RunError(unwritable(folder, error)) from error
    hint = f"resume it with: equipoise resume {folder}; or" if is_run else "it is not empty;"
    raise RunError(f"{folder} exists already; {hint} choose another folder with --out")


def _is_leftover(path: Path) -> bool:
    return (path.name.startswith(".") and path.name.endswith(PARTIAL)) or is_lock(path)


def next_free_folder(folder: Path, stem: str) -> Path:
    """Return `folder`/`stem`-N for the lowest N from 1 that does not exist."""
    existing = {path.name for path in folder.glob(f"{stem}-*")} if folder.exists() else set()
    return folder / next(f"{stem}-{number}" for number in itertools.count(1) if f"{stem}-{number}" not in existing)


@contextlib.contextmanager
def claim_folder(folder: Path, stem: str) -> Iterator[Path]:
    """Create an empty folder `folder`/`stem`-N that no other process uses; remove it at the end if it is still empty.

    Raises RunError if it cannot be created.
    """
    is_new = not folder.exists()
    for number in itertools.count(1):
        path = folder / f"{stem}-{number}"
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(unwritable(path, error)) from error
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            if is_new:
                folder.rmdir()
