"""Logs of other programs: small ones in each format, intact and damaged, give the numbers that they contain."""

import gzip
import json
import math
import struct
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.readers import tensorboard
from equipoise.diagnosis.training_log import (
    TrainingLog,
    build_series,
)
from equipoise.errors import DataError

DCGAN = "".join(
    f"[{epoch}/3][{batch}/5]\tLoss_D: {epoch}.{batch}000\tLoss_G: 2.5000\tD(x): 0.6000\tD(G(z)): 0.3000 / 0.2000\n"
    for epoch in range(3)
    for batch in range(0, 5, 2)
)
STUDIO = (
    "[INFO] 2020-09-17 20:04:38 > Step:     100 Progress: 10.0% Elapsed: 0:00:17 temperature: no ada_p: No "
    "Discriminator_loss: 2.77901 Generator_loss: -5.1875 \n"
    "[INFO] 2020-09-17 20:04:55 > Step:     200 Progress: 20.0% Elapsed: 0:00:34 temperature: no ada_p: No "
    "Discriminator_loss: 2.07571 Generator_loss: 2.73206 \n"
    "[INFO] 2020-09-17 20:11:36 > FID score (Step: 200, Using test moments): 56.493740972420596\n"
    "[INFO] 2020-09-17 20:11:36 > Inception score (Step: 200, 10000 generated images): 5.5\n"
)
STATS = "".join(
    json.dumps(
        {
            "Loss/G/loss": {"num": 9, "mean": 0.8 + tick, "std": 0.1},
            "Loss/D/loss": {"num": 9, "mean": 1.2, "std": 0.1},
            "Loss/signs/real": {"num": 9, "mean": 0.4, "std": 0.1},
            "Progress/kimg": {"num": 1, "mean": 4.0 * tick, "std": 0.0},
            "Timing/total_sec": {"num": 1, "mean": 9.0, "std": 0.0},
            "timestamp": 1.0,
        }
    )
    + "\n"
    for tick in range(3)
)
METRIC = '{"results": {"fid50k_full": 31.5}, "metric": "fid50k_full", "snapshot_pkl": "network-snapshot-000008.pkl"}\n'
TABLE = "step,train/d_loss,G Loss,FID,lr\n1,0.5,2.0,90,1e-4\n2,0.4,nan,,1e-4\n3,0.3,2.2,70,1e-4\n"


def write_log(folder: Path, text: str | bytes, name: str = "log.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    column = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


def test_pytorch_dcgan_example(tmp_path: Path) -> None:
    log = readers.read_log(write_log(tmp_path, "Starting Training Loop...\n" + DCGAN))
    assert values(log, "loss_d")[:4] == [(0, 0.0), (2, 0.2), (4, 0.4), (5, 1.0)]
    assert values(log, "probability_fake")[0] == (0, 0.3), "before the generator's update"
    assert (log.total, log.unit) == (15, "step")
    bare = readers.read_log(
        write_log(tmp_path, "[0/3][1/5] Loss_D: 0.5 Loss_G: 1.5\n[0/3][2/5] Loss_D: nan Loss_G: inf\n")
    )
    assert set(bare.signals) == {"loss_d", "loss_g"}
    assert math.isnan(values(bare, "loss_d")[1][1])


def test_pytorch_gan(tmp_path: Path) -> None:
    text = "[Epoch 1/200] [Batch 3/938] [D loss: 0.693147, acc: 50%] [G loss: 0.708]\n"
    log = readers.read_log(write_log(tmp_path, text))
    assert values(log, "loss_d") == [(941, 0.693147)]
    assert values(log, "loss_g") == [(941, 0.708)]


def test_studiogan_compressed_or_not(tmp_path: Path) -> None:
    for content in (STUDIO.encode(), gzip.compress(STUDIO.encode())):
        log = readers.read_log(write_log(tmp_path, content, "run.log.gz"))
        assert values(log, "loss_d") == [(100, 2.77901), (200, 2.07571)]
        assert values(log, "loss_g") == [(100, -5.1875), (200, 2.73206)]
        assert values(log, "fid") == [(200, 56.493740972420596)]
        assert {name: metric.better for name, metric in log.metrics.items()} == {
            "fid": "lower",
            "inception_score": "higher",
        }
        assert log.total == 1000


def test_stylegan_statistics_with_the_metrics_next_to_them(tmp_path: Path) -> None:
    path = write_log(tmp_path, STATS, "stats.jsonl")
    write_log(tmp_path, METRIC, "metric-fid50k_full.jsonl")
    for location in (path, tmp_path):
        log = readers.read_log(location)
        assert values(log, "loss_g") == [(0, 0.8), (4000, 1.8), (8000, 2.8)]
        assert values(log, "sign_real") == [(0, 0.4), (4000, 0.4), (8000, 0.4)]
        assert values(log, "fid50k_full") == [(8000, 31.5)]
        assert log.unit == "image"
        assert "Timing/total_sec" in log.ignored


def test_stylegan_log_text(tmp_path: Path) -> None:
    ticks = "tick 0     kimg 0.1      time 45s    sec/tick 10.3\n"
    log = readers.read_log(write_log(tmp_path, ticks + METRIC))
    assert values(log, "fid50k_full") == [(8000, 31.5)]
    older = readers.read_log(
        write_log(tmp_path, ticks + "network-snapshot-000012        time 8m 02s      fid50k   34.75\n")
    )
    assert values(older, "fid50k") == [(12000, 34.75)]
    with pytest.raises(DataError, match="no column of numbers besides its counters"):
        readers.read_log(write_log(tmp_path, ticks))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_with_any_separator(tmp_path: Path, separator: str) -> None:
    log = readers.read_log(write_log(tmp_path, TABLE.replace(",", separator)))
    assert values(log, "loss_d") == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert values(log, "fid") == [(1, 90.0), (3, 70.0)], "an empty cell is no value"
    assert math.isnan(values(log, "loss_g")[1][1])
    assert log.ignored == ("lr",)


def test_table_rows_are_counted_by_the_best_column(tmp_path: Path) -> None:
    assert readers.read_log(write_log(tmp_path, "epoch,loss_d\n0,1\n1,2\n")).unit == "epoch"
    assert values(readers.read_log(write_log(tmp_path, "kimg,loss_d\n0.5,1\n1,2\n")), "loss_d") == [(500, 1), (1000, 2)]
    rows = readers.read_log(write_log(tmp_path, "loss_d,loss_g\n1,1\n2,2\n"))
    assert (rows.unit, values(rows, "loss_d")) == ("row", [(1, 1.0), (2, 2.0)])
    with pytest.raises(DataError, match=r"alpha \(1\), beta \(2\)"):
        readers.read_log(write_log(tmp_path, "alpha,beta\n1,2\n"))


def record(data: bytes) -> bytes:
    """Return a record of an event file; the checksums are 0."""
    return struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4)


def field(number: int, kind: int, content: bytes) -> bytes:
    size = bytes([len(content)]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + size + content


def event(step: int, tag: str, value: bytes) -> bytes:
    summary = field(1, 2, field(1, 2, tag.encode()) + value)
    return record(field(1, 1, struct.pack("<d", 1.0)) + field(2, 0, bytes([step])) + field(5, 2, summary))


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


def test_damaged_event_file_is_read_up_to_the_damage() -> None:
    garbage = record(b"\xff" * 40) + event(4, "Loss/D", SIMPLE)
    assert list(tensorboard.scalars(VERSION + event(1, "x", SIMPLE) + garbage)) == [(1, "x", 0.5), (4, "Loss/D", 0.5)]
    assert list(tensorboard.scalars(struct.pack("<Q", 2**60) + bytes(50))) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"dear diary, it trains\n",
        bytes(range(256)) * 4,
        gzip.compress(b"dear diary\n", mtime=0)[:-9],
        b"\x1f\x8b\x08broken",
        b'{"event": "x"}\n',
    ],
)
def test_unknown_format_is_an_error_of_one_line_that_names_the_known_formats(tmp_path: Path, content: bytes) -> None:
    path = write_log(tmp_path, content)
    with pytest.raises(DataError) as raised:
        readers.read_log(path)
    message = str(raised.value)
    assert str(path) in message
    assert all(reader.name in message for reader in readers.log_readers())
    assert "\n" not in message


def test_missing_file_and_folder_without_a_log_are_errors_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        readers.read_log(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"tfevents.*stats\.jsonl.*log\.txt") as raised:
        readers.read_log(tmp_path)
    assert str(tmp_path) in str(raised.value)


class MarkdownLog:
    """A reader of an installed package."""

    name = contents = "Markdown"
    order = 15
    folder_files = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        if not files[0].text.startswith("# Log"):
            return None
        return TrainingLog(self.name, {"loss_d": build_series([1, 2], [0.5, 0.25])})


def test_reader_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point = EntryPoint("markdown", f"{__name__}:MarkdownLog", "equipoise.readers")
    monkeypatch.setattr(EntryPoint, "load", lambda self: MarkdownLog)
    monkeypatch.setattr(readers, "installed_plugs", lambda kind: {"markdown": [entry_point]})
    readers.log_readers.cache_clear()
    try:
        log = readers.read_log(write_log(tmp_path, "# Log\n"))
        assert (log.log_format, values(log, "loss_d")) == ("Markdown", [(1, 0.5), (2, 0.25)])
    finally:
        readers.log_readers.cache_clear()


def test_every_reader_is_collected_and_documented() -> None:
    files = {path.stem for path in Path(readers.__path__[0]).glob("[a-z]*.py")}
    assert {type(reader).__module__.rpartition(".")[2] for reader in readers.log_readers()} == files
    orders = [reader.order for reader in readers.log_readers()]
    assert orders == sorted(set(orders))
    assert all(reader.name and reader.contents for reader in readers.log_readers())


@pytest.mark.parametrize("text", [DCGAN, STUDIO, STATS, TABLE], ids=["dcgan", "studiogan", "stylegan", "table"])
def test_truncated_log_is_read_up_to_its_end(tmp_path: Path, text: str) -> None:
    complete = readers.read_log(write_log(tmp_path, text))
    for share in (0.75, 0.8, 0.9, 0.99):
        cut = text[: int(share * len(text))]
        log = readers.read_log(write_log(tmp_path, cut))
        for name, column in log.signals.items():
            count = len(column.steps)
            assert column.steps.tolist() == complete.signals[name].steps[:count].tolist()
            np.testing.assert_array_equal(column.values, complete.signals[name].values[:count])


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = ("größe é\r\n" + TABLE.replace("\n", "\r\n")).encode(encoding)
    expected = readers.read_log(write_log(tmp_path, TABLE)).signals["loss_d"]
    body = TABLE.replace("\n", "\r\n").encode(encoding)
    np.testing.assert_array_equal(readers.read_log(write_log(tmp_path, body)).signals["loss_d"].values, expected.values)
    lines = content.split("\n".encode(encoding)[-1:])[0] + b"\n" + DCGAN.encode() + b"\xff\xfe\xfa broken\n"
    if encoding == "latin-1":
        assert len(readers.read_log(write_log(tmp_path, lines)).signals["loss_d"].steps) == 9
