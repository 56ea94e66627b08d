"""Checkpoints: one folder each, with safetensors and JSON, written atomically.

checkpoints/step-00000400/tensors.safetensors    weights, averages, optimizers, memory, random states
checkpoints/step-00000400/state.json             counters, the state of the pilot, and the digests of both files
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from equipoise.errors import CheckpointError
from equipoise.runs.migration import migrate_checkpoint
from equipoise.runs.run import CHECKPOINTS_FOLDER

FORMAT = 2
KEEP_LAST = 3
MAX_BYTES = 2 * 1024**3
"""Largest size of all checkpoints of a run; the newest, the best and those for rollbacks are never deleted."""

TENSORS = "tensors.safetensors"
STATE = "state.json"
STATE_DIGEST = "state_sha256"
"""Key of the digest of the other values of state.json; earlier versions did not write it."""
_PARTIAL = ".partial"


CheckpointValues = Mapping[str, Any]
"""The content of state.json."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory. Names of tensors are paths: `network/generator/…`, `pilot/…`."""

    step: int
    tensors: Mapping[str, Tensor]
    values: CheckpointValues

    def network(self, name: str, *, averaged: bool) -> dict[str, Tensor]:
        """Return the tensors of a network by their names in its state_dict; `averaged`: of its running average."""
        prefix = f"{'averaged' if averaged else 'network'}/{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def folder_name(step: int) -> str:
    """Return the folder name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint to `folder` atomically, even if the process is killed. Returns its path."""
    final = folder / folder_name(checkpoint.step)
    partial = folder / f"{final.name}{_PARTIAL}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        # Copies, because tensors that share memory are refused: tied weights, or statistics of a single step.
        tensors = {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in checkpoint.tensors.items()
        }
        save_file(tensors, partial / TENSORS)
        state = {"format": FORMAT, "sha256": _digest(partial / TENSORS), **checkpoint.values}
        (partial / STATE).write_text(json.dumps({**state, STATE_DIGEST: _state_digest(state)}))
        for file in partial.iterdir():
            _sync(file)
        replaced = folder / f"{final.name}.replaced{_PARTIAL}"
        if final.exists():
            final.rename(replaced)
        partial.rename(final)
        _sync(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _as_os_error(error) from error
    return final


def read(path: Path) -> Checkpoint:
    """Read a checkpoint, migrating earlier formats. Raises CheckpointError if it is damaged or of a newer version."""
    remedy = without_checkpoint(path)
    try:
        values = json.loads((path / STATE).read_text())
        version = values["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path.name}/{STATE} cannot be read; {remedy}") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path.name} has format {version}, newer than this version reads ({FORMAT}); upgrade equipoise: {path}"
        )
    try:
        if STATE_DIGEST in values and values.pop(STATE_DIGEST) != _state_digest(values):
            raise CheckpointError(f"{path.name}/{STATE} was altered; {remedy}")
        digest, step = values["sha256"], int(values["step"])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path.name}/{STATE} lacks {error}; {remedy}") from error
    try:
        if _digest(path / TENSORS) != digest:
            raise CheckpointError(f"{path.name}/{TENSORS} is incomplete or altered; {remedy}")
        return Checkpoint(step, load_file(path / TENSORS), migrate_checkpoint(values))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name}/{TENSORS} cannot be read; {remedy}") from error


def without_checkpoint(path: Path) -> str:
    """Format what to do about a checkpoint that cannot be used: resume from the one before it, if there is one."""
    if any(other < path for other in find(path.parent)):
        return f"delete that folder to resume from the checkpoint before it: {path}"
    return f"restore that folder, or start the run again in another one; there is no checkpoint before it: {path}"


def check_shapes(expected: Mapping[str, Tensor], saved: Mapping[str, Tensor], network: str, source: str) -> None:
    """Raise CheckpointError, naming `source`, if names or shapes of saved weights differ from those of a network."""
    for key in sorted(expected.keys() | saved.keys()):
        current, stored = expected.get(key), saved.get(key)
        if current is None or stored is None or current.shape != stored.shape:
            raise CheckpointError(
                f"{source} belongs to another network: {network} {key} is {_shape(stored)} in the file and "
                f"{_shape(current)} in this model; use the model, width and image size of the run that wrote it"
            )


def find(folder: Path) -> list[Path]:
    """List all complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.suffix != _PARTIAL and path.is_dir())


def latest(path: Path) -> Path | None:
    """Return the path itself if it is a checkpoint, or the last checkpoint of a run folder; None if it has none."""
    if (path / STATE).is_file():
        return path
    saved = find(path / CHECKPOINTS_FOLDER)
    return saved[-1] if saved else None


def prune(folder: Path, required: Collection[int | None], *, uncounted: Collection[int | None] = ()) -> None:
    """Delete partial checkpoints, and all others except the last three and those of the `required` steps.

    If they exceed MAX_BYTES, more are deleted, but never the newest or the required ones. `uncounted`: steps
    of required checkpoints that are not counted among the last three.
    """
    for path in folder.glob(f"*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)
    checkpoints = find(folder)
    names = {folder_name(step) for step in required if step is not None}
    protected = {checkpoints[-1]} | {path for path in checkpoints if path.name in names} if checkpoints else set()
    remaining = MAX_BYTES - sum(map(_size, protected))
    uncounted_names = {folder_name(step) for step in uncounted if step is not None}
    counted = [path for path in checkpoints if path.name not in uncounted_names]
    for age, path in enumerate(reversed(counted)):
        if path in protected:
            continue
        remaining -= _size(path)
        if age >= KEEP_LAST or remaining < 0:
            shutil.rmtree(path)


def remove(folder: Path, step: int) -> None:
    """Delete the checkpoint of a step if it exists."""
    shutil.rmtree(folder / folder_name(step), ignore_errors=True)


def _as_os_error(error: OSError | SafetensorError) -> OSError:
    """Convert an error of safetensors, which reports those of the system only as text: "… (os error 28)"."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(errno.EIO, str(error))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def _state_digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk; Windows cannot open folders for that."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shape(value: Tensor | None) -> str:
    return "missing" if value is None else " x ".join(map(str, value.shape)) or "a single number"
