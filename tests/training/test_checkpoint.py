"""Checkpoints: atomic, exact, and damaged ones are reported with a remedy."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import CheckpointError
from equipoise.training import checkpoint
from equipoise.training.checkpoint import FORMAT, STATE, TENSORS, Checkpoint, check_shapes, find, prune, read, write

VALUES = {"step": 400, "images": 25600, "seconds": 1.25, "pilot": {"knobs": {"lr_g": 2e-4}, "ranks": [[0.1, 0.5]]}}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """Return one tensor of every kind that a state can hold, including NaN and minus zero."""
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    return {
        "network/generator/weight": noise,
        "network/generator/low": noise.bfloat16(),
        "network/generator/half": noise.half(),
        "network/generator/transposed": noise.double().t(),
        "optimizer/generator/0/step": torch.tensor(7.0),
        "memory/count": torch.tensor(2**40 + 1),
        "memory/flag": torch.tensor([True, False]),
        "memory/empty": torch.zeros(0, 2),
        "memory/odd": torch.tensor([torch.nan, -0.0, torch.inf, 1e-45]),
        "random/moment": torch.Generator().manual_seed(3).get_state(),
        "weight/with/graph": noise[0].clone().requires_grad_(),
    }


def saved(folder: Path, step: int = 400, seed: int = 0) -> Path:
    return write(folder, Checkpoint(step, tensors(seed), {**VALUES, "step": step}))


def content(value: Tensor) -> bytes:
    return value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""


def test_read_returns_what_was_written_bit_for_bit(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert path == tmp_path / "step-00000400"
    loaded, original = read(path), tensors()
    assert loaded.step == 400
    assert {name: loaded.values[name] for name in VALUES} == VALUES
    assert loaded.tensors.keys() == original.keys()
    for name, value in original.items():
        result = loaded.tensors[name]
        assert (result.dtype, result.shape) == (value.dtype, value.shape), name
        assert content(result) == content(value), name
        assert not result.requires_grad


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert sorted(file.name for file in path.iterdir()) == [STATE, TENSORS]
    assert json.loads((path / STATE).read_text())["format"] == FORMAT
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_same_state_gives_same_bytes(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    for name in (STATE, TENSORS):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_checkpoint_of_same_step_is_replaced(tmp_path: Path) -> None:
    saved(tmp_path, seed=0)
    path = saved(tmp_path, seed=1)
    assert torch.equal(read(path).tensors["network/generator/weight"], tensors(1)["network/generator/weight"])
    assert find(tmp_path) == [path]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("file", [TENSORS, STATE])
def test_truncated_file_is_reported(tmp_path: Path, file: str, share: float) -> None:
    path = saved(tmp_path) / file
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_damaged(path.parent, file)


@pytest.mark.parametrize("place", [0, 8, 100, -1])
def test_changed_byte_is_reported(tmp_path: Path, place: int) -> None:
    path = saved(tmp_path) / TENSORS
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert_damaged(path.parent, TENSORS)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", '"state"', "{}", '{"format": 1}', '{"step": 1}', "[" * 9999]
)
def test_invalid_state_is_reported(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    (path / STATE).write_text(text)
    assert_damaged(path, STATE)


def test_state_that_is_not_text_is_reported(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (path / STATE).write_bytes(b"\xff\xfe\x00")
    assert_damaged(path, STATE)


@pytest.mark.parametrize("file", [TENSORS, STATE])
def test_missing_file_is_reported(tmp_path: Path, file: str) -> None:
    path = saved(tmp_path)
    (path / file).unlink()
    assert_damaged(path, file)


def assert_damaged(path: Path, file: str) -> None:
    """Check that the error names the file, the folder and a remedy in one line."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}/{file} ")
    assert "there is no checkpoint before it" in message
    assert str(path) in message
    assert "\n" not in message
    saved(path.parent, 10)
    with pytest.raises(CheckpointError, match="delete that folder to resume from the checkpoint before it"):
        read(path)


def test_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = saved(tmp_path)
    state = json.loads((path / STATE).read_text())
    (path / STATE).write_text(json.dumps({**state, "format": FORMAT + 1}))
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert f"step-00000400 has format {FORMAT + 1}, newer than this version reads ({FORMAT})" in str(caught.value)
    assert "upgrade equipoise" in str(caught.value)
    assert "delete" not in str(caught.value)


def names(folder: Path) -> list[str]:
    return [path.name for path in find(folder)]


def test_last_three_and_required_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40, 50):
        saved(tmp_path, step)
    assert names(tmp_path) == [f"step-000000{step}" for step in (10, 20, 30, 40, 50)], "oldest first"
    prune(tmp_path, {20})
    assert names(tmp_path) == ["step-00000020", "step-00000030", "step-00000040", "step-00000050"]
    prune(tmp_path, {40})
    assert names(tmp_path) == ["step-00000030", "step-00000040", "step-00000050"]
    prune(tmp_path, ())
    assert names(tmp_path) == ["step-00000030", "step-00000040", "step-00000050"]
    assert read(tmp_path / "step-00000030").step == 30


def test_fewer_than_three_checkpoints_are_all_kept(tmp_path: Path) -> None:
    prune(tmp_path, ())
    assert names(tmp_path) == []
    for step in (1, 2):
        saved(tmp_path, step)
    prune(tmp_path, {99})
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize(("room", "steps"), [(4, [2, 4, 5, 6]), (3, [2, 5, 6]), (2, [2, 6]), (1, [2, 6]), (0, [2, 6])])
def test_fewer_checkpoints_are_kept_above_the_size_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, steps: list[int]
) -> None:
    """The newest and the required ones are always kept."""
    for step in range(1, 7):
        path = saved(tmp_path, step)
    size = sum(file.stat().st_size for file in path.iterdir())
    monkeypatch.setattr(checkpoint, "MAX_BYTES", room * size)
    prune(tmp_path, {2})
    assert names(tmp_path) == [f"step-0000000{step}" for step in steps]


def test_partial_checkpoint_is_removed(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, 10)
    half = tmp_path / "step-00000020.partial"
    half.mkdir()
    (half / TENSORS).write_bytes(b"half")
    assert find(tmp_path) == [checkpoint], "it is not listed"
    prune(tmp_path, ())
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_leftover_partial_folder_is_replaced(tmp_path: Path) -> None:
    half = tmp_path / "step-00000400.partial"
    half.mkdir()
    (half / "something else").write_text("left over")
    path = saved(tmp_path)
    assert sorted(file.name for file in path.iterdir()) == [STATE, TENSORS]
    assert list(tmp_path.iterdir()) == [path]


class KilledError(BaseException):
    """Simulate a kill, which no handler catches."""


def kill(*args: object, **kwargs: object) -> None:
    raise KilledError


PLACES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the tensors": lambda patch: patch.setattr(checkpoint, "save_file", kill),
    "before the state": lambda patch: patch.setattr(Path, "write_text", kill),
    "before it is on the disk": lambda patch: patch.setattr(os, "fsync", kill),
    "before it has its name": lambda patch: patch.setattr(Path, "rename", kill),
}


@pytest.mark.parametrize("place", PLACES)
def test_kill_while_writing_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    before = saved(tmp_path, 10)
    with monkeypatch.context() as patch:
        PLACES[place](patch)
        with pytest.raises(KilledError):
            saved(tmp_path, 20)
    assert find(tmp_path) == [before]
    assert read(before).step == 10
    after = saved(tmp_path, 20)
    assert find(tmp_path) == [before, after]
    assert read(after).step == 20
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("place", ["save_file", "rename"])
def test_full_disk_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    before = saved(tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(*((checkpoint, "save_file", full) if place == "save_file" else (Path, "rename", full)))
        with pytest.raises(OSError, match="No space left"):
            saved(tmp_path, 20)
    assert list(tmp_path.iterdir()) == [before]


def test_weights_of_another_network_are_reported() -> None:
    expected, saved_weights = nn.Linear(2, 3).state_dict(), nn.Linear(2, 5).state_dict()
    check_shapes(expected, dict(expected), "generator", "step-00000400")
    with pytest.raises(CheckpointError, match=r"step-00000400 .* generator bias is 5 in the file and 3 in this model"):
        check_shapes(expected, saved_weights, "generator", "step-00000400")
    with pytest.raises(CheckpointError, match="generator weight is missing in the file and 3 x 2 in this model"):
        check_shapes(expected, {"bias": expected["bias"]}, "generator", "step-00000400")
    with pytest.raises(
        CheckpointError, match="generator scale is a single number in the file and missing in this model"
    ):
        check_shapes(expected, {**expected, "scale": torch.ones(())}, "generator", "step-00000400")
