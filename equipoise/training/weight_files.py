"""Files of final weights: one safetensors file per network, with its training step and a checksum in the metadata.

    generator.safetensors        the running average, which samples are generated from
    discriminator.safetensors

Format: https://huggingface.co/docs/safetensors. Metadata of these files: `step`, after which the network had these
weights; `last_step`, of the run when the file was written, larger if the weights are those of an earlier step with a
better metric; `sha256`, of the tensors and of the header without this entry. Earlier versions wrote only `step`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from equipoise.errors import CheckpointError
from equipoise.runs.artifacts import write_bytes

METADATA = "__metadata__"
CHECKSUM = "sha256"
UNCHECKED = {"step"}
"""Metadata of files of earlier versions, which have no checksum."""


@dataclass(frozen=True, slots=True)
class FinalWeights:
    """The tensors of one network by their names in its state_dict. `step`, `last_step`: see the module."""

    tensors: Mapping[str, Tensor]
    step: int
    last_step: int


def weights_path(folder: Path, network: str) -> Path:
    """Return the path of the final weights of a network in a run folder."""
    return folder / f"{network}.safetensors"


def write_weights(folder: Path, networks: Mapping[str, Mapping[str, Tensor]], step: int, last_step: int) -> None:
    """Write the final weights of networks, tensors by name, one file each; atomic."""
    for name, tensors in networks.items():
        plain = {key: value.detach().contiguous().cpu() for key, value in tensors.items()}
        content = encode_safetensors(plain, {"step": str(step), "last_step": str(last_step)}, checksum=True)
        write_bytes(weights_path(folder, name), content)


def read_weights(path: Path) -> FinalWeights:
    """Read the final weights of a network. Raises CheckpointError for a file that is damaged or cannot be read."""
    try:
        content = path.read_bytes()
        header, data = _split(content)
        metadata = header[METADATA]
        if metadata.keys() != UNCHECKED and metadata.get(CHECKSUM) != _checksum(header, data):
            _raise_damaged(path, "its checksum differs from its content", None)
        step = int(str(metadata["step"]))
        tensors = load(content)  # in any order
        ordered = {name: tensors[name] for name in header if name != METADATA}
        return FinalWeights(ordered, step, int(str(metadata.get("last_step", step))))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        _raise_damaged(path, "it cannot be read", error)


def read_steps(path: Path) -> tuple[int, int]:
    """Return `step` and `last_step` of a file, from its header. Raises CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            metadata = json.loads(file.read(min(size, path.stat().st_size)))[METADATA]
        step = int(metadata["step"])
        return step, int(metadata.get("last_step", step))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        _raise_damaged(path, "it cannot be read", error)


def encode_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, checksum: bool = False) -> bytes:
    """Encode a safetensors file: 8 bytes with the length of the JSON header, the header, the tensors.

    The package writes metadata in any order; here the order is fixed, so that the same tensors give the same bytes.
    `checksum`: add a checksum to the metadata.
    """
    header, data = _split(save(dict(tensors), dict(metadata)))
    header[METADATA] = dict(metadata)
    if checksum:
        header[METADATA][CHECKSUM] = _checksum(header, data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _split(content: bytes) -> tuple[dict[str, dict[str, object]], bytes]:
    """Return the header and the bytes of the tensors. Raises ValueError if the header is not JSON."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _checksum(header: Mapping[str, Mapping[str, object]], data: bytes) -> str:
    """Return the SHA-256 of a header, without its checksum, and of the tensors."""
    metadata = {name: value for name, value in header[METADATA].items() if name != CHECKSUM}
    digest = hashlib.sha256(json.dumps({**header, METADATA: metadata}, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def _raise_damaged(path: Path, problem: str, error: Exception | None) -> NoReturn:
    raise CheckpointError(
        f"{path} is damaged: {problem}; restore it, or use the weights of a checkpoint: --step last"
    ) from error
