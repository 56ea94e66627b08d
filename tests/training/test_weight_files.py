"""Files of final weights: exact, deterministic, and every damaged bit is found."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from equipoise.errors import CheckpointError
from equipoise.training.weight_files import read_steps, read_weights, write_weights

TENSORS = {"layer.weight": torch.arange(12.0).view(3, 4), "layer.bias": torch.ones(3), "count": torch.tensor(7)}


def written(folder: Path) -> Path:
    write_weights(folder, {"generator": TENSORS}, 900, 1200)
    return folder / "generator.safetensors"


def test_read_returns_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    weights = read_weights(path)
    assert (weights.step, weights.last_step) == read_steps(path) == (900, 1200)
    assert weights.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(weights.tensors[name], TENSORS[name]) for name in TENSORS)
    assert load_file(path).keys() == TENSORS.keys(), "the package reads it, too"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_same_weights_give_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        written(folder)
    assert (first / "generator.safetensors").read_bytes() == (second / "generator.safetensors").read_bytes()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """Bits of the length, the header, the metadata and the tensors; spaces at the end of the header mean nothing."""
    path = written(tmp_path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    padding = range(8 + len(content[8:end].rstrip(b" ")), end)
    assert header["__metadata__"].keys() == {"step", "last_step", "sha256"}
    for place in (place for place in range(len(content)) if place not in padding):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"generator\.safetensors is damaged: .*--step last") as error:
            read_weights(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file_is_damaged(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(path)


def test_file_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    save_file(TENSORS, path, metadata={"step": "40"})
    weights = read_weights(path)
    assert (weights.step, weights.last_step) == read_steps(path) == (40, 40)
    assert torch.equal(weights.tensors["layer.weight"], TENSORS["layer.weight"])
