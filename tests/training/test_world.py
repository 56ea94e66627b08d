"""Two processes that train together, against one with the whole batch: every model, in two lasting processes."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from equipoise.core import catalog
from equipoise.core.world import ALONE, World, batch_world
from equipoise.errors import LostProcessError

SCRIPT = Path(__file__).with_name("rank_process.py")
WHOLE, STEPS = 16, 3
Check = Callable[..., list[dict[str, Any]]]

each = pytest.mark.parametrize("name", catalog.names("models"))


@pytest.fixture(scope="module")
def check(start_ranks: Callable[[Path], Check]) -> Check:
    """Return a function that runs a check on a model in both processes; returns their results."""
    return start_ranks(SCRIPT)


@each
def test_gradients_are_those_of_the_whole_batch(name: str, check: Check) -> None:
    result, _ = check("parity", name)
    assert len(result["gradients"]) >= STEPS
    assert result["is_close"], result
    assert result["buffers"] < max(result["limits"])
    assert result["logits"] in ([], [WHOLE])
    assert result["images"] == STEPS * WHOLE


@each
def test_processes_agree_and_a_restored_state_goes_on_with_the_same_bytes(name: str, check: Check) -> None:
    first, second = check("agreement", name)
    assert first["shared"] == second["shared"]
    assert first["own"] != second["own"], "both processes draw the same random numbers"
    assert first["resumed"]
    assert second["resumed"]


def test_a_number_that_is_not_finite_on_one_rank_is_known_to_all(check: Check) -> None:
    assert [result["non_finite"] for result in check("not_finite", "mlp")] == [True, True]


def test_the_wish_of_one_rank_to_stop_is_known_to_all(check: Check) -> None:
    assert [result["stops"] for result in check("stop", "mlp")] == [[False, True], [False, True]]


def test_large_sums_in_shared_memory_are_those_of_messages(check: Check) -> None:
    for result in check("sums"):
        assert result["shared"] == sys.platform.startswith("linux")
        assert all(result["equal"])
        assert result["half"] >= 70_000 * 2 * 8


def test_processes_that_cannot_share_memory_exchange_messages(check: Check) -> None:
    for result in check("sums_without_memory"):
        assert not result["shared"]
        assert all(result["equal"])


@pytest.mark.parametrize("where", ["shared", "messages"])
def test_sums_of_different_sizes_are_an_error_in_all_processes(where: str, check: Check) -> None:
    for result in check("different_sums", where):
        assert len(result["messages"]) == 3
        assert all(message.startswith("process 1 prepares the run with a sum of ") for message in result["messages"])
        assert "a sum of 200,000 bytes, process 0 with a sum of 160,000 bytes" in result["messages"][0]
        assert result["total"] == 3.0, "the processes are still in step"


def test_a_message_and_a_sum_are_an_error_in_all_processes(check: Check) -> None:
    for result in check("message_and_sum"):
        assert (
            "process 1 prepares the run with a sum of 4 bytes, process 0 with a message of process 0"
            in result["error_of"]
        )


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ("when", "process 1 trains the phase generator in step 3, process 0 trains the phase discriminator in step 3;"),
        ("repeats", "process 1 trains the phase generator in step 3, process 0 trains the phase discriminator in step"),
        ("last", "process 1 has ended step 3, process 0 trains the phase generator in step 3; `when` and `repeats` of"),
        ("terms", "process 1 trains the phase generator in step 3 with the terms own, process 0 with the terms other;"),
        ("logits", "process 1 trains the phase generator in step 3 with a sum of "),
    ],
)
def test_processes_that_train_different_phases_end_with_an_error(
    difference: str, message: str, name: str, check: Check
) -> None:
    """`dcgan` has statistics of the batch, which are exchanged before the gradients."""
    for result in check("different_phases", name, difference):
        assert result["error_of"].startswith(message)
        assert result["step"] == 2


def test_a_long_text_reaches_all_processes(check: Check) -> None:
    assert [result["lengths"] for result in check("texts")] == [[0, 1, 4031, 4032, 10_000]] * 2


def test_a_world_can_be_copied_and_pickled_with_its_memory() -> None:
    world = World(1, 2)
    world._sums.half = 7
    copy = pickle.loads(pickle.dumps(world))
    assert copy == world
    assert copy._sums.half == 0


def test_the_world_of_one_process_changes_nothing() -> None:
    values = torch.arange(6.0).reshape(2, 3)
    for result in (ALONE.add(values), ALONE.mean(values), ALONE.concatenate(values), ALONE.own_part(values)):
        assert torch.equal(result, values)
    assert ALONE.share_text("a") == "a"
    assert ALONE.gather_texts("a") == ["a"]
    assert ALONE.share_tensors({"a": values}) == {"a": values}
    assert batch_world() is ALONE


def test_a_batch_is_shared_within_its_context_only() -> None:
    world = World(1, 2)
    with world.sharing_batches():
        assert batch_world() is world
    assert batch_world() is ALONE
    assert world.own_part(torch.arange(4)).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Connection closed by peer [127.0.0.1]:4711", LostProcessError),
        ("CUDA error: an assert failed", RuntimeError),
        ("No backend type associated with device type mps", RuntimeError),
    ],
)
def test_an_exchange_that_fails_because_of_the_own_gpu_keeps_its_error(
    message: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(distributed, "all_gather", fail)
    with pytest.raises(error) as caught:
        World(0, 2).share_text("a")
    assert type(caught.value) is error
