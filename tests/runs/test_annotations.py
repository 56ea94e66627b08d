"""Tags, notes, archived runs and the chosen step: round trip, limits, and damaged files."""

import json
from pathlib import Path

import pytest

from equipoise.errors import RunError, SettingError
from equipoise.runs.annotations import (
    Annotations,
    change_annotations,
    choose_step,
    clear_chosen,
    read_annotations,
    read_chosen,
    step_to_keep,
)


def test_a_run_without_annotations(tmp_path: Path) -> None:
    assert read_annotations(tmp_path) == Annotations((), "", False)
    assert read_chosen(tmp_path) is None
    assert step_to_keep(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_annotations_round_trip(tmp_path: Path) -> None:
    assert change_annotations(tmp_path, tags=[" good ", "für Anna"], note=" two\nlines ") == Annotations(
        ("good", "für Anna"), "two\nlines", False
    )
    assert change_annotations(tmp_path, archived=True) == Annotations(("good", "für Anna"), "two\nlines", True)
    assert read_annotations(tmp_path) == Annotations(("good", "für Anna"), "two\nlines", True)
    assert change_annotations(tmp_path, tags=[], note="", archived=False) == read_annotations(tmp_path) == Annotations()
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.json"], "no partial file remains"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": ["a,b"]}, "'a,b' is not a tag"),
        ({"tags": [""]}, "is not a tag"),
        ({"tags": ["a\nb"]}, "is not a tag"),
        ({"tags": ["x" * 41]}, "41 characters; use at most 40"),
        ({"tags": ["a", "a "]}, "twice"),
        ({"tags": [f"tag{number}" for number in range(21)]}, "21 tags; a run can have 20"),
        ({"note": "x" * 4001}, "4,001 characters; shorten it to 4,000"),
        ({"note": "bell\a"}, "control characters"),
    ],
)
def test_invalid_annotations(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        change_annotations(tmp_path, **change)
    assert list(tmp_path.iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"tags": "good"}',
        b'{"tags": [1]}',
        b'{"note": 3}',
        b'{"archived": "yes"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_damaged_annotations(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "annotations.json").write_bytes(content)
    with pytest.raises(RunError, match=r"annotations\.json cannot be read: .*; restore or delete the file") as error:
        read_annotations(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(RunError):
        change_annotations(tmp_path, note="new")
    assert (tmp_path / "annotations.json").read_bytes() == content, "a damaged file is not replaced"


def test_the_chosen_step_round_trip(tmp_path: Path) -> None:
    written = choose_step(tmp_path, 1200, " sharp ")
    assert read_chosen(tmp_path) == written
    assert (written.step, written.note) == (1200, "sharp")
    assert written.time > 1.7e9
    assert step_to_keep(tmp_path) == 1200
    assert choose_step(tmp_path, 5).note == ""
    assert step_to_keep(tmp_path) == 5
    clear_chosen(tmp_path)
    clear_chosen(tmp_path)
    assert read_chosen(tmp_path) is None


@pytest.mark.parametrize("values", [{}, {"step": -1}, {"step": True}, {"step": "3"}, {"step": 3, "time": "now"}])
def test_a_damaged_choice(tmp_path: Path, values: dict[str, object]) -> None:
    (tmp_path / "chosen.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"chosen\.json cannot be read"):
        read_chosen(tmp_path)
    assert step_to_keep(tmp_path) is None, "training goes on"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write to .*missing"):
        change_annotations(tmp_path / "missing", note="x")
