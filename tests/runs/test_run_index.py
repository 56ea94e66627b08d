import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.errors import RunError, UnknownRunError
from equipoise.runs import run_index
from equipoise.runs.annotations import change_annotations
from equipoise.runs.folders import BUSY, hold, is_held
from equipoise.runs.run import EVENTS_FILE
from equipoise.runs.run_index import RunIndex, row_to_json

FIXTURE = Path(__file__).parents[1] / "fixtures" / "format_1_ring"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        shutil.copytree(FIXTURE, tmp_path / "runs" / name)
    return tmp_path / "runs"


def append(run: Path, **line: object) -> None:
    with (run / EVENTS_FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_the_rows_of_a_folder(root: Path) -> None:
    (root / "no run").mkdir()
    (root / "file").write_text("x")
    row, other = RunIndex(root).rows()
    assert (row.id, row.model, row.data, row.controller) == ("a", "mlp", "ring", "chain")
    assert (row.step, row.steps, row.images) == (40, 40, 1280)
    assert (row.state, row.reason, row.verdict, row.problem) == ("finished", "steps", "healthy", "")
    assert row.best is not None
    assert (row.best.metric, row.best.step) == ("coverage:samples", 20)
    assert row.disk == sum(path.stat().st_size for path in (root / "a").rglob("*") if path.is_file())
    assert row.updated == (root / "a" / EVENTS_FILE).stat().st_mtime
    assert replace(other, id="a", updated=row.updated, created=row.created) == row
    json.dumps(row_to_json(row), allow_nan=False)


def test_a_resumed_run_has_its_new_length(root: Path) -> None:
    path = root / "a" / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 60}))
    append(root / "a", event="resumed", step=40, images=1280)
    assert RunIndex(root).row("a").steps == 60


def test_a_folder_that_is_a_run_is_shown_alone(root: Path) -> None:
    index = RunIndex(root / "a")
    assert index.names() == ["a"]
    assert index.open("a").log.step == 40


@pytest.mark.parametrize("name", ["c", "", ".", "..", "../runs/a", "a/../b", "a/", "/etc", "a\x00", "A" * 5000])
def test_other_names_are_no_runs(name: str, root: Path) -> None:
    for call in (RunIndex(root).run, RunIndex(root).open, RunIndex(root).row):
        with pytest.raises(UnknownRunError, match="there is no run"):
            call(name)


def test_an_absolute_path_of_a_run_is_no_name(root: Path) -> None:
    with pytest.raises(UnknownRunError):
        RunIndex(root).run(str(root / "a"))


def test_a_link_that_leaves_the_folder_is_named_and_not_followed(root: Path, tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "elsewhere")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "inside").symlink_to(root / "a")
    index = RunIndex(root)
    assert index.names() == ["a", "b", "inside"]
    row = next(row for row in index.rows() if row.id == "link")
    assert row.state == "damaged"
    assert f"equipoise studio {tmp_path / 'elsewhere'}" in row.problem
    with pytest.raises(RunError, match="is a link to"):
        index.open("link")


def test_a_missing_folder(tmp_path: Path) -> None:
    index = RunIndex(tmp_path / "none")
    with pytest.raises(RunError, match="there is no folder"):
        index.names()
    with pytest.raises(UnknownRunError):
        index.run("a")
    assert index.news() == {}


def test_folders_without_permission(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be read hides no others; the folder of all runs is named. The tests may run as root."""
    (root / "locked").mkdir()
    is_file, iterdir = Path.is_file, Path.iterdir

    def refuse(path: Path, folder: Path, method: Callable[[Path], object]) -> object:
        if folder in (path, *path.parents):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return method(path)

    monkeypatch.setattr(Path, "is_file", lambda path: refuse(path, root / "locked", is_file))
    assert RunIndex(root).names() == ["a", "b"]
    monkeypatch.setattr(Path, "is_file", lambda path: refuse(path, root, is_file))
    monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path, root, iterdir))
    with pytest.raises(RunError, match=f"no permission to read {root}; make it readable"):
        RunIndex(root).names()


def test_a_file_is_no_folder_of_runs(root: Path) -> None:
    file = next(root.rglob("events.jsonl"))
    with pytest.raises(RunError, match=r"events\.jsonl is a file; give a folder of runs"):
        RunIndex(file).names()


def test_rows_follow_the_files(root: Path) -> None:
    index = RunIndex(root)
    index.rows()
    append(root / "a", event="resumed", step=20, images=640)
    change_annotations(root / "b", tags=["good"], note="look", archived=True)
    shutil.copytree(FIXTURE, root / "c")
    a, b, c = index.rows()
    assert (a.step, a.images, a.state, a.verdict) == (20, 640, "stopped", "healthy")
    assert (b.tags, b.note, b.archived) == (("good",), "look", True)
    assert c.id == "c"
    shutil.rmtree(root / "b")
    assert [row.id for row in index.rows()] == ["a", "c"]
    with pytest.raises(UnknownRunError):
        index.row("b")


def test_only_runs_that_changed_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = RunIndex(root)
    index.rows()
    made: list[str] = []

    def make_row(name: str, *args: object, **options: object) -> object:
        made.append(name)
        return original(name, *args, **options)  # type: ignore[arg-type]

    original = run_index.make_row
    monkeypatch.setattr(run_index, "make_row", make_row)
    index.rows()
    index.news()
    assert made == []
    append(root / "b", event="note", step=40, images=1280)
    index.rows()
    assert made == ["b"]


def test_runs_that_are_over_are_not_looked_at_each_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(root / "a", event="resumed", step=20, images=640)
    index = RunIndex(root)
    first = index.news()
    assert {name: news.state for name, news in first.items()} == {"a": "stopped", "b": "finished"}
    append(root / "a", event="saved", step=30, images=960)
    append(root / "b", event="resumed", step=20, images=640)
    second = index.news()
    assert (second["a"].step, second["b"]) == (30, first["b"])
    shutil.rmtree(root / "a")
    assert index.news()["a"] == second["a"]
    monkeypatch.setattr(run_index, "LOOK_SECONDS", 0)
    assert {name: news.state for name, news in index.news().items()} == {"b": "stopped"}


def test_a_run_is_running_while_its_log_is_held(root: Path) -> None:
    index = RunIndex(root)
    append(root / "a", event="resumed", step=40, images=1280)
    assert index.row("a").state == "stopped"
    with hold(root / "a" / EVENTS_FILE, BUSY):
        assert index.row("a").state == "running"
        assert index.news()["a"].state == "running"
    assert index.news()["a"].state == "stopped"
    append(root / "a", event="finished", step=40, images=1280, reason="interrupted", verdict="unknown", seconds=1)
    assert index.row("a").state == "interrupted"


def test_looking_at_a_lock_does_not_take_it(root: Path) -> None:
    path = root / "a" / EVENTS_FILE
    assert not is_held(path)
    assert not (root / "a" / f".{EVENTS_FILE}.lock").exists()
    with hold(path, BUSY):
        assert is_held(path)
    assert not is_held(path)
    with hold(path, BUSY):
        pass


def test_damaged_runs_have_a_row(root: Path) -> None:
    (root / "a" / "experiment.json").write_text("{")
    append(root / "b", event="saved")
    a, b = RunIndex(root).rows()
    assert a.state == b.state == "damaged"
    assert "experiment.json cannot be read" in a.problem
    assert "is not an event; delete that line" in b.problem
    assert b.step == 40


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_log_without_permission_has_a_row(root: Path) -> None:
    (root / "a" / EVENTS_FILE).chmod(0)
    row = RunIndex(root).row("a")
    assert (row.state, "cannot be read" in row.problem) == ("damaged", True)


def test_logs_that_are_not_used_are_forgotten(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "MEMORY", 1)
    index = RunIndex(root)
    a = index.open("a")
    assert index.open("a").log is a.log
    index.open("b")
    assert index.open("a").log is not a.log


def test_a_run_without_events(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "new", ignore=shutil.ignore_patterns(EVENTS_FILE))
    row = RunIndex(tmp_path).row("new")
    assert (row.step, row.steps, row.state, row.verdict, row.best) == (0, 40, "stopped", "unknown", None)
