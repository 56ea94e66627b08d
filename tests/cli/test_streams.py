"""Output that is closed, or has another encoding; names of any bytes; signals; a current folder that was deleted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.runs.run import Run

PROGRAM = (sys.executable, "-m", "equipoise")
RING = ("train", "ring", "--steps", "2", "--batch-size", "8", "--metric", "none", "--option", "width=4", "--no-film")
ODD_NAME = b"caf\xe9\x1b[31m\nx"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command in which $E is the program."""
    environment = {**os.environ, "E": " ".join(PROGRAM), **environment}
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, env=environment)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "| head -1"])
@pytest.mark.parametrize(("command", "code"), [("--help", 0), ("runs . --jsn", 2)])
def test_closed_streams(working_directory: Path, redirection: str, command: str, code: int) -> None:
    ended = shell(f"$E {command} {redirection}; exit ${{PIPESTATUS[0]}}")
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == code


def test_run_survives_the_end_of_its_reader(working_directory: Path) -> None:
    ended = shell(f"$E {' '.join(RING)} --out run 2>&1 | head -c 1; exit ${{PIPESTATUS[0]}}")
    assert ended.returncode == 0
    assert Run(working_directory / "run").lines()[-1]["event"] == "finished"
    assert (working_directory / "run" / "report.html").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_the_output(encoding: str) -> None:
    ended = shell("$E list models && $E --help", PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ("…" in ended.stdout.decode(encoding)) == (encoding == "utf-8")


def test_current_folder_that_was_deleted(working_directory: Path) -> None:
    ended = shell("mkdir gone && cd gone && rmdir ../gone && $E list; echo $?; $E --version")
    assert ended.stderr == b"equipoise: the current folder no longer exists; change to another folder, then try again\n"
    assert ended.stdout.startswith(b"2\n")


def test_names_of_any_bytes(working_directory: Path) -> None:
    """Files, classes and the run folder: printed as escapes, by every command, and in every file of the report."""
    for label in ("a", os.fsdecode(ODD_NAME)):
        Path(label).mkdir()
    folder = working_directory / "photos"
    for label in (b"cats", ODD_NAME):
        path = os.path.join(os.fsencode(folder), label)
        os.makedirs(path)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            with open(os.path.join(path, ODD_NAME + b"%d.png" % number), "wb") as file:
                Image.fromarray(pixels).save(file, "PNG")
    with open(os.path.join(path, b"broken" + ODD_NAME + b".png"), "wb") as file:
        file.write(b"no image")
    size = ["--image-size", "16", "--steps", "2", "--batch-size", "4", "--option", "width=4", "--metric", "none"]
    out = os.fsdecode(b"run" + ODD_NAME)
    words = [*PROGRAM, "train", "photos", *size, "--out", out]
    ended = subprocess.run([os.fsencode(word) for word in words], capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    for output in (ended.stdout, ended.stderr):
        assert b"\x1b" not in output
        output.decode("utf-8")
    assert b"report: runcaf\\xe9\\x1b[31m\\nx/report.html" in ended.stdout
    report = (Path(out) / "report.html").read_text(encoding="utf-8")
    assert "brokencaf\\xe9\\x1b[31m\\nx.png" in report
    assert "\x1b" not in report
    data = json.loads((Path(out) / "data.json").read_text(encoding="utf-8"))
    assert (data["train"] + data["held_out"], data["skipped"]) == (24, 1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signal_saves_the_run(working_directory: Path, name: str) -> None:
    words = [*PROGRAM, *RING[:2], "--steps", "100000", *RING[4:], "--sample-every", "10", "--out", "run"]
    number = getattr(signal, name)
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
    )  # the signal may be ignored here: these tests may run under nohup
    try:
        wait_for(working_directory / "run" / "samples" / "step-00000020.npy")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert b"everything is saved. Resume with: equipoise resume run" in out
    last = Run(working_directory / "run").lines()[-1]
    assert (last["event"], last["reason"]) == ("finished", "interrupted")
    assert (working_directory / "run" / "checkpoints" / f"step-{last['step']:08d}").is_dir()


def test_ignored_signal_remains_ignored(working_directory: Path) -> None:
    """As with `nohup`: the run goes on when the terminal is closed."""
    words = " ".join([*RING[:2], "--steps", "60", *RING[4:], "--sample-every", "10", "--out", "run"])
    process = subprocess.Popen(["bash", "-c", f"trap '' HUP; exec {' '.join(PROGRAM)} {words}"])
    wait_for(working_directory / "run" / "samples" / "step-00000010.npy")
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) in (0, 3)
    assert Run(working_directory / "run").lines()[-1]["reason"] == "steps"


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)
