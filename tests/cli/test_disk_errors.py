"""Missing permissions and full disks."""

import contextlib
import errno
import io
import os
import shutil
import subprocess
import tempfile
import wave  # before the permissions change: the standard library may not be readable then
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.training import checkpoint

NOBODY = 65534
assert wave


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Change the effective user while active, because permissions do not apply to root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that all users can read and only its owner can write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_no_permission_to_create_a_run(
    trained: Path, public_folder: Path, error_line, tiny: list[str], mode: int
) -> None:
    """In a folder that can be read but not written, and in one that cannot be read either."""
    closed = public_folder / "closed"
    closed.mkdir()
    closed.chmod(mode)
    with without_root():
        line = error_line("train", *tiny, "--out", closed / "run")
    assert line == f"no permission to write to {closed / 'run'}; choose another folder with --out"
    closed.chmod(0o755)
    assert list(closed.iterdir()) == []


def test_no_permission_to_resume(trained: Path, public_folder: Path, error_without_changes) -> None:
    run = Path(shutil.copytree(trained, public_folder / "run"))
    for path in (run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_root():
        line = error_without_changes(run, "resume", run)
    assert f"no permission to write to {run}" in line


@pytest.mark.parametrize("name", ["grid.png", "numbers.npy", "folder"])
def test_no_permission_to_write_samples(trained: Path, public_folder: Path, error_without_changes, name: str) -> None:
    run = Path(shutil.copytree(trained, public_folder / "run"))
    for path in run.rglob("*"):
        path.chmod(0o755)
    closed = public_folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with without_root():
        line = error_without_changes(public_folder, "sample", run, "--out", closed / name)
    assert str(closed) in line
    assert "ermission" in line


def test_file_in_place_of_the_output_folder(trained: Path, public_folder: Path, error_without_changes) -> None:
    (public_folder / "file").write_text("in the way")
    assert str(public_folder / "file") in error_without_changes(
        public_folder, "sample", trained, "--out", public_folder / "file" / "grid.png"
    )


def test_run_stops_on_a_full_disk_and_can_be_resumed(
    error_line, tiny: list[str], tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the operating system, while the second checkpoint is written."""
    save, paths = checkpoint.save_file, []

    def full(tensors: object, path: Path) -> None:
        paths.append(path)
        if len(paths) == 2:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    run = tmp_path / "run"
    code, line = run_to_error("train", *tiny, "--out", run)
    assert code == 2
    assert line == f"equipoise: the disk of {run} is full; free some space, then: equipoise resume {run}"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000005"]
    assert cli.run(["resume", str(run)]) == 0
    assert (run / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def run_to_error(*words: object) -> tuple[int, str]:
    """Run a command; returns exit code and last line of standard error."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        code = cli.run([str(word) for word in words])
    assert "Traceback" not in err.getvalue()
    return code, err.getvalue().splitlines()[-1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte, if this user can mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if mount is None or os.geteuid() != 0 or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("room", [8, 110])
def test_disk_fills_during_a_run(small_disk: Path, tiny: list[str], trained: Path, room: int) -> None:
    """The disk fills while an event, a sample or a checkpoint is written."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes((512 - room) * 1024))
    run = small_disk / "run"
    code, line = run_to_error("train", *tiny, "--out", run)
    assert code == 2
    assert line == f"equipoise: the disk of {run} is full; free some space, then: equipoise resume {run}"
    assert not list(run.rglob("*.partial"))
    filler.unlink()
    assert cli.run(["resume", str(run)]) == 0
    assert (run / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_disk_is_full_from_the_start(small_disk: Path, tiny: list[str]) -> None:
    (small_disk / "filler").write_bytes(bytes(512 * 1024))
    code, line = run_to_error("train", *tiny, "--out", small_disk / "run")
    assert code == 2
    assert f"the disk of {small_disk / 'run'} is full; free some space" in line
    assert not list((small_disk / "run").rglob("*"))
