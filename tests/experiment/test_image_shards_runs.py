"""Runs on images in shards: the same bytes with other processes that decode, and after a resume; clear errors."""

import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Skipped, Stepped
from equipoise.errors import DataError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec


def write_shards(folder, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for shard in range(2):
        with tarfile.open(folder / f"set-{shard}.tar", "w") as archive:
            for number in range(24):
                content = io.BytesIO()
                Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(content, "PNG")
                is_damaged = (shard, number) == (1, 5)
                for ending, value in (
                    ("png", b"1" if is_damaged else content.getvalue()),
                    ("cls", b"%d" % (number % 2)),
                ):
                    info = tarfile.TarInfo(f"{shard}-{number:03d}.{ending}")
                    info.size = len(value)
                    archive.addfile(info, io.BytesIO(value))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_shards(folder / "set")
    return folder


@pytest.fixture(scope="module")
def experiment(place):
    data = PlugSpec("image_shards", {"shards": str(place / "set" / "set-{0..1}.tar"), "cache": str(place / "cache")})
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6})
    sizes = {"steps": 4, "batch_size": 16, "save_every": 2, "sample_every": 1000, "evaluate_every": 1000}
    return Experiment(
        data=data, model=model, metric=PlugSpec("none"), precision="fp32", threads=1, device="cpu", **sizes
    )


@pytest.fixture(scope="module")
def run(place, experiment):
    """The events of a run without other processes."""
    return list(launch.start(experiment, place / "whole"))


def weights(folder):
    return (folder / "generator.safetensors").read_bytes()


def test_bytes_do_not_depend_on_processes_or_a_resume(place, experiment, run):
    with_process = dataclasses.replace(experiment, data_processes=1)
    steps: list[Stepped] = []
    for event in launch.start(with_process, place / "parts", lambda: len(steps) >= 2):
        if isinstance(event, Stepped):
            steps.append(event)
    assert len(steps) == 2
    assert json.loads((place / "parts" / "experiment.json").read_text())["data_processes"] == 1
    for _ in launch.resume(place / "parts"):
        pass
    assert weights(place / "parts") == weights(place / "whole")


def test_damaged_images_are_reported_and_listed(place, run):
    (event,) = [event for event in run if isinstance(event, Skipped)]
    assert event.files == {"set-1.tar/1-005.png": "not an image in a known format"}
    lines = (place / "whole" / "skipped.txt").read_text().splitlines()
    assert lines.count("set-1.tar/1-005.png\tnot an image in a known format") == 1


def test_data_are_recorded(place, run):
    record = json.loads((place / "whole" / "data.json").read_text())
    assert (record["train"], record["held_out"], record["class_names"]) == (43, 5, ["0", "1"])
    assert "48 images in 2 shards" in record["notes"][0]


def test_a_run_whose_shards_changed_is_not_resumed(place, experiment, run):
    write_shards(place / "set", seed=1)
    (place / "set" / "set-1.tar").write_bytes((place / "set" / "set-0.tar").read_bytes())
    with pytest.raises(DataError, match=r"changed since this run started: .* modified \(set-1.tar\)") as error:
        list(launch.resume(place / "whole", steps=6))
    assert "\n" not in str(error.value)


def test_data_that_is_decoded_beforehand_ignores_the_option(tmp_path):
    settings = Experiment(data=PlugSpec("ring"), steps=1, batch_size=16, data_processes=2, threads=1, device="cpu")
    started = next(iter(launch.start(settings, tmp_path / "run")))
    assert "--data-workers has no effect: 'ring' is decoded beforehand" in started.notes
