"""Runs in other processes, killed at different moments, resume to the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands.train import experiment_of
from equipoise.cli.output import INTERRUPTED
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.runs.run import Run
from equipoise.training import checkpoint

STEPS = 60
WORDS = (
    *("train", "digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16"),
    *("--steps", str(STEPS), "--batch-size", "8", "--precision", "bf16", "--controller", "annealed", "--threads", "1"),
    *("--sample-every", "20", "--evaluate-every", "1000", "--save-every", "5", "--set", "augment_p=linear(0, 0.5)"),
)
PATIENCE = 120.0


def start_process(folder: Path) -> subprocess.Popen[str]:
    """Start a run in another process."""
    words = [sys.executable, "-m", "equipoise", *WORDS, "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition; the process must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.001)


def log_size(folder: Path) -> int:
    """Return the size of the log in bytes."""
    try:
        return (folder / "events.jsonl").stat().st_size
    except FileNotFoundError:
        return 0


def resume_here(folder: Path) -> None:
    """Resume in this process, with other global random states."""
    torch.manual_seed(99)
    np.random.seed(99)
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)


def resume_in_new_process(folder: Path) -> None:
    words = [sys.executable, "-m", "equipoise", "resume", str(folder), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not killed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    args = arguments.parse(cli.parser("train"), WORDS[1:])
    *_, last = launch.start(complete(experiment_of(args)), folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    return folder


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run in another process, which is killed after the test at the latest."""
    process = start_process(tmp_path / "run")
    yield tmp_path / "run", process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def assert_as_complete(assert_equal_runs, complete_run: Path) -> Callable[[Path], None]:
    """Check that a resumed run equals the one that was not killed, checkpoints included."""

    def check(folder: Path) -> None:
        assert_equal_runs(folder, complete_run)
        first, second = ({path.name for path in (run / "checkpoints").iterdir()} for run in (folder, complete_run))
        assert first == second

    return check


@pytest.mark.parametrize("share", [0.02, 0.35, 0.65, 0.93])
def test_killed_run_resumes_to_the_same_bytes(running, complete_run: Path, assert_as_complete, share: float) -> None:
    folder, process = running
    wait_until(lambda: log_size(folder) >= share * log_size(complete_run), process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert log_size(folder) < log_size(complete_run)
    assert not (folder / "generator.safetensors").exists()
    resume_here(folder)
    assert_as_complete(folder)


def test_kill_during_checkpoint_and_second_kill(running, assert_as_complete) -> None:
    """Stopped while a checkpoint is partial; if it was complete by then, at the next one. Resumed twice."""
    folder, process = running

    def has_partial() -> bool:
        return any((folder / "checkpoints").glob("*.partial"))

    def is_stopped_in_checkpoint() -> bool:
        if not has_partial():
            return False
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if has_partial() and checkpoint.find(folder / "checkpoints"):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    wait_until(is_stopped_in_checkpoint, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert has_partial()
    for event in (again := launch.resume(folder)):
        if event.step == STEPS - 3:
            break
    again.close()
    resume_in_new_process(folder)
    assert not has_partial()
    assert len([line for line in Run(folder).lines() if line["event"] == "resumed"]) == 2
    assert_as_complete(folder)


def test_interrupted_run_saves_and_names_resume_command(running, complete_run: Path, final_bytes, valid_events) -> None:
    folder, process = running
    wait_until(lambda: log_size(folder) >= 0.4 * log_size(complete_run), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == INTERRUPTED == 130
    assert f"equipoise resume {folder}" in out
    assert "Traceback" not in err
    last = Run(folder).lines()[-1]
    assert (last["event"], last["reason"]) == ("finished", "interrupted")
    assert checkpoint.find(folder / "checkpoints")[-1].name == checkpoint.folder_name(last["step"])
    resume_here(folder)
    result, expected = final_bytes(folder), final_bytes(complete_run)
    assert [name for name in expected if result[name] != expected[name]] == []
    first, second = ([line for line in valid_events(run) if line["event"] != "saved"] for run in (folder, complete_run))
    assert [line for line in first if line.get("reason") != "interrupted"] == second
