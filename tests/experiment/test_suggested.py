"""What `train FOLDER` uses: the settings measured for pictures of this size on a CPU, and the line that says why."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.data._images.suggested_settings import ON_CPU, suggest_for_pictures
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, require
from equipoise.experiment.suggested import suggestion_reason

FORMER = ("dcgan", "learnable:suite")


@pytest.fixture
def folder(tmp_path: Path) -> PlugSpec:
    """24 pictures of noise, of 64 pixels, which are decoded at the size that the setting image_size says."""
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    return PlugSpec("image_folder", {"folder": str(tmp_path / "in"), "cache": str(tmp_path / "cache"), "held_out": 0.0})


def plugs(experiment: Experiment) -> tuple[str, str]:
    return require(experiment.model, "model").name, require(experiment.controller, "controller").name


def make_experiment(data: PlugSpec, model: str | None = None, image_size: int | None = None) -> Experiment:
    return Experiment(
        data=data, model=PlugSpec(model) if model else None, image_size=image_size, device="cpu", threads=1
    )


def test_folder_of_pictures_uses_the_measured_settings_on_a_cpu(folder: PlugSpec) -> None:
    experiment = complete(make_experiment(folder))
    (row,) = ON_CPU
    assert plugs(experiment) == (row.model, row.controller)
    assert (experiment.batch_size, experiment.steps) == (row.batch_size, row.steps)
    notes = assemble(experiment, None).notes
    assert notes[0].startswith(f"{row.model}, batch size 16, controller annealed: best")
    assert "benchmarks/photographs.md" in notes[0]
    assert "\n" not in notes[0]
    assert complete(experiment) == experiment


def test_other_models_and_sizes_keep_their_settings(folder: PlugSpec) -> None:
    chosen = complete(make_experiment(folder, "dcgan"))
    assert (*plugs(chosen), chosen.batch_size, chosen.steps) == (*FORMER, 24, 5000)
    assert assemble(chosen, None).notes == ()
    small = complete(make_experiment(folder, image_size=16))
    assert plugs(small) == FORMER
    assert assemble(small, None).notes == ()


def test_gpus_keep_the_former_settings_and_say_that_nothing_was_measured(
    folder: PlugSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("equipoise.experiment.assembly.select_device", lambda name: torch.device("meta"))
    experiment = complete(make_experiment(folder))
    assert plugs(experiment) == FORMER
    (reason,) = suggestion_reason(experiment, build_data(experiment), torch.device("cuda"))
    assert "measured on CPUs only" in reason


@pytest.mark.parametrize(
    ("shape", "measured"),
    [((3, 64, 64), True), ((1, 64, 48), True), ((4, 96, 96), True), ((3, 32, 32), False), ((3, 64, 128), False)],
)
def test_settings_apply_to_sizes_near_the_measured_one(shape: tuple[int, int, int], measured: bool) -> None:
    suggestion = suggest_for_pictures(shape, 500, "kd_efficientnet_lite0")
    assert (suggestion.model, suggestion.batch_size, suggestion.controller) == ("dcgan", 64, "learnable:suite")
    assert (suggestion.on_cpu is not None) is measured
    assert (suggestion.reason is not None) is measured
    if suggestion.on_cpu:
        assert suggestion.on_cpu.metric == "kd_efficientnet_lite0"


def test_small_folder_is_a_single_batch() -> None:
    suggestion = suggest_for_pictures((3, 64, 64), 7, None)
    assert suggestion.on_cpu is not None
    assert (suggestion.batch_size, suggestion.on_cpu.batch_size) == (7, 7)
    assert suggestion.on_cpu.reason is not None
    assert "batch size 7" in suggestion.on_cpu.reason
