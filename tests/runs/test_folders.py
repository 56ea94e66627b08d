"""Creating run folders, choosing their names, and locks."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from equipoise.errors import RunError
from equipoise.runs.folders import InterruptedWaitError, create_run, hold, is_lock, lock_of, next_free_folder
from equipoise.runs.log import Log
from equipoise.runs.run import Run, find_runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_run(tmp_path / "run", {"model": "dcgan"})
    return tmp_path / "run"


def test_occupied_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"run exists already; resume it with: equipoise resume .*run; or choose .*--out"
    ):
        create_run(folder, {"model": "mlp"})
    assert Run(folder).experiment() == {"model": "dcgan"}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(RunError, match="photos exists already; it is not empty; choose another folder with --out"):
        create_run(tmp_path / "photos", {})
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file exists already; it is a file; choose another folder with --out"):
        create_run(tmp_path / "file", {})


def test_empty_and_new_folders_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        create_run(folder, {"seed": 1})
        assert {path.name for path in folder.glob("[!.]*")} == {"experiment.json", "events.jsonl"}


@pytest.mark.parametrize(
    ("number", "message", "of_log"),
    [
        (28, "the disk of .*run is full; free some space, then try again", "then: equipoise resume"),
        (13, "no permission to write to .*run; choose another folder with --out", "no permission .*; make it writable"),
        (30, "no permission to write to", "no permission to write to"),
        (5, "cannot write to .*run: Input/output error", "Input/output error"),
    ],
)
def test_unwritable_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str, of_log: str
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, {5: "Input/output error"}.get(number, "refused"))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunError, match=message):
            create_run(tmp_path / "run", {})
    create_run(tmp_path / "run", {})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(RunError, match=of_log):
            Log(tmp_path / "run")


def test_runs_are_listed_by_name(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    for name in ("b", "a", "c-2"):
        create_run(tmp_path / name, {})
    (tmp_path / "no run").mkdir()
    assert [run.name for run in find_runs(tmp_path)] == ["a", "b", "c-2"]


def test_next_free_folder(tmp_path: Path) -> None:
    assert next_free_folder(tmp_path / "nowhere", "digits") == tmp_path / "nowhere" / "digits-1"
    for name in ("digits-1", "digits-3", "digits-other", "ring-2"):
        (tmp_path / name).mkdir()
    assert next_free_folder(tmp_path, "digits").name == "digits-2"
    (tmp_path / "digits-2").mkdir()
    assert next_free_folder(tmp_path, "digits").name == "digits-4"
    assert next_free_folder(tmp_path, "ring").name == "ring-1"
    assert not next_free_folder(tmp_path, "digits").exists()


def test_lock_excludes_other_processes_and_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom equipoise.runs.folders import hold\n"
        "with hold(Path(sys.argv[1]), 'wait'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    path = tmp_path / "sub" / "job"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="job is in use by another process; stop it"), hold(path, "stop it"):
            raise AssertionError("both processes hold it")
        process.kill()
        process.wait()
    with hold(path, "stop it"):
        assert [is_lock(each) for each in path.parent.iterdir()] == [True]


def test_a_wait_for_a_lock_can_be_interrupted(tmp_path: Path) -> None:
    looks = []

    def interrupted() -> bool:
        looks.append(len(looks))
        return len(looks) == 2

    other = FileLock(lock_of(tmp_path / "job"))
    with other, pytest.raises(InterruptedWaitError), hold(tmp_path / "job", "wait", wait_until=interrupted):
        raise AssertionError("both hold it")
    assert looks == [0, 1]
    with hold(tmp_path / "job", "wait", wait_until=interrupted):
        pass


def test_leftover_lock_does_not_occupy_a_folder(tmp_path: Path) -> None:
    with hold(tmp_path / "run" / "events.jsonl", "wait"):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".events.jsonl.lock"]
    create_run(tmp_path / "run", {"model": "dcgan"})
    assert Run(tmp_path / "run").experiment() == {"model": "dcgan"}


def test_unwritable_lock_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"), hold(tmp_path / "file" / "job", "wait"):
        raise AssertionError("there is no such folder")
