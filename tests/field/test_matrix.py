"""The same pictures in 18 forms × training, evaluation as samples and as reals, and translation: one behaviour."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from equipoise.core import catalog
from equipoise.experiment.data_source import parse_data_source

Call = Callable[..., tuple[int, str, str]]
Pictures = npt.NDArray[np.uint8]
SHORT = ("--model", "dcgan", "--option", "width=4", "latent_dim=6", "--steps", "2", "--metric", "none", "--seed", "1")

pytestmark = pytest.mark.usefixtures("working_directory")


def values(path: Path, metrics: str, against: Path, call: Call) -> list[float]:
    arguments = ("--against", against, "--metrics", metrics, "--option", "fd_pixels.side=8")
    code, out, err = call("evaluate", path, *arguments, "--json")
    assert code == 0, err
    output = json.loads(out)
    assert output["protocol"]["reals"]["count"] == output["protocol"]["samples"]["count"] == 24
    return [row["value"] for row in output["metrics"]]


def test_data_set_holds_the_same_pictures(
    inputs: dict[str, Path], kind: str, num_classes: int, pictures: Pictures
) -> None:
    plug = parse_data_source(str(inputs[kind])).with_options(held_out=0.0, image_size=32)
    data = catalog.build("data", plug.name, plug.options).resolve()
    assert (data.count("train"), data.count("held_out")) == (24, 0)
    batch = data.stream("train", 24, 0).batch(0)
    assert batch.real.dtype == torch.float32
    pixels = ((batch.real + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    distances = np.abs(pixels[:, None].astype(int) - pictures[None]).mean(axis=(2, 3, 4))
    numbers = distances.argmin(axis=1).tolist()
    assert sorted(numbers) == list(range(24))
    assert distances.min(axis=1).max() <= (8 if kind == "sizes" else 0), "only resizing changes pixels"
    assert data.spec.classes == num_classes
    if num_classes:
        assert batch.condition.tolist() == [number % 3 for number in numbers]


def states(path: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of modification of a file, or of everything in a folder."""
    paths = [path, *path.rglob("*")]
    return {each: (each.stat().st_size, each.stat().st_mtime_ns) for each in paths}


def test_training_starts_and_resumes(inputs: dict[str, Path], kind: str, call: Call, no_film: None) -> None:
    before = states(inputs[kind])
    code, _, err = call("train", inputs[kind], *SHORT, "--image-size", 32, "--batch-size", 4, "--out", "run")
    assert code in (0, 3), err
    code, _, err = call("resume", "run", "--steps", 4)
    assert code in (0, 3), err
    assert states(inputs[kind]) == before


def test_samples_and_reals_may_be_swapped(inputs: dict[str, Path], kind: str, call: Call) -> None:
    """Equal pictures have distance 0, in both directions."""
    for path, other in ((inputs[kind], inputs["plain"]), (inputs["plain"], inputs[kind])):
        distance, precision = values(path, "fd_pixels,precision:samples", other, call)
        assert abs(distance) < (0.1 if kind == "sizes" else 1e-3)
        assert precision == 1


def test_every_picture_is_translated(inputs: dict[str, Path], kind: str, call: Call, translator: Path) -> None:
    """Each picture gives one of its own size; equal pictures give equal results."""
    code, _, err = call("translate", translator, inputs[kind], "--out", "out")
    assert code == 0, err
    written = sorted(Path("out").rglob("*.png"))
    assert len(written) == 24
    code, _, err = call("translate", translator, inputs["plain"], "--out", "expected")
    assert code == 0, err
    results = [
        sorted(image.tobytes() for image in map(load, Path(name).rglob("*.png"))) for name in ("out", "expected")
    ]
    if kind == "sizes":
        assert {load(path).shape for path in written} == {(32, 32, 3), (128, 128, 3)}
    else:
        assert results[0] == results[1]


def load(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> Path:
    """A translation run of two steps on pairs of 32 × 32 pixels."""
    from equipoise.experiment import launch
    from equipoise.experiment.settings import Experiment, PlugSpec

    folder = tmp_path_factory.mktemp("translator")
    (folder / "pairs").mkdir()
    for number, image in enumerate(pictures):
        Image.fromarray(np.concatenate([255 - image, image], axis=1)).save(folder / "pairs" / f"{number:03d}.png")
    options = {"folder": str(folder / "pairs"), "cache": str(folder / "cache"), "image_size": 32}
    experiment = Experiment(
        data=PlugSpec("paired_folder", options),
        model=PlugSpec("pix2pix", {"width": 4}),
        metric=PlugSpec("none"),
        steps=2,
        batch_size=4,
        seed=0,
        precision="fp32",
    )
    from equipoise.experiment.completion import complete

    for _ in launch.start(complete(experiment), folder / "run"):
        pass
    return folder / "run"
