"""The run folder: what is written is what is read, whatever a kill left of it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.runs import run_folder as runs
from equipoise.errors import RunError
from equipoise.core.events import Evaluated, Event, Finished, Resumed, Sampled, Saved, Sensed, Started, Stepped, Turned
from equipoise.core.observations import Finding, Health, MetricReading, ScalarStats, Signals
from equipoise.runs.run_folder import Log, Run, create, find, free_name, grid, outline, write_bytes, write_text

KNOBS = {"lr_g": 2e-4, "discriminator_steps": 1}
STARTED = Started(0, 0, 1000, 64, "fp32", {"generator": 12}, KNOBS)
SIGNALS = Signals(rank_train_fake=0.7, non_finite=2, metrics={"fid": MetricReading(12.5, 640)})
HEALTH = Health((Finding("divergence", 1.0, {"non_finite": 2}, since=50),))
SENSED = Sensed(50, 3200, 0.05, 1.5, {"generator.total": ScalarStats(1.0, 0.5, 2.0, 0.75)}, SIGNALS, HEALTH)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "run", {"model": "dcgan"})
    return tmp_path / "run"


def sensed(step: int) -> Sensed:
    return dataclasses.replace(SENSED, step=step, images=64 * step)


def log(folder: Path, *events: Event) -> None:
    with Log(folder) as opened:
        for event in events:
            opened.record(event)


def steps(folder: Path, kind: str = "sensed") -> list[int]:
    return [line["step"] for line in Run(folder).named(kind)]


def strict(text: str) -> Any:
    """JSON by the letter: the words NaN and Infinity, which Python would read, are none."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_events_come_back_as_they_were(folder: Path) -> None:
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


def test_what_was_sensed_comes_back_without_what_is_not_known(folder: Path) -> None:
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


def test_steps_are_not_kept(folder: Path) -> None:
    log(folder, STARTED, Stepped(1, 64, 0.1), Stepped(2, 128, 0.2))
    assert [line["event"] for line in Run(folder).lines()] == ["started"]


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_numbers_that_json_cannot_write_are_text(folder: Path, value: float, text: str) -> None:
    signals = dataclasses.replace(SIGNALS, loss_g=value)
    log(folder, dataclasses.replace(SENSED, loss={"g": ScalarStats(value, 1.0, value, 2.0)}, signals=signals))
    line = strict((folder / "events.jsonl").read_text())
    assert line["loss"]["g"] == {"mean": text, "min": 1.0, "max": text, "last": 2.0}
    assert line["signals"]["loss_g"] == text
    assert repr(float(Run(folder).lines()[0]["loss"]["g"]["mean"])) == repr(value)


def test_each_event_is_on_the_disk_before_the_next(folder: Path) -> None:
    with Log(folder) as opened:
        for count, step in enumerate((50, 100, 150), 1):
            opened.record(sensed(step))
            assert len(Run(folder).lines()) == count


def test_a_resumed_line_supersedes_what_followed_its_step(folder: Path) -> None:
    log(folder, STARTED, sensed(50), Saved(50, 3200, "step-00000050", False), sensed(100), sensed(150))
    log(folder, Resumed(50, 3200), sensed(100))
    assert steps(folder) == [50, 100]
    events = [line["event"] for line in Run(folder).lines()]
    assert events == ["started", "sensed", "saved", "resumed", "sensed"]
    whole = (folder / "events.jsonl").read_text()
    assert whole.count('"sensed"') == 4, "the file itself only grows"


def test_a_run_may_be_resumed_more_than_once(folder: Path) -> None:
    log(
        folder, STARTED, sensed(50), Saved(50, 3200, "a", False), sensed(100), Saved(100, 6400, "b", False), sensed(150)
    )
    log(folder, Resumed(100, 6400), sensed(150), sensed(200))
    log(folder, Resumed(50, 3200), sensed(100))
    assert steps(folder) == [50, 100]
    assert steps(folder, "saved") == [50]
    log(folder, sensed(150))
    assert steps(folder) == [50, 100, 150]


@pytest.mark.parametrize("left", [1, 5, 20, -1])
def test_a_last_line_cut_short_does_not_count(folder: Path, left: int) -> None:
    log(folder, STARTED, sensed(50), sensed(100))
    path = folder / "events.jsonl"
    *whole, last = path.read_bytes().splitlines(keepends=True)
    assert len(whole) == 2
    path.write_bytes(b"".join(whole) + last[:left])
    assert steps(folder) == [50]
    log(folder, sensed(200))
    assert steps(folder) == [50, 200], "what follows begins a line of its own"
    assert len([strict(text) for text in path.read_text().splitlines()]) == 3


def test_a_kill_at_any_byte_leaves_a_readable_log(folder: Path) -> None:
    log(folder, STARTED, sensed(50), Saved(50, 3200, "step-00000050", False))
    path = folder / "events.jsonl"
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert len(Run(folder).lines()) == sum(end <= length for end in ends)


@pytest.mark.parametrize(
    "damage", [b"{", b"", b"[1, 2]", b'"text"', b"7", b'{"step": 3}', b'{"event": "sensed"}', b"\xff"]
)
def test_a_damaged_line_in_the_middle_is_told(folder: Path, damage: bytes) -> None:
    log(folder, STARTED, sensed(50), sensed(100))
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(RunError, match=r"events\.jsonl, line 2, is not an event; delete that line"):
        Run(folder).lines()


def test_a_run_without_a_log_has_no_events(folder: Path) -> None:
    assert Run(folder).lines() == []
    log(folder)
    assert Run(folder).lines() == []


def test_a_checkpoint_whose_line_was_lost_is_put_in(folder: Path) -> None:
    """A kill between the checkpoint and its line: the resumed run tells of it all the same."""
    best = Evaluated(50, 3200, "kd_digits", 0.1, "lower", 100, 1.0)
    worse = dataclasses.replace(best, step=100, images=6400, value=0.2)
    log(folder, STARTED, best, Saved(50, 3200, "step-00000050", True), worse)
    log(folder, Resumed(100, 6400))
    (first, second) = Run(folder).named("saved")
    assert (first["step"], first["best"]) == (50, True)
    assert second == {"event": "saved", "step": 100, "images": 6400, "checkpoint": "step-00000100", "best": False}
    log(folder, Resumed(100, 6400))
    assert len(Run(folder).named("saved")) == 2, "only where it is missing"


@pytest.mark.parametrize(("better", "best"), [("higher", True), ("lower", False)])
def test_the_line_put_in_knows_the_best(folder: Path, better: Any, best: bool) -> None:
    first = Evaluated(50, 3200, "modes", 3.0, better, 100, 1.0)
    log(folder, STARTED, first, dataclasses.replace(first, step=100, value=8.0), Resumed(100, 6400))
    assert Run(folder).named("saved")[0]["best"] is best


def test_an_experiment_is_read_back(folder: Path) -> None:
    assert Run(folder).experiment() == {"model": "dcgan"}
    assert Run(folder).name == "run"
    assert Run(folder / "." / ".." / "run").name == "run"


def test_what_is_no_experiment_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no experiment\.json"):
        Run(tmp_path).experiment()
    for text, message in (("{", "cannot be read: .*; put it back"), ("[]", "is not a table of settings; put it back")):
        (folder / "experiment.json").write_text(text)
        with pytest.raises(RunError, match=message):
            Run(folder).experiment()
    (folder / "experiment.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="cannot be read"):
        Run(folder).experiment()


def test_an_occupied_folder_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"run exists already; resume it with: equipoise resume .*run; or choose .*--out"
    ):
        create(folder, {"model": "mlp"})
    assert Run(folder).experiment() == {"model": "dcgan"}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(RunError, match="photos exists already; it is not empty; choose another folder with --out"):
        create(tmp_path / "photos", {})
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file exists already"):
        create(tmp_path / "file", {})


def test_empty_and_nested_folders_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        create(folder, {"seed": 1})
        assert {path.name for path in folder.iterdir()} == {"experiment.json", "events.jsonl"}


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (28, "the disk that holds .*run is full; make room, then: equipoise resume"),
        (13, "no permission to write to .*run; choose another folder with --out"),
        (30, "no permission to write to"),
        (5, "cannot write to .*run: Input/output error"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise OSError(number, {5: "Input/output error"}.get(number, "refused"))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunError, match=message):
            create(tmp_path / "run", {})
    create(tmp_path / "run", {})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(RunError, match=message):
            Log(tmp_path / "run")


def test_runs_are_found_by_name(tmp_path: Path) -> None:
    assert find(tmp_path) == []
    for name in ("b", "a", "c-2"):
        create(tmp_path / name, {})
    (tmp_path / "no run").mkdir()
    assert [run.name for run in find(tmp_path)] == ["a", "b", "c-2"]


def test_a_run_that_was_interrupted_says_how_it_goes_on(folder: Path) -> None:
    log(folder, STARTED, Finished(100, 6400, "interrupted", "healthy", 12.0))
    assert outline(Run(folder))["state"] == f"interrupted; equipoise resume {folder}"
    log(folder, Resumed(100, 6400))
    assert outline(Run(folder))["state"] == "unfinished"


def test_the_next_free_name(tmp_path: Path) -> None:
    assert free_name(tmp_path / "nowhere", "digits") == tmp_path / "nowhere" / "digits-1"
    for name in ("digits-1", "digits-3", "digits-other", "ring-2"):
        (tmp_path / name).mkdir()
    assert free_name(tmp_path, "digits").name == "digits-2"
    (tmp_path / "digits-2").mkdir()
    assert free_name(tmp_path, "digits").name == "digits-4"
    assert free_name(tmp_path, "ring").name == "ring-1"
    assert not free_name(tmp_path, "digits").exists()


def samples(count: int, channels: int, value: float = 0.0) -> np.ndarray:
    return np.full((count, channels, 4, 6), value, np.float32)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "RGB"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 3, 2), (16, 4, 4)])
def test_a_grid_is_about_square(channels: int, mode: str, count: int, columns: int, rows: int) -> None:
    image = grid(samples(count, channels))
    assert image.mode == mode
    assert image.size == (columns * 6 + (columns - 1) * 2, rows * 4 + (rows - 1) * 2)


def test_a_grid_has_the_columns_asked_for() -> None:
    assert grid(samples(20, 1), columns=10).size == (10 * 8 - 2, 2 * 6 - 2)
    assert grid(samples(3, 1), columns=10, gap=0).size == (60, 4)


def test_samples_stand_row_by_row_in_full_range() -> None:
    """Each image is its own shade; the gap and the empty place are grey."""
    shades = np.array([-1.0, 0.0, 1.0, -7.0, 7.0], np.float32)
    image = np.asarray(grid(np.broadcast_to(shades[:, None, None, None], (5, 1, 4, 6)).copy()))
    seen = [[image[top, left] for left in (3, 11, 19)] for top in (2, 8)]
    assert seen == [[0, 128, 255], [0, 255, 128]]
    assert image[2, 6] == 128
    assert set(np.unique(image)) == {0, 128, 255}


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_keep_their_places(channels: int) -> None:
    colour = np.linspace(-1, 1, channels, dtype=np.float32)
    image = np.asarray(grid(np.broadcast_to(colour[None, :, None, None], (1, channels, 4, 6)).copy()))
    expected = [round((float(value) + 1) * 127.5) for value in colour] + [0] * (channels == 2)
    assert image[1, 1].tolist() == expected


@pytest.mark.parametrize("columns", [None, 5])
def test_samples_of_images_go_into_a_picture(folder: Path, columns: int | None) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (10, 3, 4, 6)).astype(np.float32)
    log(folder, Sampled(400, 25600, noise, columns))
    (line,) = Run(folder).lines()
    assert line == {"event": "sampled", "step": 400, "images": 25600, "samples": "samples/step-00000400.png"}
    with Image.open(folder / line["samples"]) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(grid(noise, columns)))
    assert [path.name for path in (folder / "samples").iterdir()] == ["step-00000400.png"]


@pytest.mark.parametrize("shape", [(7, 2), (7, 1), (5, 1, 64)])
def test_samples_that_are_no_images_stay_numbers(folder: Path, shape: tuple[int, ...]) -> None:
    points = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    log(folder, Sampled(5, 320, points))
    (line,) = Run(folder).lines()
    assert line["samples"] == "samples/step-00000005.npy"
    result = np.load(folder / line["samples"], allow_pickle=False)
    assert result.dtype == np.float32
    assert np.array_equal(result, points)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    write_text(path, "first, ä")
    assert path.read_text(encoding="utf-8") == "first, ä"
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "experiment.json"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, place, full)
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def kill(*given: object, **named: object) -> None:
        raise KilledError

    write_text(tmp_path / "experiment.json", "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill)
        with pytest.raises(KilledError):
            write_text(tmp_path / "experiment.json", "new")
    assert (tmp_path / "experiment.json").read_text() == "old"


def test_no_line_is_lost_when_samples_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture comes first: a line never names a file that is not there."""

    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, Log(folder) as opened:
        patch.setattr(runs, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            opened.record(Sampled(5, 320, samples(4, 1)))
    assert Run(folder).lines() == []
