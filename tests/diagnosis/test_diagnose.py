"""`equipoise diagnose`: text and JSON output for runs and for logs of other programs."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.runs.run import EVENTS_FILE, Run

FIRST_EPOCH = (
    "[0/500][0/14]\tLoss_D: 2.0881\tLoss_G: 19.9227\tD(x): 0.5726\tD(G(z)): 0.4000 / 0.0000\n"
    "[1/500][0/14]\tLoss_D: 0.0001\tLoss_G: 45.8796\tD(x): 0.9999\tD(G(z)): 0.0000 / 0.0000\n"
    "[2/500][0/14]\tLoss_D: 0.0000\tLoss_G: 46.7694\tD(x): 1.0000\tD(G(z)): 0.0000 / 0.0000\n"
)
"""A discriminator that wins in the first epoch, on 218 images."""


def run_diagnose(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Return the output of the command."""
    assert cli.run(["diagnose", *args]) == 0
    return capsys.readouterr().out


def write_log(folder: Path, text: str, name: str = "train.log") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_win_in_the_first_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log(tmp_path, FIRST_EPOCH)
    output = json.loads(run_diagnose(capsys, str(path), "--json"))
    (finding,) = output["findings"]
    assert (finding["symptom"], finding["since"], finding["until"]) == ("discriminator_overpowering", 28, None)
    assert finding["severity"] > 0.9
    assert finding["evidence"]["loss_g"] == pytest.approx(46.32, abs=0.01)
    assert finding["advice"] == SYMPTOMS["discriminator_overpowering"].advice
    assert output["verdict"] == "unhealthy"
    text = run_diagnose(capsys, str(path))
    assert "discriminator_overpowering  from step 28 to the end" in text
    assert "augment_p" in text
    assert path.read_text() == FIRST_EPOCH


def test_collapse_and_unused_columns_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{s},{1.0},{1.0},{200 / s if s < 60 else 20.0},3\n" for s in range(1, 101)]
    path = write_log(tmp_path, "step,loss_d,loss_g,fid,colour\n" + "".join(rows), "log.csv")
    output = json.loads(run_diagnose(capsys, str(path), "--json"))
    (finding,) = output["findings"]
    assert finding["symptom"] == "collapse"
    assert 60 <= finding["since"] <= 65
    assert 0 < finding["confidence"] <= 1
    assert finding["evidence"]["fid_at_best"] == pytest.approx(200 / 59)
    assert output["not used"] == "colour"
    assert "not used: colour" in run_diagnose(capsys, str(path))


def test_nan_in_a_log_is_a_divergence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log(tmp_path, "step,loss_d,loss_g\n1,1,1\n2,nan,1\n3,inf,nan\n4,1,1\n", "log.csv")
    output = json.loads(run_diagnose(capsys, str(path), "--json"))
    (finding,) = output["findings"]
    assert (finding["symptom"], finding["since"], finding["until"], finding["severity"]) == ("divergence", 2, 3, 1.0)
    assert output["verdict"] == "diverged"


def test_run_by_its_folder_or_its_events(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_folder = json.loads(run_diagnose(capsys, str(trained), "--json"))
    assert (by_folder["form"], by_folder["last"]) == ("a run", 12)
    assert by_folder["readings"] == len(Run(trained).lines("sensed")) + 1, "one more for the metric at the end"
    by_log = json.loads(run_diagnose(capsys, str(trained / "events.jsonl"), "--json"))
    assert by_log["findings"] == by_folder["findings"]
    (last,) = Run(trained).lines("sensed")[-1:]
    ended = [finding for finding in by_folder["findings"] if finding["until"] is None]
    assert {finding["symptom"] for finding in ended} == {finding["symptom"] for finding in last["health"]["findings"]}


def test_diagnosis_of_the_log_equals_that_of_the_live_run(trained: Path, tmp_path: Path) -> None:
    """The same findings at every reading."""
    from equipoise.diagnosis.diagnose import diagnose
    from equipoise.diagnosis.history import SignalHistory
    from equipoise.runs.observations import parse_health, read_signals

    history, run = SignalHistory(), Run(Path(shutil.copytree(trained, tmp_path / "run")))
    for reading, line in zip(read_signals(run), run.lines("sensed"), strict=False):
        health, history = diagnose(history, *reading)
        assert health == parse_health(line["health"])


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_unreadable_log_is_an_error_of_one_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path, "it went well\n", "notes.txt")
    assert cli.run(["diagnose", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("equipoise: ")
    assert error.count("\n") == 1
    assert name in error


def test_unusual_reals_are_named_before_the_players(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """12-bit values in 16-bit files train on nearly black images."""
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    lines = [json.loads(line) for line in (folder / EVENTS_FILE).read_text().splitlines()]
    assert not lines[0].get("reals"), "the reals of this run are usual"
    lines[0]["reals"] = {"low": -0.99, "high": -0.87, "mean": -0.95, "deviation": 0.03}
    (folder / EVENTS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = json.loads(run_diagnose(capsys, str(folder), "--json"))
    first = output["findings"][0]
    assert (first["symptom"], first["since"], first["until"]) == ("data_out_of_range", 0, None)
    assert first["severity"] >= 0.5
    assert first["evidence"]["real_deviation"] == 0.03
    assert output["verdict"] == "unhealthy"
    text = run_diagnose(capsys, str(folder))
    assert text.index("data_out_of_range") < text.index("equipoise inspect")


@pytest.mark.parametrize("content", [None, ""])
def test_a_run_without_a_log_is_unknown(
    trained: Path, tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    (folder / EVENTS_FILE).unlink()
    if content is not None:
        (folder / EVENTS_FILE).write_text(content)
    output = json.loads(run_diagnose(capsys, str(folder), "--json"))
    assert (output["verdict"], output["missing"]) == ("unknown", "events.jsonl is missing or empty")
    assert "final verdict: unknown (events.jsonl is missing or empty)" in run_diagnose(capsys, str(folder))


def test_few_rows_without_a_symptom_are_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log(tmp_path, "step,loss_d,loss_g\n1,1,1\n", "log.csv")
    output = json.loads(run_diagnose(capsys, str(path), "--json"))
    assert output["verdict"] == "unknown"
    assert output["missing"].startswith("there is only 1 reading")


def test_rows_in_descending_order_are_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{s},{1.0},{1.0},{200 / s if s < 60 else 20.0}\n" for s in range(1, 101)]
    header = "step,loss_d,loss_g,fid\n"
    ascending = write_log(tmp_path, header + "".join(rows), "a.csv")
    descending = write_log(tmp_path, header + "".join(rows[::-1]), "b.csv")
    expected, output = (json.loads(run_diagnose(capsys, str(path), "--json")) for path in (ascending, descending))
    assert output["findings"] == expected["findings"] != []
    assert output["readings"] == 100
    assert output["notes"] == ["The rows are in descending order of step; sorted."]
    assert "notes" not in expected


def test_superseded_rows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = (1, 2, 3, 4, 3, 4, 5, 6, 7)
    path = write_log(tmp_path, "step,loss_d,loss_g\n" + "".join(f"{step},1,1\n" for step in steps), "log.csv")
    output = json.loads(run_diagnose(capsys, str(path), "--json"))
    assert output["readings"] == 7
    assert output["notes"] == [
        "The counter goes back from 4 to 3: the run was resumed there, and 2 rows were superseded."
    ]


def test_readings_of_a_run_in_descending_order_are_sorted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    expected = json.loads(run_diagnose(capsys, str(folder), "--json"))
    first, *others = (folder / EVENTS_FILE).read_text().splitlines(keepends=True)
    (folder / EVENTS_FILE).write_text("".join([first, *others[::-1]]))
    output = json.loads(run_diagnose(capsys, str(folder), "--json"))
    assert output["last"] == expected["last"]
    assert output["order"] == "the readings were not in the order of steps; sorted"


def test_a_compressed_log_is_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"step,loss_d,loss_g\n" + b"1,0,0\n" * 1_000_000))
    monkeypatch.setattr("equipoise.diagnosis.logs.log_file.MAX_BYTES", 2**20)
    assert cli.run(["diagnose", str(path)]) == 2
    error = capsys.readouterr().err
    assert "GiB of text; keep every tenth line of it" in error
    assert error.count("\n") == 1
    path.write_bytes(gzip.compress(FIRST_EPOCH.encode())[:-4])
    text = run_diagnose(capsys, str(path))
    assert "discriminator_overpowering" in text, "the readable part of a truncated file"
    assert "note: The .gz file is truncated; what it contains was read." in text
