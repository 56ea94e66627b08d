"""Going on with a run: from where it stands, past what had ended it, and one process at a time."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.cli import main as cli
from equipoise.core.events import Event, Stepped
from equipoise.errors import RunError
from equipoise.experiment import estimates as estimating
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.runs import run_folder as runs
from equipoise.training import checkpoint

RING = Experiment(
    data=PlugSpec("ring"),
    model=PlugSpec("mlp", {"width": 4}),
    controller=PlugSpec("fixed"),
    metric=PlugSpec("none"),
    steps=4,
    batch_size=8,
    repair=False,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(folder: str, experiment: Experiment = RING) -> Path:
    list(launch.start(experiment, Path(folder)))
    return Path(folder)


def cut_off_at_once(folder: Path) -> Path:
    """As a kill before the first checkpoint leaves it."""
    shutil.rmtree(folder / "checkpoints")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    (folder / "events.jsonl").write_text("")
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors)


def test_where_a_run_starts_from_is_kept_in_full(elsewhere: Path) -> None:
    trained("first")
    start = complete(dataclasses.replace(RING, start_from="first")).start_from
    assert start == str(elsewhere / "first" / "checkpoints" / "step-00000004")
    assert complete(dataclasses.replace(RING, start_from=start)).start_from == start
    assert complete(dataclasses.replace(RING, model=None, start_from=start)).model == complete(RING).model


def test_a_run_without_a_checkpoint_begins_again_from_the_weights_it_began_from(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it is gone on with from another folder, and the other run has gone on since."""
    source = trained("first")
    second = trained("second", dataclasses.replace(RING, seed=1, start_from="first"))
    whole = weights(second)
    list(launch.resume(source, 8))
    (elsewhere / "below").mkdir()
    monkeypatch.chdir("below")
    list(launch.resume(cut_off_at_once(elsewhere / second)))
    again = weights(elsewhere / second)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_weights_to_start_from_that_are_gone_are_not_replaced_by_chance(elsewhere: Path) -> None:
    source = trained("first")
    second = trained("second", dataclasses.replace(RING, seed=1, start_from="first"))
    shutil.rmtree(source)
    list(launch.resume(second, 6))  # it has checkpoints of its own
    with pytest.raises(RunError, match="second has no checkpoint yet, and the weights that it starts from are not in"):
        list(launch.resume(cut_off_at_once(second)))
    assert not list(second.glob("checkpoints/*"))


def begun(events: Iterator[Event]) -> Iterator[Event]:
    """The events of a run, after its first step."""
    next(event for event in events if isinstance(event, Stepped))
    return events


def test_one_process_at_a_time_works_at_a_run(elsewhere: Path) -> None:
    folder = Path("run")
    first = begun(launch.start(RING, folder))
    settings = (folder / "experiment.json").read_bytes()
    with pytest.raises(RunError, match="run is in use by another process; wait until it has ended, or stop it"):
        list(launch.resume(folder, 9))
    assert (folder / "experiment.json").read_bytes() == settings, "what was refused has written nothing"
    assert list(first)[-1].step == 4
    assert list(launch.resume(folder, 6))[-1].step == 6


def test_a_folder_is_made_by_one_process_alone(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked and found nothing there; the slower one is refused."""
    seen, look = [], runs.refuse_occupied

    def too_early(folder: Path) -> None:
        seen.append(folder)
        if len(seen) == 1:
            runs.create(folder, {"by": "the quicker one"})
            return
        look(folder)

    monkeypatch.setattr(runs, "refuse_occupied", too_early)
    with pytest.raises(RunError, match="run exists already"):
        runs.create(Path("run"), {"by": "the slower one"})
    assert json.loads(Path("run/experiment.json").read_text()) == {"by": "the quicker one"}


def test_a_name_is_given_once(elsewhere: Path) -> None:
    with runs.claimed(Path("runs"), "ring") as first, runs.claimed(Path("runs"), "ring") as second:
        assert (first.name, second.name) == ("ring-1", "ring-2")
        (second / "experiment.json").write_text("{}")
    assert [path.name for path in Path("runs").iterdir()] == ["ring-2"], "what stays empty goes again"


@pytest.mark.parametrize("rule", [{"images": 16}, {"seconds": 1e-9}, {"stop_at_equilibrium": True}])
def test_a_new_length_lifts_whatever_had_ended_the_run(
    elsewhere: Path, rule: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.pilot.pilot.Pilot.at_equilibrium", True)
    folder = trained("run", dataclasses.replace(RING, **rule))  # type: ignore[arg-type]
    assert runs.Run(folder).lines()[-1]["step"] < 4
    assert list(launch.resume(folder))[-1].step < 4
    assert list(launch.resume(folder, 6))[-1].step == 6


@pytest.mark.parametrize(("rule", "most"), [({"images": 16}, 2 / 4000), ({"seconds": 1e-3}, 0.0)])
def test_an_estimate_is_no_longer_than_what_ends_the_run(rule: dict[str, Any], most: float) -> None:
    long = dataclasses.replace(RING, steps=1_000_000)
    whole = estimating.estimate(complete(long)).seconds
    short = estimating.estimate(complete(dataclasses.replace(long, **rule))).seconds
    assert short <= max(1e-3, most * whole)


def test_ctrl_c_while_the_report_is_made_stops_that(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    def interrupted(run: runs.Run) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("equipoise.report.figures.training_progress", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without one
    words = ("--steps", "2", "--batch-size", "8", "--model", "mlp", "--option", "width=4", "--metric", "none")
    try:
        assert cli.run(["train", "ring", *words, "--out", "run"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "equipoise: stopped; the run is whole, its report is not: equipoise report run"
    assert "saving after this step" not in err
    assert runs.Run(Path("run")).lines()[-1]["reason"] == "steps"


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "there is not enough memory; make --count smaller"),
        (RuntimeError("CUDA out of memory"), 2, "there is not enough memory; make --count smaller"),
        (TypeError("Overflow when unpacking long long"), 2, "there is not enough memory; make --count smaller"),
    ],
)
def test_what_ends_any_command_is_told_in_a_line(
    wrong: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(*_: object) -> None:
        raise wrong

    monkeypatch.setattr("equipoise.inference.generator.load", raising)
    assert cli.run(["sample", "run", "--out", "x.png"]) == code
    assert capsys.readouterr().err.strip() == f"equipoise: {told}"


@pytest.mark.parametrize(("command", "told"), [("train", "--batch-size"), ("resume", "train anew"), ("runs", "end")])
def test_what_takes_less_memory_is_what_the_command_has(
    command: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(asked: object) -> int:
        raise MemoryError

    monkeypatch.setattr(cli.module(command), "act", raising)
    words = {"train": ["ring"], "resume": ["run"], "runs": []}[command]
    assert cli.run([command, *words]) == 2
    assert told in capsys.readouterr().err
