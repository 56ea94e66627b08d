"""Checkpoints: a folder each, safetensors and JSON, written whole or not at all.

checkpoints/step-00000400/tensors.safetensors    weights, averages, optimizers, memory, random states
checkpoints/step-00000400/state.json             counters, the pilot's memory, and the digest of the tensors
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
from equipoise.runs.run_folder import CHECKPOINTS

FORMAT = 1
KEEP = 3
CAP = 2 * 1024**3
"""At most so many bytes of checkpoints a run; the newest, the best and those that repair goes back to always stay."""

TENSORS = "tensors.safetensors"
STATE = "state.json"
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory. Names of tensors are paths: `network/generator/…`, `pilot/…`."""

    step: int
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def name_of(step: int) -> str:
    """The folder name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint under `folder`; a kill at any byte leaves either all of it or nothing that counts."""
    final = folder / name_of(checkpoint.step)
    partial = folder / f"{final.name}{_PARTIAL}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        # Clones, for tensors that share memory are refused: tied weights, or a tally that has seen one step.
        tensors = {
            name: value.detach().clone(memory_format=torch.contiguous_format)
            for name, value in checkpoint.tensors.items()
        }
        save_file(tensors, partial / TENSORS)
        state = {"format": FORMAT, "sha256": _digest(partial / TENSORS), **checkpoint.values}
        (partial / STATE).write_text(json.dumps(state))
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
    """Read a checkpoint. Raises CheckpointError if it is damaged or of a newer version."""
    way_out = f"delete that folder and the run goes on from the checkpoint before it: {path}"
    try:
        values = json.loads((path / STATE).read_text())
        version = values["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path.name}/{STATE} cannot be read; {way_out}") from error
    if not isinstance(version, int) or version > FORMAT:
        raise CheckpointError(
            f"{path.name} has format {version}, newer than this version reads ({FORMAT}); upgrade equipoise: {path}"
        )
    try:
        digest, step = values["sha256"], int(values["step"])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path.name}/{STATE} lacks {error}; {way_out}") from error
    try:
        if _digest(path / TENSORS) != digest:
            raise CheckpointError(f"{path.name}/{TENSORS} is cut short or altered; {way_out}")
        return Checkpoint(step, load_file(path / TENSORS), values)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path.name}/{TENSORS} cannot be read; {way_out}") from error


def check_shapes(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], network: str, source: str) -> None:
    """Raise CheckpointError, naming `source`, where weights are those of another network."""
    for key in sorted(mine.keys() | theirs.keys()):
        here, there = mine.get(key), theirs.get(key)
        if here is None or there is None or here.shape != there.shape:
            raise CheckpointError(
                f"{source} is of another network: {network} {key} is {_shape(there)} there and {_shape(here)} here; "
                "build the same GAN, width and image size as the run that wrote it"
            )


def find(folder: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.suffix != _PARTIAL and path.is_dir())


def of(path: Path) -> Path | None:
    """The checkpoint that a path stands for: itself, or the last of the run in that folder; None if there is none."""
    if (path / STATE).is_file():
        return path
    saved = find(path / CHECKPOINTS)
    return saved[-1] if saved else None


def prune(folder: Path, kept: Collection[int | None]) -> None:
    """Remove what a kill left half-written, and all but the last three and those `kept`.

    Of the last three fewer, where all together would outgrow the cap; the newest and those `kept` stay in any case.
    """
    for path in folder.glob(f"*{_PARTIAL}"):
        shutil.rmtree(path, ignore_errors=True)
    whole = find(folder)
    names = {name_of(step) for step in kept if step is not None}
    spared = {whole[-1]} | {path for path in whole if path.name in names} if whole else set()
    room = CAP - sum(map(_size, spared))
    for age, path in enumerate(reversed(whole)):
        if path in spared:
            continue
        room -= _size(path)
        if age >= KEEP or room < 0:
            shutil.rmtree(path)


def _as_os_error(error: OSError | SafetensorError) -> OSError:
    """safetensors tells what the system refused in words alone: "… (os error 28)"."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]) if number else errno.EIO, str(error))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shape(value: Tensor | None) -> str:
    return "missing" if value is None else " x ".join(map(str, value.shape)) or "a single number"
