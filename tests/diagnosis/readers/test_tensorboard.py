"""Event files of TensorBoard, intact and damaged, give the scalars that they contain."""

import math
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.diagnosis.readers import tensorboard
from equipoise.diagnosis.readers.tensorboard import EventRecords
from equipoise.errors import DataError


def write_log(folder: Path, content: bytes, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    column = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


def record(data: bytes) -> bytes:
    """Return a record of an event file; the checksums are 0."""
    return struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4)


def field(number: int, kind: int, content: bytes) -> bytes:
    size = bytes([len(content)]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + size + content


def event(step: int, tag: str, value: bytes, time: float = 1.0) -> bytes:
    """Return an event of a step below 2**14."""
    summary = field(1, 2, field(1, 2, tag.encode()) + value)
    varint = bytes([step & 127 | 128, step >> 7])
    return record(field(1, 1, struct.pack("<d", time)) + field(2, 0, varint) + field(5, 2, summary))


VERSION = record(field(1, 1, struct.pack("<d", 1.0)) + field(3, 2, b"brain.Event:2"))
SIMPLE = field(2, 5, struct.pack("<f", 0.5))
CONTENT = field(8, 2, field(1, 0, b"\x01") + field(4, 2, struct.pack("<f", 0.25)))
PACKED = field(8, 2, field(1, 0, b"\x01") + field(5, 2, struct.pack("<f", 0.125)))
DOUBLE = field(8, 2, field(1, 0, b"\x02") + field(4, 2, struct.pack("<d", 7.5)))


def test_tensorboard_event_files(tmp_path: Path) -> None:
    body = (
        event(1, "Loss/D", SIMPLE) + event(2, "Loss/D", CONTENT) + event(3, "Loss/D", PACKED) + event(3, "FID", DOUBLE)
    )
    path = write_log(tmp_path, VERSION + body, "events.out.tfevents.1")
    for location in (path, tmp_path):
        log = readers.read_log(location)
        assert values(log, "loss_d") == [(1, 0.5), (2, 0.25), (3, 0.125)]
        assert values(log, "fid") == [(3, 7.5)]
    cut = write_log(tmp_path, (VERSION + body)[:-5], "cut.tfevents")
    assert "fid" not in readers.read_log(cut).metrics


def test_event_files_written_by_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        for step in range(300):
            writer.add_scalar("Loss/D", 1 / (1 + step), step * 1000)
            writer.add_scalar("Loss/G", float("nan") if step == 7 else step, step * 1000, new_style=True)
    log = readers.read_log(tmp_path)
    assert values(log, "loss_d") == [(step * 1000, pytest.approx(1 / (1 + step))) for step in range(300)]
    result = values(log, "loss_g")
    assert math.isnan(result[7][1])
    assert [value for _, value in result[8:]] == list(range(8, 300))


def scalars(chunks: Iterable[bytes]) -> list[tuple[int, str, float]]:
    return [(scalar.step, scalar.tag, scalar.value) for scalar in EventRecords(iter(chunks)).scalars()]


def test_damaged_event_file_is_read_up_to_the_damage() -> None:
    garbage = record(b"\xff" * 40) + event(4, "Loss/D", SIMPLE)
    assert scalars([VERSION + event(1, "x", SIMPLE) + garbage]) == [(1, "x", 0.5), (4, "Loss/D", 0.5)]
    assert scalars([struct.pack("<Q", 2**60) + bytes(50)]) == []


def test_records_that_span_chunks_and_large_ones_are_streamed() -> None:
    image = record(bytes(3 * tensorboard.MAX_RECORD))
    content = VERSION + event(1, "x", SIMPLE) + image + event(2, "x", SIMPLE)
    for size in (1, 7, 1000, len(content)):
        chunks = [content[start : start + size] for start in range(0, len(content), size)]
        assert scalars(chunks) == [(1, "x", 0.5), (2, "x", 0.5)]


def test_a_truncated_file_is_reported(tmp_path: Path) -> None:
    body = VERSION + event(1, "Loss/D", SIMPLE) + event(2, "Loss/D", SIMPLE)
    log = readers.read_log(write_log(tmp_path, body[:-9], "events.out.tfevents.1"))
    assert values(log, "loss_d") == [(1, 0.5)]
    assert any("tfevents.1 is truncated" in note for note in log.notes)
    with pytest.raises(DataError, match="no scalars"):
        readers.read_log(write_log(tmp_path, VERSION, "events.out.tfevents.2"))


def test_a_metric_with_a_counter_of_its_own_is_placed_by_time(tmp_path: Path) -> None:
    body = b""
    for epoch in range(1, 9):
        steps = range(epoch * 1000 - 900, epoch * 1000 + 1, 100)
        body += b"".join(event(step, "Loss/D", SIMPLE, step) for step in steps)
        body += event(epoch, "FID", DOUBLE, epoch * 1000)
    log = readers.read_log(write_log(tmp_path, VERSION + body, "events.out.tfevents.1"))
    assert [step for step, _ in values(log, "fid")] == [epoch * 1000 for epoch in range(1, 9)]
    assert len(values(log, "loss_d")) == 80
    assert any(note.startswith("FID is counted to 8 where Loss/D is counted to 8,000") for note in log.notes)


def test_folders_of_add_scalars_are_parts_of_one_run(tmp_path: Path) -> None:
    for player, value in (("D", SIMPLE), ("G", CONTENT)):
        body = b"".join(event(step, "loss", value, step) for step in range(1, 9))
        write_log(tmp_path, VERSION + body, f"loss_{player}/events.out.tfevents.1")
    log = readers.read_log(tmp_path)
    assert values(log, "loss_d")[0] == (1, 0.5)
    assert values(log, "loss_g")[0] == (1, 0.25)


def test_files_of_a_resumed_run_follow_each_other(tmp_path: Path) -> None:
    for part, steps in enumerate((range(1, 9), range(5, 13))):
        body = b"".join(event(step, "Loss/D", SIMPLE, 100 * part + step) for step in steps)
        write_log(tmp_path, VERSION + body, f"events.out.tfevents.{part}")
    log = readers.read_log(tmp_path)
    assert [step for step, _ in values(log, "loss_d")] == list(range(1, 13))
    assert any("goes back from 8 to 5" in note for note in log.notes)
