"""Runs of two processes that one of them stops, breaks or slows down: all decide the same, and have the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.training import checkpoint

SCRIPT = Path(__file__).with_name("rank_runs.py")
Check = Callable[..., list[dict[str, Any]]]

of_each_rank = pytest.mark.parametrize("rank", [0, 1])


@pytest.fixture(scope="module")
def check(start_ranks: Callable[[Path], Check]) -> Check:
    """Return a function that makes a run in both processes; returns what each of them knows."""
    return start_ranks(SCRIPT)


def agree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether both ended after the same step, for the same reason, with the same weights and knobs of every step."""
    return all(first[name] == second[name] for name in ("reason", "step", "shared", "knobs"))


@of_each_rank
def test_both_processes_return_to_the_same_checkpoint(tmp_path: Path, check: Check, rank: int) -> None:
    first, second = check("rollback", tmp_path, rank)
    assert first["restored"][-1] in (10, 20)
    for result in (first, second):
        ((saved, loaded),) = result["loaded"]
        assert loaded == saved
    assert first["loaded"] == second["loaded"]
    assert agree(first, second)
    assert (first["reason"], first["step"]) == ("steps", 30)
    assert set(first["knobs"][25:]) == {first["knobs"][0] / 2}, "repair holds the learning rate in both"


@of_each_rank
def test_time_ends_for_all_in_the_same_step(tmp_path: Path, check: Check, rank: int) -> None:
    first, second = check("slow", tmp_path, rank)
    assert agree(first, second)
    assert first["reason"] == "seconds"
    assert 0 < first["step"] < 100


@of_each_rank
def test_a_number_that_is_not_finite_in_one_process_ends_the_run_of_all(
    tmp_path: Path, check: Check, rank: int
) -> None:
    first, second = check("not_finite", tmp_path, rank)
    assert agree(first, second)
    assert (first["reason"], first["step"]) == ("diverged", 15)


def test_what_a_person_requests_happens_in_the_same_step_of_all(tmp_path: Path, check: Check) -> None:
    first, second = check("control", tmp_path)
    assert agree(first, second)
    default = first["knobs"][0]
    assert default != 1e-4
    assert first["knobs"] == [default] * 10 + [1e-4] * 10 + [default] * 3
    assert (first["reason"], first["step"]) == ("interrupted", 23), "in the first step after the request"
    saved = [path.name for path in checkpoint.find(tmp_path / "checkpoints")]
    assert saved == [f"step-000000{step}" for step in (10, 15, 20, 23)], "that of step 15 was requested"


@of_each_rank
def test_a_run_that_one_process_stopped_goes_on_to_the_same_bytes(tmp_path: Path, check: Check, rank: int) -> None:
    results = check("stop", tmp_path, rank)
    assert agree(*results)
    assert (results[0]["reason"], results[0]["checkpoint"]) == (
        "interrupted",
        f"step-{results[0]['step']:08d}",
    )
    assert results[0]["step"] in (13, 14)
    assert [result["is_equal"] for result in results] == [True, True]


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("versions", "other versions than process 0: torch 1.0 instead of "),
        ("data", "other data than process 0; give all machines the same data"),
        ("weights", "other initial weights than process 0; give all machines the same initial weights"),
        ("", ""),
    ],
)
def test_processes_that_differ_are_refused_by_all(subject: str, message: str, check: Check) -> None:
    results = check("differ", subject or "nothing")
    assert results[0] == results[1]
    assert results[0]["message"].startswith(f"process 1 of 2 has {message}" if message else "")
    assert bool(results[0]["message"]) == bool(message)
