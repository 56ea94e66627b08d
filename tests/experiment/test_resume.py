"""A kill at any moment costs nothing: real processes, killed, and what they left goes on to the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands._following import INTERRUPTED
from equipoise.cli.commands.train import experiment_of
from equipoise.experiment import launch
from equipoise.experiment.settings import complete
from equipoise.runs.run_folder import Run
from equipoise.training import checkpoint

STEPS = 60
WORDS = (
    *("train", "digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16"),
    *("--steps", str(STEPS), "--batch-size", "8", "--precision", "bf16", "--controller", "annealed", "--threads", "1"),
    *("--sample-every", "20", "--evaluate-every", "1000", "--save-every", "5", "--set", "augment_p=linear(0, 0.5)"),
)
PATIENCE = 120.0


def begin(folder: Path) -> subprocess.Popen[str]:
    """A run in a process of its own."""
    words = [sys.executable, "-m", "equipoise", *WORDS, "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Look again and again; the process must not have ended before."""
    late = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < late, "it takes too long"
        time.sleep(0.001)


def told_by(folder: Path) -> int:
    """Bytes of events so far."""
    try:
        return (folder / "events.jsonl").stat().st_size
    except FileNotFoundError:
        return 0


def go_on(folder: Path) -> None:
    """Resume in this process, whose global random states are others."""
    torch.manual_seed(99)
    np.random.seed(99)
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)


def resume_in_a_process_of_its_own(folder: Path) -> None:
    words = [sys.executable, "-m", "equipoise", "resume", str(folder), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr


def said(folder: Path) -> list[Any]:
    """The events that count, but for the clock and for having been resumed."""
    return [without_clock(line) for line in Run(folder).lines() if line["event"] != "resumed"]


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_clock(item) for name, item in value.items() if name != "seconds"}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def left(folder: Path) -> dict[str, bytes]:
    """Weights and samples, byte for byte, and every tensor of the last checkpoint, random states included."""
    result = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (*folder.glob("*.safetensors"), *folder.glob("samples/*"))
    }
    tensors = checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    return result | {name: value.numpy().tobytes() for name, value in tensors.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody killed, in this process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    asked = arguments.parse(cli.parser("train"), WORDS[1:])
    *_, last = launch.start(complete(experiment_of(asked)), folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run that has begun, and is put to an end if the test forgets to."""
    process = begin(tmp_path / "run")
    yield tmp_path / "run", process
    if process.poll() is None:
        process.kill()
    process.communicate()


def assert_as_if_nothing_had_happened(folder: Path, whole: Path) -> None:
    mine, theirs = left(folder), left(whole)
    assert mine.keys() == theirs.keys()
    assert [name for name in theirs if mine[name] != theirs[name]] == []
    assert said(folder) == said(whole)
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        path.name for path in (whole / "checkpoints").iterdir()
    }


@pytest.mark.parametrize("share", [0.02, 0.35, 0.65, 0.93])
def test_a_killed_run_ends_with_the_same_bytes(begun, whole: Path, share: float) -> None:
    folder, process = begun
    wait_until(lambda: told_by(folder) >= share * told_by(whole), process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert told_by(folder) < told_by(whole)
    assert not (folder / "generator.safetensors").exists()
    go_on(folder)
    assert_as_if_nothing_had_happened(folder, whole)


def test_a_kill_inside_the_writing_of_a_checkpoint_and_another_later(begun, whole: Path) -> None:
    """Stopped at the sight of a half-written one; if it was whole by then, the next one will do.

    Resumed twice: here, up to a second kill, and in a process of its own.
    """
    folder, process = begun

    def half_written() -> bool:
        return any((folder / "checkpoints").glob("*.partial"))

    def caught() -> bool:
        if not half_written():
            return False
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if half_written() and checkpoint.find(folder / "checkpoints"):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    wait_until(caught, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert half_written()
    for event in (again := launch.resume(folder)):
        if event.step == STEPS - 3:
            break
    again.close()
    resume_in_a_process_of_its_own(folder)
    assert not half_written()
    assert len([line for line in Run(folder).lines() if line["event"] == "resumed"]) == 2
    assert_as_if_nothing_had_happened(folder, whole)


def test_an_interrupted_run_saves_and_says_how_to_go_on(begun, whole: Path) -> None:
    folder, process = begun
    wait_until(lambda: told_by(folder) >= 0.4 * told_by(whole), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == INTERRUPTED == 130
    assert f"go on with: equipoise resume {folder}" in out
    assert "once more to stop at once" in err
    assert "Traceback" not in err
    last = Run(folder).lines()[-1]
    assert (last["event"], last["reason"]) == ("finished", "interrupted")
    assert checkpoint.find(folder / "checkpoints")[-1].name == checkpoint.name_of(last["step"])
    go_on(folder)
    mine, theirs = left(folder), left(whole)
    assert [name for name in theirs if mine[name] != theirs[name]] == []
    unsaved = [[line for line in said(each) if line["event"] != "saved"] for each in (folder, whole)]
    kept = [line for line in unsaved[0] if line.get("reason") != "interrupted"]
    assert kept == unsaved[1]
