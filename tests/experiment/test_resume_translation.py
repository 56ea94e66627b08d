"""Image-to-image runs resume to the same bytes: image pools, both pairs of networks, dropout."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands.train import experiment_of
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.training import checkpoint

STEPS = 24
SHARED = (
    *("openmoji", "--image-size", "16", "--steps", str(STEPS), "--batch-size", "4", "--precision", "bf16"),
    *("--threads", "1", "--sample-every", "8", "--evaluate-every", "12", "--save-every", "3"),
    *("--set", "augment_p=0.3", "--option", "width=2", "patch=16"),
)
MODELS = {"pix2pix": ("norm=batch", "dropout=0.5"), "cyclegan": ("blocks=1", "pool=6")}
PATIENCE = 120.0


def words(model: str) -> list[str]:
    return [*SHARED, *MODELS[model], "--model", model]


def start_and_kill(model: str, folder: Path) -> None:
    """Start a run in another process and kill it after its second checkpoint."""
    command = [sys.executable, "-m", "equipoise", "train", *words(model), "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + PATIENCE
    while len(checkpoint.find(folder / "checkpoints")) < 2:
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("model", MODELS)
def test_killed_translation_run_resumes_to_the_same_bytes(
    model: str, tmp_path: Path, assert_equal_runs, final_bytes
) -> None:
    uninterrupted, folder = tmp_path / "whole", tmp_path / "killed"
    *_, last = launch.start(complete(experiment_of(arguments.parse(cli.parser("train"), words(model)))), uninterrupted)
    assert (last.reason, last.step) == ("steps", STEPS)
    start_and_kill(model, folder)
    assert not (folder / "generator.safetensors").exists()
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    assert_equal_runs(folder, uninterrupted)
    if model == "cyclegan":
        assert {f"memory/{name}" for name in ("pool", "pool_back")} <= final_bytes(uninterrupted).keys()
