"""A kill costs a game from image to image nothing either: its pools, both pairs of networks and dropout go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands.train import experiment_of
from equipoise.experiment import launch
from equipoise.experiment.settings import complete
from equipoise.runs.run_folder import Run
from equipoise.training import checkpoint

STEPS = 24
SHARED = (
    *("openmoji", "--image-size", "16", "--steps", str(STEPS), "--batch-size", "4", "--precision", "bf16"),
    *("--threads", "1", "--sample-every", "8", "--evaluate-every", "12", "--save-every", "3"),
    *("--set", "augment_p=0.3", "--option", "width=2", "patch=16"),
)
GAMES = {"pix2pix": ("norm=batch", "dropout=0.5"), "cyclegan": ("blocks=1", "pool=6")}
PATIENCE = 120.0


def words(model: str) -> list[str]:
    return [*SHARED, *GAMES[model], "--model", model]


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_clock(item) for name, item in value.items() if name != "seconds"}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def said(folder: Path) -> list[Any]:
    return [without_clock(line) for line in Run(folder).lines() if line["event"] != "resumed"]


def left(folder: Path) -> dict[str, bytes]:
    """Weights and samples, and every tensor of the last checkpoint, byte for byte."""
    paths = (*folder.glob("*.safetensors"), *folder.glob("samples/*"))
    result = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    tensors = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    return result | {name: value.numpy().tobytes() for name, value in tensors.items()}


def killed(model: str, folder: Path) -> None:
    """A run in a process of its own, killed once it has saved something and before it ends."""
    command = [sys.executable, "-m", "equipoise", "train", *words(model), "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    late = time.monotonic() + PATIENCE
    while len(checkpoint.find(folder / "checkpoints")) < 2:
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < late, "it takes too long"
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("model", GAMES)
def test_a_killed_run_ends_with_the_same_bytes(model: str, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    *_, last = launch.start(complete(experiment_of(arguments.parse(cli.parser("train"), words(model)))), whole)
    assert (last.reason, last.step) == ("steps", STEPS)
    killed(model, folder)
    assert not (folder / "generator.safetensors").exists()
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    mine, theirs = left(folder), left(whole)
    assert mine.keys() == theirs.keys()
    assert [name for name in theirs if mine[name] != theirs[name]] == []
    assert said(folder) == said(whole)
    if model == "cyclegan":
        assert {f"memory/{name}" for name in ("pool", "pool_back")} <= theirs.keys()
