"""The search of a folder by the names of its files, likely ones first."""

from pathlib import Path

import pytest

from equipoise.diagnosis.logs import log_search
from equipoise.diagnosis.logs.log_search import rank_name, search_folder

PATTERNS = ("*tfevents*", "stats.jsonl", "metrics.csv")


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def names(folder: Path) -> list[list[str]]:
    candidates = search_folder(folder, PATTERNS).candidates
    return [[str(path.relative_to(folder)) for path in candidate.paths] for candidate in candidates]


def test_names_of_known_programs_come_first_and_likely_ones_before_others() -> None:
    order = ["stats.jsonl", "train.log.gz", "loss_history.csv", "results.csv", "notes.txt"]
    ranks = [rank_name(name, PATTERNS) for name in order]
    assert ranks[0] == 0
    assert all(rank is not None for rank in ranks)
    assert ranks == sorted(ranks, key=lambda rank: rank or 0)


@pytest.mark.parametrize(
    "name", ["model.pt", "image.png", "README.txt", "config.json", ".hidden.log", "requirements.txt"]
)
def test_names_of_other_files_are_no_candidates(name: str) -> None:
    assert rank_name(name, PATTERNS) is None


def test_shards_of_a_folder_are_one_candidate(tmp_path: Path) -> None:
    write(tmp_path, "run/events.out.tfevents.2", "run/events.out.tfevents.1", "other/events.out.tfevents.1")
    assert names(tmp_path) == [
        ["other/events.out.tfevents.1"],
        ["run/events.out.tfevents.1", "run/events.out.tfevents.2"],
    ]


def test_deep_hidden_and_empty_ones_and_links_to_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/d/near.log", "a/b/c/d/e/far.log", ".git/x.log", "venv/y.log")
    (tmp_path / "empty.log").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == [["a/b/c/d/near.log"]]


def test_the_search_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, *(f"{number}.log" for number in range(30)))
    monkeypatch.setattr(log_search, "MAX_CANDIDATES", 7)
    assert len(search_folder(tmp_path, PATTERNS).candidates) == 7
    monkeypatch.setattr(log_search, "MAX_ENTRIES", 20)
    result = search_folder(tmp_path, PATTERNS)
    assert (result.files, result.is_complete) == (20, False)
