"""Starting and resuming runs: initial weights, limits, estimates, and one process at a time."""

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
from equipoise.experiment import estimates, launch
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs import folders
from equipoise.runs.folders import claim_folder, create_run, require_free
from equipoise.runs.run import Run
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


pytestmark = pytest.mark.usefixtures("working_directory")


def trained(folder: str, experiment: Experiment = RING) -> Path:
    list(launch.start(experiment, Path(folder)))
    return Path(folder)


def remove_results(folder: Path) -> Path:
    """Delete the files that do not exist yet if a run is killed before its first checkpoint."""
    shutil.rmtree(folder / "checkpoints")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    (folder / "events.jsonl").write_text("")
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors)


def test_start_from_is_stored_as_absolute_checkpoint_path(working_directory: Path) -> None:
    trained("first")
    start = complete(dataclasses.replace(RING, start_from="first")).start_from
    assert start == str(working_directory / "first" / "checkpoints" / "step-00000004")
    assert complete(dataclasses.replace(RING, start_from=start)).start_from == start
    assert complete(dataclasses.replace(RING, model=None, start_from=start)).model == complete(RING).model


def test_resume_without_checkpoint_restarts_from_same_weights(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from another current folder, and after the other run was resumed."""
    source = trained("first")
    second = trained("second", dataclasses.replace(RING, seed=1, start_from="first"))
    expected = weights(second)
    list(launch.resume(source, 8))
    (working_directory / "subfolder").mkdir()
    monkeypatch.chdir("subfolder")
    list(launch.resume(remove_results(working_directory / second)))
    again = weights(working_directory / second)
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_resume_fails_if_initial_weights_are_missing(working_directory: Path) -> None:
    source = trained("first")
    second = trained("second", dataclasses.replace(RING, seed=1, start_from="first"))
    shutil.rmtree(source)
    list(launch.resume(second, 6))  # it has checkpoints itself
    with pytest.raises(
        RunError, match="second has no checkpoint yet, and the weights that it starts from are no longer in"
    ):
        list(launch.resume(remove_results(second)))
    assert not list(second.glob("checkpoints/*"))


def after_first_step(events: Iterator[Event]) -> Iterator[Event]:
    """Advance a run past its first step."""
    next(event for event in events if isinstance(event, Stepped))
    return events


def test_one_process_at_a_time_uses_a_run(working_directory: Path) -> None:
    folder = Path("run")
    first = after_first_step(launch.start(RING, folder))
    settings = (folder / "experiment.json").read_bytes()
    with pytest.raises(RunError, match="run is in use by another process"):
        list(launch.resume(folder, 9))
    assert (folder / "experiment.json").read_bytes() == settings, "the refused process wrote nothing"
    assert list(first)[-1].step == 4
    assert list(launch.resume(folder, 6))[-1].step == 6


def test_run_folder_is_created_by_one_process(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes see an unused folder; the second one is refused."""
    calls: list[Path] = []

    def create_meanwhile(folder: Path) -> None:
        calls.append(folder)
        if len(calls) == 1:
            create_run(folder, {"by": "first"})
            return
        require_free(folder)

    monkeypatch.setattr(folders, "require_free", create_meanwhile)
    with pytest.raises(RunError, match="run exists already"):
        create_run(Path("run"), {"by": "second"})
    assert json.loads(Path("run/experiment.json").read_text()) == {"by": "first"}


def test_claimed_names_are_unique(working_directory: Path) -> None:
    with claim_folder(Path("runs"), "ring") as first, claim_folder(Path("runs"), "ring") as second:
        assert (first.name, second.name) == ("ring-1", "ring-2")
        (second / "experiment.json").write_text("{}")
    assert [path.name for path in Path("runs").iterdir()] == ["ring-2"], "empty folders are removed"


@pytest.mark.parametrize("rule", [{"images": 16}, {"seconds": 1e-9}, {"stop_at_equilibrium": True}])
def test_new_length_removes_other_limits(
    working_directory: Path, rule: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.pilot.pilot.Pilot.at_equilibrium", True)
    folder = trained("run", dataclasses.replace(RING, **rule))  # type: ignore[arg-type]
    assert Run(folder).lines()[-1]["step"] < 4
    assert list(launch.resume(folder))[-1].step < 4
    assert list(launch.resume(folder, 6))[-1].step == 6


@pytest.mark.parametrize(("rule", "most"), [({"images": 16}, 2 / 4000), ({"seconds": 1e-3}, 0.0)])
def test_estimate_respects_limits_of_images_and_seconds(rule: dict[str, Any], most: float) -> None:
    long = dataclasses.replace(RING, steps=1_000_000)
    unlimited = estimates.estimate(complete(long)).seconds
    short = estimates.estimate(complete(dataclasses.replace(long, **rule))).seconds
    assert short <= max(1e-3, most * unlimited)


def test_interrupt_during_report_keeps_the_run(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    def interrupted(run: Run) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("equipoise.report.progress_figure.write_progress_figure", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a background job
    words = ("--steps", "2", "--batch-size", "8", "--model", "mlp", "--option", "width=4", "--metric", "none")
    try:
        assert cli.run(["train", "ring", *words, "--out", "run"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == ""
    assert "equipoise report run" in err.splitlines()[-1]
    assert Run(Path("run")).lines()[-1]["reason"] == "steps"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "--count"),
        (RuntimeError("CUDA out of memory"), 2, "--count"),
        (TypeError("Overflow when unpacking long long"), 2, "--count"),
    ],
)
def test_errors_of_a_command_are_one_line(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(*_: object) -> None:
        raise error

    monkeypatch.setattr("equipoise.inference.generator.load", raising)
    assert cli.run(["sample", "run", "--out", "x.png"]) == code
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert words in line


@pytest.mark.parametrize(
    ("command", "words"), [("train", "--batch-size"), ("resume", "train again"), ("runs", "close")]
)
def test_out_of_memory_suggests_flags_of_the_command(
    command: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(args: object) -> int:
        raise MemoryError

    monkeypatch.setattr(cli.command_modules()[command], "run", raising)
    arguments = {"train": ["ring"], "resume": ["run"], "runs": []}[command]
    assert cli.run([command, *arguments]) == 2
    assert words in capsys.readouterr().err
