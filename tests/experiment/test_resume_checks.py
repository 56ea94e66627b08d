"""Resuming: refused without checkpoints, with moved data, and after an evaluation that was aborted."""

import contextlib
import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.cli.signals import interruptible
from equipoise.errors import DataError, RunError, SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run
from equipoise.training.plan import abortable, never_interrupted

pytestmark = pytest.mark.usefixtures("working_directory")

RING = Experiment(
    data=PlugSpec("ring"), model=PlugSpec("mlp", {"width": 4}), steps=6, batch_size=8, evaluate_every=3, save_every=2
)


def remove(path: Path) -> None:
    shutil.rmtree(path)


def replace_by_link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/nowhere/drive")


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


@pytest.mark.parametrize("damage", [remove, replace_by_link, empty])
@pytest.mark.parametrize("steps", [None, 9])
def test_finished_run_without_checkpoints_is_refused(damage, steps: int | None, snapshot, working_directory) -> None:
    list(launch.start(RING, "run"))
    damage(Path("run/checkpoints"))
    before = snapshot(working_directory / "run")
    with pytest.raises(RunError, match=r"run/checkpoints has no checkpoint, but its log has one of step 6; restore"):
        list(launch.resume("run", steps))
    assert snapshot(working_directory / "run") == before


def test_final_weights_without_a_log_are_kept(working_directory: Path) -> None:
    list(launch.start(RING, "run"))
    shutil.rmtree("run/checkpoints")
    Path("run/events.jsonl").write_text("")
    with pytest.raises(RunError, match=r"but it has discriminator\.safetensors; .* equipoise train --experiment"):
        list(launch.resume("run"))


def test_checkpoints_that_are_a_file_are_reported() -> None:
    list(launch.start(RING, "run"))
    shutil.rmtree("run/checkpoints")
    Path("run/checkpoints").write_text("")
    with pytest.raises(RunError, match="run/checkpoints cannot be read: Not a directory"):
        list(launch.resume("run"))


def test_run_that_was_killed_before_its_first_checkpoint_restarts() -> None:
    events = launch.start(RING, Path("run"))
    next(event for event in events if event.step == 1)
    events.close()
    *_, last = launch.resume("run")
    assert (last.step, last.reason) == (6, "steps")


def write_images(folder: Path) -> None:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (24, 16, 16), np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def run_on_images(working_directory: Path) -> Experiment:
    """A run of two steps on a folder of images, which is then moved to `new`."""
    write_images(Path("old"))
    experiment = Experiment(
        data=PlugSpec("image_folder", {"folder": "old", "image_size": 16}),
        model=PlugSpec("dcgan", {"width": 2, "latent_dim": 4}),
        metric=PlugSpec("none"),
        steps=2,
        batch_size=4,
    )
    list(launch.start(experiment, "run"))
    Path("old").rename("new")
    return experiment


@pytest.mark.usefixtures("run_on_images")
def test_moved_data_resume_with_their_new_location(working_directory: Path) -> None:
    with pytest.raises(DataError, match=r"no longer in .*old; .* equipoise resume run --data PATH"):
        list(launch.resume("run", 3))
    *_, last = launch.resume("run", 4, data="new")
    assert last.step == 4
    values = json.loads(Path("run/experiment.json").read_text())
    assert values["data"]["options"]["folder"] == str(working_directory / "new")
    assert list(launch.resume("run", 5))[-1].step == 5, "the new location is recorded"


@pytest.mark.usefixtures("run_on_images")
def test_other_data_are_refused_with_the_difference(snapshot, working_directory: Path) -> None:
    Image.new("L", (16, 16), 7).save("new/3.png")
    before = snapshot(working_directory / "run")
    with pytest.raises(DataError, match=r"new changed since this run started: .*3\.png"):
        list(launch.resume("run", 4, data="new"))
    assert snapshot(working_directory / "run") == before


def test_data_without_a_path_are_refused() -> None:
    list(launch.start(RING, "run"))
    with pytest.raises(SettingError, match="'ring' reads no folder and no file; omit --data"):
        list(launch.resume("run", data="new"))


class AbortingRequest:
    """A stop request that arrives during an evaluation."""

    def __init__(self, evaluation: int) -> None:
        self.evaluation = evaluation
        self.is_requested = False

    def __call__(self) -> bool:
        return self.is_requested

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        self.evaluation -= 1
        if not self.evaluation:
            self.is_requested = True
            raise KeyboardInterrupt
        yield


@pytest.mark.parametrize("evaluation", [1, 2])
@pytest.mark.parametrize("save_every", [2, 3])
def test_aborted_evaluation_is_repeated_on_resume(
    evaluation: int, save_every: int, working_directory: Path, final_bytes, valid_events
) -> None:
    """The second evaluation is that of the last step, after which the run is complete."""
    experiment = dataclasses.replace(RING, save_every=save_every)
    list(launch.start(experiment, "whole"))
    *_, last = launch.start(experiment, "run", AbortingRequest(evaluation))
    assert (last.reason, last.step) == ("interrupted", 3 * evaluation)
    assert len(Run(Path("run")).lines("evaluated")) == evaluation - 1
    assert not Path("run/generator.safetensors").exists()
    *_, last = launch.resume("run")
    assert (last.reason, last.step) == ("steps", 6)
    assert final_bytes(working_directory / "run") == final_bytes(working_directory / "whole")
    first, second = (
        sorted(json.dumps(line) for line in valid_events(Path(run)) if line["event"] != "saved")
        for run in ("run", "whole")
    )
    assert first == second


def test_signal_during_an_evaluation_aborts_it() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interruptible() as request:
            request.defer()
            with pytest.raises(KeyboardInterrupt), abortable(request):
                signal.raise_signal(signal.SIGINT)
            assert request()
    finally:
        signal.signal(signal.SIGINT, before)
    with abortable(never_interrupted):
        pass


def test_arguments_of_other_types_are_refused(trained: Path, tmp_path: Path) -> None:
    table: Any = {"data": "ring"}
    number: Any = 3
    with pytest.raises(SettingError, match=r"must be an equipoise\.Experiment, not dict"):
        next(launch.start(table, tmp_path / "new"))
    with pytest.raises(SettingError, match="the run folder must be a string or a Path, not int"):
        next(launch.resume(number))
    with pytest.raises(SettingError, match="data must be a string or a Path, not int"):
        next(launch.resume(trained, data=number))
    assert not (tmp_path / "new").exists()
