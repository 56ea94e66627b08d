"""The command `sample`, and loading a run in Python."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import equipoise


def test_sample_writes_a_grid(call, trained: Path) -> None:
    code, out, _ = call("sample", trained, "--count", "6", "--out", "deep/grid.png")
    assert (code, out) == (0, "6 samples: deep/grid.png\n")
    with Image.open("deep/grid.png") as grid:
        assert grid.size == (3 * 18 - 2, 2 * 18 - 2)


def test_sample_writes_an_array(call, trained: Path) -> None:
    code, out, _ = call("sample", trained, "--count", "5", "--out", "all.npy", "--json")
    assert code == 0
    assert json.loads(out) == {"count": 5, "path": "all.npy"}
    numbers = np.load("all.npy", allow_pickle=False)
    assert (numbers.shape, numbers.dtype) == ((5, 1, 16, 16), np.float32)
    assert np.abs(numbers).max() <= 1


def test_sample_writes_single_images(call, trained: Path, working_directory: Path) -> None:
    assert call("sample", trained, "--count", "3", "--out", "folder")[0] == 0
    files = sorted((working_directory / "folder").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    with Image.open(files[0]) as image:
        assert image.size == (16, 16)


def generate(call, run: Path, *words: str) -> np.ndarray:
    assert call("sample", run, "--count", "10", "--out", "generate.npy", "--force", *words)[0] == 0
    return np.load("generate.npy", allow_pickle=False)


def test_same_seed_gives_same_samples(call, trained: Path) -> None:
    assert np.array_equal(generate(call, trained, "--seed", "3"), generate(call, trained, "--seed", "3"))
    assert not np.array_equal(generate(call, trained, "--seed", "3"), generate(call, trained, "--seed", "4"))


def test_label_applies_to_all_samples(call, trained: Path) -> None:
    """Without a label, sample i has label i."""
    each, sevens = generate(call, trained), generate(call, trained, "--label", "7")
    assert [np.allclose(a, b, atol=1e-6) for a, b in zip(each, sevens, strict=True)] == [i == 7 for i in range(10)]


def test_truncation_reduces_diversity(call, trained: Path) -> None:
    free, close = (generate(call, trained, "--label", "1", *words) for words in ((), ("--truncation", "0.1")))
    assert close.std(axis=0).mean() < 0.5 * free.std(axis=0).mean()


def test_sample_writes_points_as_csv(call, working_directory: Path) -> None:
    words = ("--steps", "3", "--batch-size", "8", "--option", "width=4", "--model", "mlp", "--out", "points", "--json")
    assert call("train", "ring", *words)[0] == 0
    assert call("sample", "points", "--count", "4", "--out", "points.csv")[0] == 0
    with open("points.csv", newline="") as file:
        rows = [[float(value) for value in row] for row in csv.reader(file)]
    assert [len(row) for row in rows] == [2] * 4
    assert call("sample", "points", "--count", "4", "--out", "folder")[0] == 0
    assert (working_directory / "folder" / "points.csv").read_text() == Path("points.csv").read_text()


def test_load_and_sample_in_python(trained: Path) -> None:
    generator = equipoise.load(trained)
    samples = generator.sample(8)
    assert samples.shape == (8, 1, 16, 16)
    assert generator.step == 12
    assert torch.equal(samples, equipoise.load(str(trained)).sample(8, seed=0))


def test_signals_end_a_command_that_writes_samples(call, trained: Path, working_directory: Path, monkeypatch) -> None:
    installed: list[bool] = []
    monkeypatch.setattr("equipoise.cli.signals.install", lambda: installed.append(True))
    assert call("sample", trained, "--count", "2", "--out", "two")[0] == 0
    assert installed == [True]
