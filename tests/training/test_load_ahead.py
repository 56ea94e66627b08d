"""Batches that are loaded ahead are those of the stream."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from equipoise.core.data import Batch, PairedBatch
from equipoise.training.load_ahead import AheadStream, load_ahead, pin


@dataclasses.dataclass
class NumberedStream:
    """Batches filled with their index. `readers`: names of the threads that read them."""

    readers: list[str] = dataclasses.field(default_factory=list)

    def batch(self, index: int) -> Batch:
        if index == 7:
            raise ValueError("batch 7")
        self.readers.append(threading.current_thread().name)
        return Batch(torch.full((2, 3), float(index)), torch.tensor([index, index]))


def test_other_devices_read_the_stream_itself() -> None:
    stream = NumberedStream()
    with load_ahead(stream, torch.device("cpu")) as same:
        assert same is stream


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [5, 6, 0, 1, 1, 3]], ids=str)
def test_batches_are_those_of_the_stream_in_any_order(order: list[int]) -> None:
    stream = NumberedStream()
    with ThreadPoolExecutor(1, "ahead") as thread:
        ahead = AheadStream(stream, thread, pinned=False)
        for index in order:
            batch = ahead.batch(index)
            assert batch.real.eq(index).all()
            assert batch.condition.tolist() == [index, index]
    assert all(name.startswith("ahead") for name in stream.readers), "read while the device computes"


def test_error_of_a_batch_is_raised_when_it_is_needed() -> None:
    with ThreadPoolExecutor(1) as thread:
        ahead = AheadStream(NumberedStream(), thread, pinned=False)
        assert ahead.batch(6).real.eq(6).all()
        with pytest.raises(ValueError, match="batch 7"):
            ahead.batch(7)


def test_every_tensor_of_a_batch_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[int] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(self.numel()) or self.clone())
    batch = PairedBatch(torch.zeros(2, 3), torch.zeros(2), source=torch.zeros(2, 5))
    copy = pin(batch)
    assert isinstance(copy, PairedBatch)
    assert sorted(pinned) == [2, 6, 10]
    assert pin(Batch(torch.zeros(2, 3))).condition is None
    assert pin({"real": 1}) == {"real": 1}
