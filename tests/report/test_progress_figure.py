import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Evaluated, Event
from equipoise.errors import RunError
from equipoise.report import figure_panels, samples
from equipoise.report import run_history as histories
from equipoise.report.progress_figure import write_progress_figure
from equipoise.runs.run import Run

from .conftest import Maker, pictures, points, sensed, started, turned


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def test_figure_of_a_full_run(reported: Path) -> None:
    path = reported / "figures" / "training_progress.png"
    width, height = size(path)
    assert width == 1600
    assert 1800 < height < 3200
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no partial file is left"


def test_changed_knob_has_a_panel(write_run: Maker) -> None:
    constant: list[Event] = [started(), *(sensed(step) for step in range(1, 20))]
    before = write_progress_figure(write_run(constant, "constant"))
    after = write_progress_figure(write_run([*constant, turned(9, "r1_gamma", 0, 0.1)], "moved"))
    assert size(after)[1] > size(before)[1]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [started()],
        [started(), sensed(1), sensed(2), sensed(3)],
        [started(), pictures(0)],
        [started(), points(0), Evaluated(0, 0, "m", float("nan"), "lower", 9, 0.1)],
        [started(), points(0, (50, 1)), points(5, (50, 3, 3))],
        [turned(3, "no such knob $x_$ \N{GRINNING FACE}", -1, 1, by="$\\frac{")],
    ],
    ids=["no events", "started", "three steps", "one sheet", "points, no metric", "odd shapes", "unknown knob"],
)
def test_figure_of_sparse_or_malformed_runs(write_run: Maker, events: list[Event]) -> None:
    width, height = size(write_progress_figure(write_run(events)))
    assert width == 1600
    assert height > 200


def test_ranks_are_drawn_with_and_without_probabilities(write_run: Maker) -> None:
    with_them = histories.read_history(write_run([sensed(50)], "with"))
    without = histories.read_history(write_run([sensed(50, probability=False)], "without"))
    assert figure_panels.probabilities(with_them) is not None
    assert figure_panels.probabilities(without) is None
    assert figure_panels.ranks(without) is not None


def test_samples_are_first_middle_and_last(write_run: Maker) -> None:
    run = write_run([pictures(step) for step in (0, 10, 48, 70, 100)])
    assert [one.step for one in samples.representative_samples(histories.read_history(run))] == [0, 48, 100]
    assert [
        one.step for one in samples.representative_samples(histories.read_history(write_run([pictures(3)], "one")))
    ] == [3]


@pytest.mark.parametrize("kind", ["cut", "empty", "missing", "pickle", "outside", "text"])
def test_damaged_samples_leave_a_note(write_run: Maker, kind: str) -> None:
    run = write_run([pictures(0) if kind != "pickle" else points(0)])
    path = next((run.folder / "samples").iterdir())
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"not a picture")
    elif kind == "missing":
        path.unlink()
    elif kind == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        line = {"event": "sampled", "step": 0, "images": 0, "samples": "../secret.png"}
        path.rename(run.folder.parent / "secret.png")
        (run.folder / "events.jsonl").write_text(json.dumps(line) + "\n")
    last = samples.last_samples(histories.read_history(run))
    assert last is not None
    assert last.sheet is last.values is None
    assert "step 0" in last.note
    assert size(write_progress_figure(run))[0] == 1600


def test_figure_ignores_matplotlib_settings(write_run: Maker) -> None:
    import matplotlib

    run = write_run([started(), sensed(1)])
    first = write_progress_figure(run).read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "savefig.dpi": 10}):
        settings = dict(matplotlib.rcParams)
        assert write_progress_figure(run).read_bytes() == first
        assert dict(matplotlib.rcParams) == settings


def test_unwritable_or_missing_run_raises(write_run: Maker) -> None:
    run = write_run([started()])
    (run.folder / "figures").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        write_progress_figure(run)
    with pytest.raises(RunError, match="not a run"):
        write_progress_figure(Run(run.folder / "none"))
