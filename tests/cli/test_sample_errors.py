"""Errors of `sample`: one line, exit code 2, and no file written."""

import shutil
from pathlib import Path

import pytest

from equipoise.cli import main as cli


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--label 10", "label 10 does not exist; labels are 0 to 9"),
        ("--label -1", "label -1 does not exist; labels are 0 to 9"),
        ("--truncation 0", "truncation = 0: it must be above 0"),
        ("--truncation -1", "truncation = -1: it must be above 0"),
        ("--truncation nan", "truncation = nan: it must be finite"),
        ("--count 0", "count = 0: it must be at least 1"),
        ("--count -5", "count = -5: it must be at least 1"),
        ("--count many", "--count"),
    ],
)
def test_invalid_arguments(
    error_without_changes, trained: Path, working_directory: Path, words: str, message: str
) -> None:
    assert message in error_without_changes(trained, "sample", trained, "--out", "x.png", *words.split(" "))
    assert list(working_directory.iterdir()) == []


@pytest.mark.parametrize("name", ["x.jpg", "x.csv", "deep/x.txt"])
def test_unsupported_extension(error_without_changes, trained: Path, working_directory: Path, name: str) -> None:
    line = error_without_changes(trained, "sample", trained, "--out", name)
    assert f"cannot write these samples to {Path(name).name}" in line
    assert ".png or .npy" in line
    assert list(working_directory.iterdir()) == []


def test_label_for_points(error_line, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--steps", "1", "--batch-size", "8", "--model", "mlp", "--option", "width=4", "--json")
    assert cli.run(["train", "ring", *words, "--out", str(tmp_path / "points")]) == 0
    capsys.readouterr()
    line = error_line("sample", tmp_path / "points", "--label", "1", "--out", "x.csv")
    assert "--label" in line
    assert ".csv or .npy" in error_line("sample", tmp_path / "points", "--out", "x.png")


def test_run_without_weights(error_without_changes, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "checkpoints")
    for name in ("generator", "discriminator"):
        (run_folder / f"{name}.safetensors").unlink()
    assert "has no weights yet" in error_without_changes(run_folder, "sample", run_folder, "--out", "x.png")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_weights(error_without_changes, run_folder: Path, share: float) -> None:
    path = run_folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    line = error_without_changes(run_folder, "sample", run_folder, "--out", "x.png")
    assert f"{path} is damaged: " in line
    assert "--step last" in line
    path.unlink()
    assert cli.run(["sample", str(run_folder), "--out", "x.png"]) == 0


@pytest.mark.parametrize("what", ["seed", "count"])
def test_number_out_of_range(error_line, trained: Path, what: str) -> None:
    line = error_line("sample", trained, "--out", "x.png", f"--{what}", "99999999999999999999999")
    assert line.startswith(f"{what} = 99999999999999999999999: it must be")
