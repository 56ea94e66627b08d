"""Starting from the weights in the package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.launch import load_initial_weights
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.experiment.starter import FOLDER, STARTER, check_starter
from equipoise.training import checkpoint
from equipoise.training.loop import Training

MAX_BYTES = 15 * 2**20


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(8):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def starting(pictures: Path, side: int) -> Training:
    data = PlugSpec(
        "image_folder", {"folder": str(pictures), "image_size": side, "cache": str(pictures.parent / "cache")}
    )
    experiment = complete(Experiment(data=data, start_from=STARTER, steps=10, device="cpu", metric=PlugSpec("none")))
    training = assemble(experiment, None)
    load_initial_weights(training, experiment)
    return training


def test_all_weights_are_those_of_the_package_at_64_pixels(pictures: Path) -> None:
    training = starting(pictures, 64)
    assert training.transferred == {"generator": 1.0, "discriminator": 1.0}
    path = checkpoint.latest(FOLDER)
    assert path is not None
    saved = checkpoint.read(path)
    for name, network in training.state.trained_networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, saved.tensors[f"network/{name}/{key}"]), f"{name}/{key}"


def test_most_weights_fit_another_size(pictures: Path) -> None:
    assert all(0.3 < share <= 1 for share in starting(pictures, 128).transferred.values())


def test_the_settings_for_pictures_on_a_cpu_stay(pictures: Path) -> None:
    data = PlugSpec(
        "image_folder", {"folder": str(pictures), "image_size": 64, "cache": str(pictures.parent / "cache")}
    )
    chosen = complete(Experiment(data=data, steps=10, device="cpu"))
    started = complete(Experiment(data=data, steps=10, device="cpu", start_from=STARTER))
    assert (started.model, started.controller, started.batch_size) == (
        chosen.model,
        chosen.controller,
        chosen.batch_size,
    )
    assert started.start_from == STARTER
    assert complete(started) == started


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec((1, 64, 64)), "the starter generates images of 3 channels, but these data have 1; add --option"),
        (DataSpec((4, 64, 64)), "the starter generates images of 3 channels, but these data have 4; add --option"),
        (DataSpec((2,)), "the starter generates colour images, but these data are none; omit --from"),
    ],
)
def test_other_data_are_refused(spec: DataSpec, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_starter(STARTER, spec)
    check_starter(None, spec)
    check_starter("runs/first", spec)


def test_the_files_are_small_and_name_the_licences_of_the_pictures() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    text = (FOLDER / "LICENSES.txt").read_text()
    assert all(licence in text for licence in ("Apache License 2.0", "MIT", "CC0"))
