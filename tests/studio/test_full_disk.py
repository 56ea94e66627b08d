"""A run folder on a full disk: the studio names what was not saved, leaves nothing half-written, and goes on."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.runs.folders import hold
from equipoise.runs.run import EVENTS_FILE, Run
from equipoise.studio.run_files import warnings_of
from tests.studio.test_launch_api import RING, wait_until

MEGABYTES = 4
PATH = "/api/runs/digits"
WRITES = {
    f"{PATH}/requests": {"action": "turn", "knob": "lr_d", "value": 1e-4},
    f"{PATH}/annotations": {"note": "a note that is longer than a line " * 20},
    f"{PATH}/chosen": {"step": 12},
    f"{PATH}/labels": {"kind": "mark", "answer": "flaw", "sample": "0/1", "step": 12},
    "/api/runs": {"data": "ring", "steps": 10},
}
"""Requests of the page that write into the folder of the runs."""
READS = ("", "/timeline", "/series?names=loss_g", "/samples", "/samples/12.png", "/requests", "/labels")


def contents(root: Path) -> dict[str, bytes]:
    """All files but empty ones, such as locks."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if content and name != "filler"}


@pytest.fixture
def small_disk(runs: Path, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory, with one run and some megabytes that are free."""
    root = tmp_path / "disk"
    root.mkdir()
    size = sum(path.stat().st_size for path in runs.rglob("*") if path.is_file()) // 2**20 + MEGABYTES
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(root)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except OSError:
        is_mounted = False
    if not is_mounted:
        pytest.skip("this test needs the permission to mount a file system")
    try:
        shutil.copytree(runs / "digits", root / "digits")
        yield root
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True, timeout=20)


@pytest.fixture
def disk(small_disk: Path) -> Path:
    """The same with a file that fills it to its last byte."""
    fill(small_disk)
    return small_disk


def fill(root: Path) -> None:
    with (root / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(root).free == 0


def test_what_cannot_be_saved_is_named_and_saved_later(open_studio, disk: Path) -> None:
    failing = (sys.executable, "-c", "import sys; print('equipoise: no space', flush=True); sys.exit(2)")
    client, log = open_studio(disk, command=failing), disk / "digits" / EVENTS_FILE
    before = contents(disk)
    with hold(log, ""):
        for path, body in WRITES.items():
            answer = client.post(path, body)
            assert answer.status == 422, path
            assert "is full; free some space, then try again" in answer.values["error"]
            assert str(disk) in answer.values["error"]
        assert contents(disk) == before
    answer = client.post(f"{PATH}/resume", {})
    assert (answer.status, "is full; free some space" in answer.values["error"]) == (422, True)
    assert "the disk of this run is full" in " ".join(warnings_of(client.studio.runs.open("digits"), {}))
    with hold(log, ""):
        for path in READS:
            assert client.run(client.call("GET", f"{PATH}{path}", b"")).status in (200, 404), path
        (disk / "filler").unlink()
        for path, body in list(WRITES.items())[:-1]:
            assert client.post(path, body).status < 300, path
    assert (disk / "digits" / "annotations.json").exists()
    Run(disk / "digits").lines()


def test_a_run_that_fills_the_disk_ends_with_a_message_and_goes_on_later(open_studio, small_disk: Path) -> None:
    client = open_studio(small_disk)
    created = client.post("/api/runs", {**RING, "save_every": 100})
    assert created.status == 201, created.values
    name = created.values["id"]
    run, page = Run(small_disk / name), f"/api/runs/{name}"
    wait_until(lambda: run.lines("saved") != [])
    fill(small_disk)
    wait_until(lambda: not client.studio.launcher.is_alive(run.folder))
    stopped = client.get(page).values
    assert stopped["row"]["state"] == "stopped"
    assert "the disk of this run is full" in " ".join(stopped["warnings"])
    (small_disk / "filler").unlink()
    step = stopped["row"]["step"]
    assert client.post(f"{page}/resume", {"steps": step + 200}).status == 202
    wait_until(lambda: not client.studio.launcher.is_alive(run.folder))
    (finished,) = run.lines("finished")
    assert finished["step"] == step + 200
    assert client.get(page).values["row"]["state"] == "finished"


def test_a_file_that_was_written_in_part_is_removed(open_studio, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where no file system can be mounted: each write stops in the middle."""
    write_bytes = Path.write_bytes

    def stop_in_the_middle(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", stop_in_the_middle)
    client, before = open_studio(runs), contents(runs)
    with hold(runs / "digits" / EVENTS_FILE, ""):
        for path in (f"{PATH}/requests", f"{PATH}/annotations", f"{PATH}/chosen"):
            answer = client.post(path, WRITES[path])
            assert (answer.status, "is full" in answer.values["error"]) == (422, True), path
    assert contents(runs) == before
