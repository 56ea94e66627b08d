"""Foreign logs: small ones in each form, whole and spoilt, come to the numbers that stand in them."""

import gzip
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.readers import columns, tensorboard
from equipoise.diagnosis.trace import EAGER, READINGS, Trace, readings, series
from equipoise.errors import DataError

EXAMPLE = "".join(
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


def written(folder: Path, text: str | bytes, name: str = "log.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(trace: Trace, name: str) -> list[tuple[int, float]]:
    column = trace.signals[name] if name in trace.signals else trace.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


def test_lines_of_the_pytorch_example(tmp_path: Path) -> None:
    trace = readers.read(written(tmp_path, "Starting Training Loop...\n" + EXAMPLE))
    assert values(trace, "loss_d")[:4] == [(0, 0.0), (2, 0.2), (4, 0.4), (5, 1.0)]
    assert values(trace, "probability_fake")[0] == (0, 0.3), "before the generator's update"
    assert (trace.total, trace.unit) == (15, "step")
    bare = readers.read(written(tmp_path, "[0/3][1/5] Loss_D: 0.5 Loss_G: 1.5\n[0/3][2/5] Loss_D: nan Loss_G: inf\n"))
    assert set(bare.signals) == {"loss_d", "loss_g"}
    assert math.isnan(values(bare, "loss_d")[1][1])


def test_lines_of_pytorch_gan(tmp_path: Path) -> None:
    text = "[Epoch 1/200] [Batch 3/938] [D loss: 0.693147, acc: 50%] [G loss: 0.708]\n"
    trace = readers.read(written(tmp_path, text))
    assert values(trace, "loss_d") == [(941, 0.693147)]
    assert values(trace, "loss_g") == [(941, 0.708)]


def test_lines_of_studiogan_packed_or_not(tmp_path: Path) -> None:
    for content in (STUDIO.encode(), gzip.compress(STUDIO.encode())):
        trace = readers.read(written(tmp_path, content, "run.log.gz"))
        assert values(trace, "loss_d") == [(100, 2.77901), (200, 2.07571)]
        assert values(trace, "loss_g") == [(100, -5.1875), (200, 2.73206)]
        assert values(trace, "fid") == [(200, 56.493740972420596)]
        assert {name: metric.better for name, metric in trace.metrics.items()} == {
            "fid": "lower",
            "inception_score": "higher",
        }
        assert trace.total == 1000


def test_statistics_of_stylegan_with_the_metrics_beside_them(tmp_path: Path) -> None:
    path = written(tmp_path, STATS, "stats.jsonl")
    written(tmp_path, METRIC, "metric-fid50k_full.jsonl")
    for given in (path, tmp_path):
        trace = readers.read(given)
        assert values(trace, "loss_g") == [(0, 0.8), (4000, 1.8), (8000, 2.8)]
        assert values(trace, "sign_real") == [(0, 0.4), (4000, 0.4), (8000, 0.4)]
        assert values(trace, "fid50k_full") == [(8000, 31.5)]
        assert trace.unit == "image"
        assert "Timing/total_sec" in trace.ignored


def test_ticks_of_stylegan(tmp_path: Path) -> None:
    ticks = "tick 0     kimg 0.1      time 45s    sec/tick 10.3\n"
    trace = readers.read(written(tmp_path, ticks + METRIC))
    assert values(trace, "fid50k_full") == [(8000, 31.5)]
    older = readers.read(written(tmp_path, ticks + "network-snapshot-000012        time 8m 02s      fid50k   34.75\n"))
    assert values(older, "fid50k") == [(12000, 34.75)]
    with pytest.raises(DataError, match="without a number to judge by"):
        readers.read(written(tmp_path, ticks))


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_tables(tmp_path: Path, between: str) -> None:
    trace = readers.read(written(tmp_path, TABLE.replace(",", between)))
    assert values(trace, "loss_d") == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert values(trace, "fid") == [(1, 90.0), (3, 70.0)], "an empty cell was not measured"
    assert math.isnan(values(trace, "loss_g")[1][1])
    assert trace.ignored == ("lr",)


def test_tables_are_counted_by_what_there_is(tmp_path: Path) -> None:
    assert readers.read(written(tmp_path, "epoch,loss_d\n0,1\n1,2\n")).unit == "epoch"
    assert values(readers.read(written(tmp_path, "kimg,loss_d\n0.5,1\n1,2\n")), "loss_d") == [(500, 1), (1000, 2)]
    rows = readers.read(written(tmp_path, "loss_d,loss_g\n1,1\n2,2\n"))
    assert (rows.unit, values(rows, "loss_d")) == ("row", [(1, 1.0), (2, 2.0)])
    with pytest.raises(DataError, match="none of its columns is known: alpha, beta"):
        readers.read(written(tmp_path, "alpha,beta\n1,2\n"))


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        *[(name, "loss_d") for name in ("loss_d", "d_loss", "Loss/D", "errD", "Loss_D", "train/loss_D", "D/loss")],
        *[(name, "loss_g") for name in ("G_loss", "Loss/G/loss", "gen_loss", "Generator loss", "train_g_loss")],
        *[("D(x)", "probability_real"), ("D(G(z))", "probability_fake"), ("Loss/signs/real", "sign_real")],
        *[(name, None) for name in ("loss", "lr_d", "d_loss_gp", "accuracy")],
    ],
)
def test_what_columns_are_called(name: str, signal: str | None) -> None:
    assert columns.signal_of(name) == signal


@pytest.mark.parametrize(
    ("name", "better"),
    [
        *[(name, "lower") for name in ("FID", "fid50k_full", "metrics/fid", "kid50k", "kd_digits", "val_fid")],
        *[("is50k", "higher"), ("inception_score", "higher"), ("precision", "higher")],
        *[(name, None) for name in ("fiddle", "island", "learning_rate", "isolation")],
    ],
)
def test_what_metrics_are_called(name: str, better: str | None) -> None:
    result = columns.metric_of(name)
    assert (result[1] if result else None) == better


def record(data: bytes) -> bytes:
    """A record of an event file; the checksums are left 0."""
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


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    body = (
        event(1, "Loss/D", SIMPLE) + event(2, "Loss/D", CONTENT) + event(3, "Loss/D", PACKED) + event(3, "FID", DOUBLE)
    )
    path = written(tmp_path, VERSION + body, "events.out.tfevents.1")
    for given in (path, tmp_path):
        trace = readers.read(given)
        assert values(trace, "loss_d") == [(1, 0.5), (2, 0.25), (3, 0.125)]
        assert values(trace, "fid") == [(3, 7.5)]
    cut = written(tmp_path, (VERSION + body)[:-5], "cut.tfevents")
    assert "fid" not in readers.read(cut).metrics


def test_event_files_that_tensorboard_itself_writes(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        for step in range(300):
            writer.add_scalar("Loss/D", 1 / (1 + step), step * 1000)
            writer.add_scalar("Loss/G", float("nan") if step == 7 else step, step * 1000, new_style=True)
    trace = readers.read(tmp_path)
    assert values(trace, "loss_d") == [(step * 1000, pytest.approx(1 / (1 + step))) for step in range(300)]
    result = values(trace, "loss_g")
    assert math.isnan(result[7][1])
    assert [value for _, value in result[8:]] == list(range(8, 300))


def test_damaged_event_files_end_where_the_damage_is() -> None:
    rubbish = record(b"\xff" * 40) + event(4, "Loss/D", SIMPLE)
    assert list(tensorboard.scalars(VERSION + event(1, "x", SIMPLE) + rubbish)) == [(1, "x", 0.5), (4, "Loss/D", 0.5)]
    assert list(tensorboard.scalars(struct.pack("<Q", 2**60) + bytes(50))) == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is no log of a form that is known"),
        (b"dear diary, it trains\n", "is no log of a form that is known: the PyTorch DCGAN example"),
        (bytes(range(256)) * 4, "is no log of a form that is known"),
        (gzip.compress(b"dear diary\n", mtime=0)[:-9], "is no log of a form that is known"),
        (b"\x1f\x8b\x08broken", "is no log of a form that is known"),
        (b'{"event": "x"}\n', "is no log of a form that is known"),
    ],
)
def test_what_is_no_log_is_told_in_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=line) as told:
        readers.read(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*nowhere; give a run folder or a log"):
        readers.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither a run nor a folder with event files"):
        readers.read(tmp_path)


@pytest.mark.parametrize("text", [EXAMPLE, STUDIO, STATS, TABLE], ids=["example", "studio", "stats", "table"])
def test_a_log_cut_short_anywhere_is_read_up_to_there(tmp_path: Path, text: str) -> None:
    whole = readers.read(written(tmp_path, text))
    for share in (0.75, 0.8, 0.9, 0.99):
        cut = text[: int(share * len(text))]
        trace = readers.read(written(tmp_path, cut))
        for name, column in trace.signals.items():
            count = len(column.steps)
            assert column.steps.tolist() == whole.signals[name].steps[:count].tolist()
            np.testing.assert_array_equal(column.values, whole.signals[name].values[:count])


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_mixed_encodings_do_no_harm(tmp_path: Path, encoding: str) -> None:
    content = ("größe é\r\n" + TABLE.replace("\n", "\r\n")).encode(encoding)
    expected = readers.read(written(tmp_path, TABLE)).signals["loss_d"]
    body = TABLE.replace("\n", "\r\n").encode(encoding)
    np.testing.assert_array_equal(readers.read(written(tmp_path, body)).signals["loss_d"].values, expected.values)
    lines = content.split("\n".encode(encoding)[-1:])[0] + b"\n" + EXAMPLE.encode() + b"\xff\xfe\xfa broken\n"
    if encoding == "latin-1":
        assert len(readers.read(written(tmp_path, lines)).signals["loss_d"].steps) == 9


def test_a_run_that_was_taken_up_again_counts_from_there() -> None:
    column = series([10, 20, 30, 40, 25, 35, 45], [1, 2, 3, 4, 5, 6, 7])
    assert column.steps.tolist() == [10, 20, 25, 35, 45]
    assert column.values.tolist() == [1, 2, 5, 6, 7]
    assert series([], []).steps.tolist() == []


def test_readings_are_means_and_count_what_is_not_finite() -> None:
    count = 50_000
    values = np.arange(count, dtype=float)
    values[::1000] = math.nan
    trace = Trace("x", {"loss_d": series(np.arange(1, count + 1), values)}, {}, total=2 * count)
    result = list(readings(trace))
    assert len(result) == READINGS
    assert [reading.step for reading in result[:EAGER]] == list(range(1, EAGER + 1))
    assert (result[-1].step, result[-1].progress) == (count, 0.5)
    assert sum(reading.signals.non_finite for reading in result) == 50
    steps = np.array([0] + [reading.step for reading in result])
    for row in (5, EAGER + 3, READINGS - 1):
        chosen = values[steps[row] : steps[row + 1]]
        assert result[row].signals.loss_d == pytest.approx(np.nanmean(chosen))


def test_a_metric_is_known_from_its_step_on(tmp_path: Path) -> None:
    result = list(readings(readers.read(written(tmp_path, TABLE))))
    known = [(reading.signals.metrics["fid"].value, reading.signals.metrics["fid"].age) for reading in result]
    assert known == [(90.0, 0), (90.0, 1), (70.0, 0)]
    assert [reading.signals.non_finite for reading in result] == [0, 1, 0]
