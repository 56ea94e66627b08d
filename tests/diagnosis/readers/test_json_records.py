"""JSON logs of every arrangement, intact and damaged, give the numbers that they contain."""

import json
import math
from pathlib import Path

import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.logs import log_file
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.diagnosis.parsing import json_document
from equipoise.diagnosis.readers import json_records
from equipoise.diagnosis.readers.json_records import JSONRecords
from equipoise.errors import DataError

ROWS = [(10 * row, round(0.7 - 0.1 * row, 3), 1.0 + row) for row in range(6)]
"""Step, loss of D, loss of G."""
LOSS_D = [(step, loss) for step, loss, _ in ROWS]
RECORDS = [{"step": step, "loss_d": loss_d, "loss_g": loss_g} for step, loss_d, loss_g in ROWS]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)


def read(folder: Path, content: object, name: str = "log.json") -> TrainingLog:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return readers.read_log(path)


def read_columns(content: str) -> LogColumns:
    log = JSONRecords().read([LogFile(Path("log.json"), content.encode())])
    assert log is not None
    return log


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    column = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(LINES, id="lines"),
        pytest.param(LINES.rstrip(), id="no end of the last line"),
        pytest.param(RECORDS, id="array"),
        pytest.param(json.dumps(RECORDS, indent=4), id="indented array (Chainer)"),
        pytest.param("[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n", id="array with a record a line"),
        pytest.param(
            "".join(f"12:00:07 INFO train: {line}\n" for line in LINES.splitlines()), id="lines with a prefix"
        ),
        pytest.param({"best": None, "global_step": 50, "log_history": RECORDS}, id="records below a key (HF)"),
        pytest.param({str(step): {"loss_d": d, "loss_g": g} for step, d, g in ROWS}, id="records by number"),
        pytest.param({key: [record[key] for record in RECORDS] for key in RECORDS[0]}, id="lists by name"),
        pytest.param({"a": {"loss_d": [d for _, d, _ in ROWS], "step": [s for s, _, _ in ROWS]}}, id="nested lists"),
        pytest.param({"loss_d": [[s, d] for s, d, _ in ROWS], "fid": [[50, 9.0]]}, id="pairs of step and value"),
        pytest.param({"loss_d": {str(s): d for s, d, _ in ROWS}}, id="values by number (pandas)"),
        pytest.param(
            {"loss_d": {"steps": [s for s, _, _ in ROWS], "values": [d for _, d, _ in ROWS]}},
            id="steps and values (Sacred)",
        ),
        pytest.param("".join(json.dumps({"_step": s, "D/loss": d}) + "\n" for s, d, _ in ROWS), id="W&B history"),
        pytest.param(
            "".join(json.dumps({"step": s, "tag": "loss_d", "value": d}) + "\n" for s, d, _ in ROWS),
            id="name and value",
        ),
        pytest.param(
            "".join(json.dumps({"step": s, "Loss/D": {"num": 8, "mean": d, "std": 9.0}}) + "\n" for s, d, _ in ROWS),
            id="statistics",
        ),
        pytest.param(
            "".join(json.dumps({"step": s, "train": {"loss_d": str(d)}}) + "\n" for s, d, _ in ROWS), id="nested"
        ),
    ],
)
def test_every_arrangement_gives_the_same_series(tmp_path: Path, content: object) -> None:
    log = read(tmp_path, content)
    assert values(log, "loss_d") == LOSS_D
    assert log.unit == "step"


def test_tensorboard_download_is_named_by_its_file(tmp_path: Path) -> None:
    pairs = [[1.7e9 + step, step, loss] for step, loss, _ in ROWS]
    assert values(read(tmp_path, pairs, "d_loss.json"), "loss_d") == LOSS_D


def test_lines_of_different_kinds_share_their_counter(tmp_path: Path) -> None:
    metrics = '{"mode": "val", "FID-50k/fid": 31.5, "step": 50}\n'
    log = read(tmp_path, LINES + metrics)
    assert values(log, "loss_d") == LOSS_D
    ((name, metric),) = log.metrics.items()
    assert "fid" in name
    assert metric.series.values.tolist() == [31.5]


def test_not_a_number_and_infinity_are_values_and_null_is_none() -> None:
    log = read_columns('{"step": 1, "d": NaN, "g": null}\n{"step": 2, "d": -Infinity, "g": 0.5}\n')
    assert math.isnan(log.columns["d"].values[0])
    assert log.columns["d"].values[1] == -math.inf
    assert log.columns["g"].rows.tolist() == [1]
    assert log.row_count == 2


@pytest.mark.parametrize("digits", [400, 5000])
def test_integers_beyond_a_float_are_infinite(digits: int) -> None:
    log = read_columns(f'{{"step": 1, "d": 1}}\n{{"step": 2, "d": -{"9" * digits}}}\n')
    assert log.columns["d"].values.tolist() == [1.0, -math.inf]


def test_damaged_lines_and_other_output_are_counted() -> None:
    log = read_columns("Loading data\n" + LINES + '{"step": 60, "loss_d": 0.\n' + LINES + '{"step": 7')
    assert log.row_count == 12
    assert log.notes == (
        "2 lines with a damaged or truncated record were skipped.",
        "1 line with no record was skipped.",
    )


def test_truncated_array_is_read_up_to_its_end() -> None:
    text = json.dumps(RECORDS, indent=1)
    for share in (0.5, 0.8, 0.99):
        log = read_columns(text[: int(share * len(text))])
        assert log.columns["step"].values.tolist() == [step for step, _, _ in ROWS[: log.row_count]]
        assert "truncated" in log.notes[0]


def test_shorter_lists_are_spread_over_the_longest(tmp_path: Path) -> None:
    log = read(tmp_path, {"D_losses": [0.5] * 100, "fid": [90.0, 80.0, 70.0, 60.0]})
    assert values(log, "fid") == [(25, 90.0), (50, 80.0), (75, 70.0), (100, 60.0)]
    assert any(note.startswith("fid: fewer values than the 100") for note in log.notes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
        ("{}", "JSON without records"),
        ("[]", "JSON without records"),
        ('["a", "b"]', "JSON without records"),
        ("3.25", "not a log in a known form"),
        ("null", "not a log in a known form"),
        ('{"lr": 0.001, "layers": [1, 2]}', "no column"),
    ],
)
def test_json_that_is_no_log_is_an_error_of_one_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_line_nested_too_deeply_is_skipped() -> None:
    deep = '{"a":' * 10_000 + "1" + "}" * 10_000
    log = read_columns(f"{LINES}{deep}\n")
    assert log.row_count == len(ROWS)
    assert log.notes == ("1 line with a damaged or truncated record was skipped.",)


def test_a_single_value_beyond_the_limit_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(json_records, "MAX_DOCUMENT", 50)
    with pytest.raises(DataError, match="one record per line"):
        read(tmp_path, {"loss_d": [0.5] * 100})


def test_arrays_are_read_in_parts_whatever_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_DOCUMENT", 50)
    monkeypatch.setattr(log_file, "HEAD_BYTES", 100)
    for text in (
        json.dumps(RECORDS),
        json.dumps(RECORDS, indent=2),
        "\n".join(json.dumps(r, indent=1) for r in RECORDS),
    ):
        log = read_columns(text)
        assert log.columns["step"].values.tolist() == [step for step, _, _ in ROWS]
        assert log.notes == ()


@pytest.mark.parametrize("text", ["[0/25][0/100] Loss_D: 0.5", "[200, 9.9e-05] d: 1", "{'loss_d': 0.5}", "[INFO] x"])
def test_other_texts_in_brackets_are_no_json(text: str) -> None:
    assert not json_document.is_document(text)
    assert JSONRecords().read([LogFile(Path("log"), f"{text}\n{text}\n".encode())]) is None


def test_lists_without_steps_next_to_lists_with_steps(tmp_path: Path) -> None:
    content = {"train": {"loss_D": [0.4, 0.3], "loss_G": [1.0, 1.1]}, "fid": [[50, 90.0], [100, 80.0]]}
    log = read(tmp_path, content)
    assert log.signals["loss_d"].steps.tolist() == [50, 100]
    assert log.signals["loss_g"].values.tolist() == [1.0, 1.1]
    assert "train/loss_D, train/loss_G: no steps; spread evenly up to step 100." in log.notes


@pytest.mark.parametrize(("key", "end"), [("log", "\n"), ("data", "\n"), ("message", "")])
@pytest.mark.parametrize("separator", ["\n", "\n,"])
def test_records_of_printed_lines_are_read_as_the_lines(tmp_path: Path, key: str, end: str, separator: str) -> None:
    records = [
        {key: f"step {row} d_loss 0.{row} g_loss 1.{row}{end}", "stream": "stdout", "time": row} for row in range(9)
    ]
    text = separator.join(map(json.dumps, records))
    path = tmp_path / "train.json"
    path.write_text(f"[{text}]" if "," in separator else text)
    (log,) = readers.read_games(path)
    assert log.signals["loss_d"].steps.tolist() == list(range(9))
    assert log.sources == {"loss_d": ("d_loss",), "loss_g": ("g_loss",)}


def test_messages_next_to_numbers_are_no_printed_lines(tmp_path: Path) -> None:
    records = [{"msg": "took 3 s for 2 batches", "step": row, "loss_d": row / 10} for row in range(9)]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    (log,) = readers.read_games(path)
    assert log.sources == {"loss_d": ("loss_d",)}


def test_records_of_comet_are_named_by_the_metric(tmp_path: Path) -> None:
    names = ("d_loss", "g_loss")
    log = read(
        tmp_path,
        [{"metricName": name, "metricValue": "0.5", "step": step} for name in names for step in range(3)],
    )
    assert log.signals["loss_g"].steps.tolist() == [0, 1, 2]
    assert log.notes == ()
