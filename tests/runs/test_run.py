"""Reading and writing the log of a run: events are stored exactly, and the log is readable after a kill at any byte."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Evaluated, Event, Finished, Resumed, Sampled, Saved, Sensed, Started, Stepped, Turned
from equipoise.core.observations import Finding, Health, MetricReading, ScalarStats, Signals
from equipoise.errors import RunError
from equipoise.runs import artifacts
from equipoise.runs.artifacts import make_grid
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run, summarize_run

KNOBS = {"lr_g": 2e-4, "discriminator_steps": 1}
STARTED = Started(0, 0, 1000, 64, "fp32", {"generator": 12}, KNOBS)
SIGNALS = Signals(rank_train_fake=0.7, non_finite=2, metrics={"fid": MetricReading(12.5, 640)})
HEALTH = Health((Finding("divergence", 1.0, {"non_finite": 2}, since=50),))
SENSED = Sensed(50, 3200, 0.05, 1.5, {"generator.total": ScalarStats(1.0, 0.5, 2.0, 0.75)}, SIGNALS, HEALTH)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_run(tmp_path / "run", {"model": "dcgan"})
    return tmp_path / "run"


def sensed(step: int) -> Sensed:
    return dataclasses.replace(SENSED, step=step, images=64 * step)


def log(folder: Path, *events: Event) -> None:
    with Log(folder) as opened:
        for event in events:
            opened.record(event)


def steps(folder: Path, kind: str = "sensed") -> list[int]:
    return [line["step"] for line in Run(folder).lines(kind)]


def strict(text: str) -> Any:
    """Parse strict JSON, without NaN and Infinity, which Python accepts."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def samples(count: int, channels: int, value: float = 0.0) -> np.ndarray:
    return np.full((count, channels, 4, 6), value, np.float32)


def test_events_are_read_as_written(folder: Path) -> None:
    turned = Turned(50, 3200, "lr_g", 2e-4, 1e-4, "annealed", "cosine(1, 0.1) at 5% of the run")
    evaluated = Evaluated(100, 6400, "kd_digits", 0.125, "lower", 2500, 3.5)
    finished = Finished(100, 6400, "steps", "healthy", 12.0)
    log(folder, STARTED, SENSED, turned, evaluated, Saved(100, 6400, "step-00000100", True), finished)
    lines = Run(folder).lines()
    assert [line["event"] for line in lines] == ["started", "sensed", "turned", "evaluated", "saved", "finished"]
    assert lines[0] == {"event": "started", **json.loads(json.dumps(dataclasses.asdict(STARTED)))}
    assert lines[3] == {"event": "evaluated", **dataclasses.asdict(evaluated)}
    assert lines[5] == {"event": "finished", **dataclasses.asdict(finished)}
    assert (lines[2]["from"], lines[2]["to"], lines[2]["by"]) == (2e-4, 1e-4, "annealed")
    assert not {"before", "after"} & lines[2].keys()
    assert [strict(text) for text in (folder / "events.jsonl").read_text().splitlines()] == lines


def test_sensed_line_has_no_missing_values(folder: Path) -> None:
    log(folder, SENSED)
    (line,) = Run(folder).lines()
    assert line["signals"] == {
        "rank_train_fake": 0.7,
        "non_finite": 2,
        "metrics": {"fid": {"value": 12.5, "age": 640, "better": "lower"}},
    }
    assert line["loss"] == {"generator.total": {"mean": 1.0, "min": 0.5, "max": 2.0, "last": 0.75}}
    (finding,) = line["health"]["findings"]
    assert Finding(**finding) == HEALTH.findings[0]
    assert ScalarStats(**line["loss"]["generator.total"]) == SENSED.loss["generator.total"]


def test_stepped_events_are_not_recorded(folder: Path) -> None:
    log(folder, STARTED, Stepped(1, 64, 0.1), Stepped(2, 128, 0.2))
    assert [line["event"] for line in Run(folder).lines()] == ["started"]


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_non_finite_numbers_are_strings(folder: Path, value: float, text: str) -> None:
    signals = dataclasses.replace(SIGNALS, loss_g=value)
    log(folder, dataclasses.replace(SENSED, loss={"g": ScalarStats(value, 1.0, value, 2.0)}, signals=signals))
    line = strict((folder / "events.jsonl").read_text())
    assert line["loss"]["g"] == {"mean": text, "min": 1.0, "max": text, "last": 2.0}
    assert line["signals"]["loss_g"] == text
    assert repr(float(Run(folder).lines()[0]["loss"]["g"]["mean"])) == repr(value)


def test_each_event_is_written_at_once(folder: Path) -> None:
    with Log(folder) as opened:
        for count, step in enumerate((50, 100, 150), 1):
            opened.record(sensed(step))
            assert len(Run(folder).lines()) == count


def test_resumed_line_supersedes_later_steps(folder: Path) -> None:
    log(folder, STARTED, sensed(50), Saved(50, 3200, "step-00000050", False), sensed(100), sensed(150))
    log(folder, Resumed(50, 3200), sensed(100))
    assert steps(folder) == [50, 100]
    events = [line["event"] for line in Run(folder).lines()]
    assert events == ["started", "sensed", "saved", "resumed", "sensed"]
    text = (folder / "events.jsonl").read_text()
    assert text.count('"sensed"') == 4, "the file is append-only"


def test_run_can_be_resumed_repeatedly(folder: Path) -> None:
    log(
        folder, STARTED, sensed(50), Saved(50, 3200, "a", False), sensed(100), Saved(100, 6400, "b", False), sensed(150)
    )
    log(folder, Resumed(100, 6400), sensed(150), sensed(200))
    log(folder, Resumed(50, 3200), sensed(100))
    assert steps(folder) == [50, 100]
    assert steps(folder, "saved") == [50]
    log(folder, sensed(150))
    assert steps(folder) == [50, 100, 150]


@pytest.mark.parametrize("size", [1, 5, 20, -1])
def test_partial_last_line_is_ignored(folder: Path, size: int) -> None:
    log(folder, STARTED, sensed(50), sensed(100))
    path = folder / "events.jsonl"
    *complete, last = path.read_bytes().splitlines(keepends=True)
    assert len(complete) == 2
    path.write_bytes(b"".join(complete) + last[:size])
    assert steps(folder) == [50]
    log(folder, sensed(200))
    assert steps(folder) == [50, 200], "the next event starts a new line"
    assert len([strict(text) for text in path.read_text().splitlines()]) == 3


def test_log_is_readable_after_a_kill_at_any_byte(folder: Path) -> None:
    log(folder, STARTED, sensed(50), Saved(50, 3200, "step-00000050", False))
    path = folder / "events.jsonl"
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        assert len(Run(folder).lines()) == sum(end <= length for end in ends)


@pytest.mark.parametrize("block", [1, 7, 1 << 14])
def test_the_last_event_is_read_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("equipoise.runs.run.TAIL_BYTES", block)
    assert Run(folder).last_line() is None
    log(folder, STARTED, sensed(50), Saved(50, 3200, "step-00000050", False))
    path = folder / "events.jsonl"
    content = path.read_bytes()
    for length in range(0, len(content) + 1, 1 if block > 7 else 97):
        path.write_bytes(content[:length])
        assert Run(folder).last_line() == (Run(folder).lines() or [None])[-1]
    path.write_bytes(b"damaged\n" + content)
    assert Run(folder).last_line()["event"] == "saved"
    path.write_bytes(content + b"damaged\n")
    with pytest.raises(RunError, match=r"events\.jsonl, the last line, is not an event; delete that line"):
        Run(folder).last_line()


@pytest.mark.parametrize(
    "damage", [b"{", b"", b"[1, 2]", b'"text"', b"7", b'{"step": 3}', b'{"event": "sensed"}', b"\xff"]
)
def test_damaged_line_is_reported(folder: Path, damage: bytes) -> None:
    log(folder, STARTED, sensed(50), sensed(100))
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(RunError, match=r"events\.jsonl, line 2, is not an event; delete that line"):
        Run(folder).lines()


def test_run_without_log_has_no_events(folder: Path) -> None:
    assert Run(folder).lines() == []
    log(folder)
    assert Run(folder).lines() == []


def test_missing_saved_line_is_restored_on_resume(folder: Path) -> None:
    """After a kill between the checkpoint and its line, the line is missing."""
    best = Evaluated(50, 3200, "kd_digits", 0.1, "lower", 100, 1.0)
    worse = dataclasses.replace(best, step=100, images=6400, value=0.2)
    log(folder, STARTED, best, Saved(50, 3200, "step-00000050", True), worse)
    log(folder, Resumed(100, 6400))
    (first, second) = Run(folder).lines("saved")
    assert (first["step"], first["best"]) == (50, True)
    assert second == {"event": "saved", "step": 100, "images": 6400, "checkpoint": "step-00000100", "best": False}
    log(folder, Resumed(100, 6400))
    assert len(Run(folder).lines("saved")) == 2, "only if it is missing"


@pytest.mark.parametrize(("better", "best"), [("higher", True), ("lower", False)])
def test_restored_saved_line_knows_the_best(folder: Path, better: Any, best: bool) -> None:
    first = Evaluated(50, 3200, "modes", 3.0, better, 100, 1.0)
    log(folder, STARTED, first, dataclasses.replace(first, step=100, value=8.0), Resumed(100, 6400))
    assert Run(folder).lines("saved")[0]["best"] is best


def test_experiment_is_read(folder: Path) -> None:
    assert Run(folder).experiment() == {"model": "dcgan"}
    assert Run(folder).name == "run"
    assert Run(folder / "." / ".." / "run").name == "run"


def test_invalid_experiment_is_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no experiment\.json"):
        Run(tmp_path).experiment()
    for text, message in (
        ("{", "cannot be read: .*; restore the original file"),
        ("[" * 9999, "cannot be read: .*; restore the original file"),
        ("[]", "is not a table of settings; restore the original file"),
    ):
        (folder / "experiment.json").write_text(text)
        with pytest.raises(RunError, match=message):
            Run(folder).experiment()
    (folder / "experiment.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="cannot be read"):
        Run(folder).experiment()


def test_summary_of_interrupted_run_names_resume_command(folder: Path) -> None:
    log(folder, STARTED, Finished(100, 6400, "interrupted", "healthy", 12.0))
    assert summarize_run(Run(folder)).state == f"interrupted; equipoise resume {folder}"
    log(folder, Resumed(100, 6400))
    assert summarize_run(Run(folder)).state == "unfinished"


def test_no_line_is_written_if_samples_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is written first: a line never names a missing file."""

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, Log(folder) as opened:
        patch.setattr(artifacts, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            opened.record(Sampled(5, 320, samples(4, 1)))
    assert Run(folder).lines() == []


@pytest.mark.parametrize("columns", [None, 5])
def test_image_samples_are_written_as_png(folder: Path, columns: int | None) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (10, 3, 4, 6)).astype(np.float32)
    log(folder, Sampled(400, 25600, noise, columns))
    (line,) = Run(folder).lines()
    assert line == {"event": "sampled", "step": 400, "images": 25600, "samples": "samples/step-00000400.png"}
    with Image.open(folder / line["samples"]) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(make_grid(noise, columns)))
    assert [path.name for path in (folder / "samples").iterdir()] == ["step-00000400.png"]


@pytest.mark.parametrize("shape", [(7, 2), (7, 1), (5, 1, 64)])
def test_other_samples_are_written_as_arrays(folder: Path, shape: tuple[int, ...]) -> None:
    points = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    log(folder, Sampled(5, 320, points))
    (line,) = Run(folder).lines()
    assert line["samples"] == "samples/step-00000005.npy"
    result = np.load(folder / line["samples"], allow_pickle=False)
    assert result.dtype == np.float32
    assert np.array_equal(result, points)
