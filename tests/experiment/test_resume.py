"""Runs in other processes, killed at different moments, resume to the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
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
ARGUMENTS = (
    *("train", "digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16"),
    *("--steps", str(STEPS), "--batch-size", "8", "--precision", "bf16", "--controller", "annealed", "--threads", "1"),
    *("--sample-every", "20", "--evaluate-every", "1000", "--save-every", "5", "--set", "augment_p=linear(0, 0.5)"),
)
TIMEOUT = 120.0
WITHOUT_FILM = """
import sys
from equipoise.cli import main
from equipoise.report import film
film.film_steps = lambda run: iter(())
sys.exit(main.run(sys.argv[1:]))
"""
KILLED_AT = (0.02, 0.35, 0.65, 0.93)
"""Sizes of the log at which a run is killed, as shares of the complete one."""


def log_size(folder: Path) -> int:
    """Return the size of the log in bytes."""
    try:
        return (folder / "events.jsonl").stat().st_size
    except FileNotFoundError:
        return 0


def resume_in_this_process(folder: Path) -> None:
    """Resume in this process, with other global random states."""
    torch.manual_seed(99)
    np.random.seed(99)
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)


def resume_in_new_process(folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_FILM, "resume", str(folder), "--json"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not killed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    args = arguments.parse(cli.parser("train"), ARGUMENTS[1:])
    *_, last = launch.start(complete(experiment_of(args)), folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    return folder


@pytest.fixture
def running(tmp_path: Path, start_process) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run in another process, which is killed after the test at the latest."""
    process = start_process(*ARGUMENTS, "--out", tmp_path / "run")
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


@pytest.fixture(scope="module")
def killed_runs(
    tmp_path_factory: pytest.TempPathFactory, start_process, wait_until, complete_run: Path
) -> dict[float, Path]:
    """Copies of a run at different shares of its log, made while its process was stopped; it is killed at the last."""
    parent = tmp_path_factory.mktemp("killed")
    folder, size = parent / "run", log_size(complete_run)
    process = start_process(*ARGUMENTS, "--out", folder)
    for share in KILLED_AT:
        wait_until(lambda share=share: log_size(folder) >= share * size, process)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        shutil.copytree(folder, parent / str(share))
        process.send_signal(signal.SIGCONT if share != KILLED_AT[-1] else signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return {share: parent / str(share) for share in KILLED_AT}


@pytest.mark.parametrize("share", KILLED_AT)
def test_killed_run_resumes_to_the_same_bytes(
    killed_runs: dict[float, Path], complete_run: Path, assert_as_complete, share: float
) -> None:
    folder = killed_runs[share]
    assert log_size(folder) < log_size(complete_run)
    assert not (folder / "generator.safetensors").exists()
    resume_in_this_process(folder)
    assert_as_complete(folder)


def test_kill_during_checkpoint_and_second_kill(running, wait_until, assert_as_complete) -> None:
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


def test_interrupted_run_saves_and_names_resume_command(
    running, wait_until, complete_run: Path, final_bytes, valid_events
) -> None:
    folder, process = running
    wait_until(lambda: log_size(folder) >= 0.4 * log_size(complete_run), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == INTERRUPTED == 130
    assert f"equipoise resume {folder}" in out
    assert "Traceback" not in err
    last = Run(folder).lines()[-1]
    assert (last["event"], last["reason"]) == ("finished", "interrupted")
    assert checkpoint.find(folder / "checkpoints")[-1].name == checkpoint.folder_name(last["step"])
    resume_in_this_process(folder)
    result, expected = final_bytes(folder), final_bytes(complete_run)
    assert [name for name in expected if result[name] != expected[name]] == []
    first, second = ([line for line in valid_events(run) if line["event"] != "saved"] for run in (folder, complete_run))
    assert [line for line in first if line.get("reason") != "interrupted"] == second
