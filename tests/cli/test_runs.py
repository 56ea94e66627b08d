"""The list of runs: their state, tags, and archived ones."""

import json
from collections.abc import Callable
from pathlib import Path

from equipoise.runs.annotations import change_annotations


def test_tags_and_archived_runs(call: Callable[..., tuple[int, str, str]], run_folder: Path, tmp_path: Path) -> None:
    change_annotations(run_folder, tags=["good", "keep"], note="for Anna")
    code, out, _ = call("runs", tmp_path)
    assert code == 0
    assert out.startswith("run ")
    assert out.rstrip().endswith("[good, keep]")
    change_annotations(run_folder, archived=True)
    assert call("runs", tmp_path)[1] == f"1 archived run not shown: equipoise runs {tmp_path} --archived\n"
    assert call("runs", tmp_path, "--archived")[1].rstrip().endswith("[good, keep]  (archived)")
    (row,) = json.loads(call("runs", tmp_path, "--json")[1])
    assert (row["name"], row["tags"], row["note"], row["archived"]) == ("run", ["good", "keep"], "for Anna", True)


def test_damaged_annotations_are_reported(
    call: Callable[..., tuple[int, str, str]], run_folder: Path, tmp_path: Path
) -> None:
    (run_folder / "annotations.json").write_text("{")
    code, out, _ = call("runs", tmp_path)
    assert code == 0
    assert "annotations.json cannot be read" in out
    assert out.count("\n") == 1
