"""Labels of samples: comparisons of two steps, marks, their counts, and damaged files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from equipoise.errors import RunError, SettingError
from equipoise.runs.labels import MarkLabel, PairLabel, answered_pairs, append_label, count_pairs, marks_of, read_labels


def test_labels_round_trip(tmp_path: Path) -> None:
    assert read_labels(tmp_path) == []
    written = [
        append_label(tmp_path, PairLabel("0/17", 500, 1000, "a")),
        append_label(tmp_path, MarkLabel("3/0", 1000, "flaw")),
    ]
    assert read_labels(tmp_path) == written
    assert all(label.time > 1.7e9 for label in written)


def test_the_latest_answer_counts(tmp_path: Path) -> None:
    labels = [
        PairLabel("0/1", 5, 9, "a"),
        PairLabel("0/1", 5, 9, "b"),
        PairLabel("0/2", 9, 5, "a"),
        PairLabel("0/3", 5, 9, "neither"),
        PairLabel("0/4", 5, 7, "a"),
        MarkLabel("0/5", 5, "keep"),
    ]
    assert answered_pairs(labels, 5, 9) == {"0/1": "b", "0/2": "b", "0/3": "neither"}
    counts = count_pairs(labels, 5, 9)
    assert (counts.a, counts.b, counts.neither, counts.share_a) == (0, 2, 1, 0.0)
    swapped = count_pairs(labels, 9, 5)
    assert (swapped.a, swapped.b, swapped.share_a) == (2, 0, 1.0)
    assert swapped.low == pytest.approx(1 - counts.high)
    empty = count_pairs(labels, 1, 2)
    assert (empty.share_a, empty.low, empty.high) == (None, None, None)


def test_marks_of_a_step() -> None:
    labels = [
        MarkLabel("0/1", 5, "keep"),
        MarkLabel("0/2", 5, "flaw"),
        MarkLabel("0/1", 5, "none"),
        MarkLabel("0/3", 6, "copy"),
    ]
    assert marks_of(labels, 5) == {"0/2": "flaw"}
    assert marks_of(labels, 6) == {"0/3": "copy"}


def test_a_line_that_was_not_completed(tmp_path: Path) -> None:
    append_label(tmp_path, MarkLabel("0/1", 5, "keep"))
    path = tmp_path / "labels.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "mark", "sam')
    assert [label.sample for label in read_labels(tmp_path)] == ["0/1"]
    append_label(tmp_path, MarkLabel("0/2", 5, "keep"))
    assert [label.sample for label in read_labels(tmp_path)] == ["0/1", "0/2"]


def test_several_answers_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: append_label(tmp_path, MarkLabel(f"0/{number}", 5, "keep")), range(24)))
    assert sorted(int(label.sample[2:]) for label in read_labels(tmp_path)) == list(range(24))


@pytest.mark.parametrize(
    "line",
    [
        *("nonsense", "{}", "[]", '{"kind": "mark", "sample": "../x", "step": 1, "answer": "keep", "time": 1}'),
        *(
            '{"kind": "pair", "sample": "0/1", "a": 1, "b": 1, "answer": "a", "time": 1}',
            '{"kind": "pair", "sample": "0/1", "a": 1, "b": 2, "answer": "best", "time": 1}',
            '{"kind": "mark", "sample": "0/1", "step": 1, "answer": "keep", "time": "now"}',
        ),
    ],
)
def test_damaged_lines(tmp_path: Path, line: str) -> None:
    append_label(tmp_path, MarkLabel("0/1", 5, "keep"))
    path = tmp_path / "labels.jsonl"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(RunError, match=r"labels\.jsonl, line 2, is not a label; delete that line"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairLabel("17", 1, 2, "a"), "SEED/NUMBER"),
        (lambda: PairLabel("0/17", 1, 2, "left"), "use one of: a, b, neither"),
        (lambda: PairLabel("0/17", 2, 2, "a"), "both samples are of step 2"),
        (lambda: MarkLabel("0/17", 2, "good"), "use one of: keep, flaw, copy, none"),
    ],
)
def test_invalid_labels(make, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()
