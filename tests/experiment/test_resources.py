"""Experiments that need more memory than there is are refused before anything large is built."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.experiment import launch, resources
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec

MIB = 2**20
RING = Experiment(data=PlugSpec("ring"), model=PlugSpec("mlp"), steps=2, metric=PlugSpec("none"))
DIGITS = Experiment(data=PlugSpec("digits"), model=PlugSpec("dcgan"), steps=2, image_size=16)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 MiB of memory."""
    monkeypatch.setattr(resources, "available_memory", lambda device: 64 * MIB)


def check(experiment: Experiment, options: Mapping[str, object] | None = None, **settings: int) -> None:
    resources.check_memory(complete(dataclasses.replace(experiment, options=options, **settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("experiment", [RING, DIGITS])
def test_usual_settings_fit(experiment: Experiment) -> None:
    check(experiment, {"width": 16}, batch_size=8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 100_000}, "need more than 0.1 GiB of memory, .* reduce depth = 100,000: --option depth="),
        ({"width": 1_000_000}, "need more than .* GiB of memory, and 0.1 GiB are available; reduce width = 1,000,000"),
        ({"latent_dim": 10**9}, "reduce latent_dim = 1,000,000,000"),
    ],
)
def test_large_networks_are_refused(options: Mapping[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        check(RING, options)


def test_many_small_layers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MAX_TENSORS", 100)
    with pytest.raises(SettingError, match=r"more than 100 layers, .* reduce depth = 60"):
        check(RING, {"depth": 60, "width": 4})


def test_large_batch_is_refused_with_one_that_fits() -> None:
    with pytest.raises(SettingError, match=r"batch_size = 1,000,000,000 needs at least .* --batch-size \d+$") as caught:
        check(RING, batch_size=10**9)
    fitting = int(str(caught.value).rsplit(" ", 1)[1])
    check(RING, batch_size=fitting)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batch_is_that_of_all_processes(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "select_device", lambda name: torch.device(device))
    monkeypatch.setattr(resources, "available_memory", lambda device: 2**27)
    with pytest.raises(SettingError, match=r"batch_size = 4,000,000 needs at least .* --batch-size \d+$") as caught:
        check(RING, batch_size=4 * 10**6, devices=4)
    assert ("on each device" in str(caught.value)) == (device == "cuda")
    fitting = int(str(caught.value).rsplit(" ", 1)[1])
    assert fitting % 4 == 0
    check(RING, batch_size=fitting, devices=4)


def test_activations_are_counted() -> None:
    """The reals alone would fit: 2,000 images of 16 x 16 in float32 are 2 MiB."""
    with pytest.raises(SettingError, match="batch_size = 2,000 needs at least"):
        check(DIGITS, {"width": 64}, batch_size=2000)


def test_networks_that_grow_are_counted_at_their_full_size() -> None:
    growing, full = (
        complete(dataclasses.replace(DIGITS, model=PlugSpec("progan", {"levels": levels, "width": 4}), batch_size=8))
        for levels in ((8, 16), (16,))
    )
    assert resources._activation_bytes(growing) == resources._activation_bytes(full)


def test_nothing_is_written(working_directory: Path) -> None:
    with pytest.raises(SettingError, match="batch_size"):
        list(launch.start(dataclasses.replace(RING, batch_size=10**9), "run"))
    assert list(working_directory.iterdir()) == []


def test_hook_is_removed() -> None:
    with pytest.raises(SettingError):
        check(RING, {"width": 1_000_000})
    torch.nn.Linear(3000, 3000)


@pytest.mark.parametrize("option", [{"modes": 10**9}, {"training_points": 10**12}])
def test_large_data_is_refused(option: Mapping[str, object]) -> None:
    with pytest.raises(SettingError, match="it must be from 1 to"):
        complete(dataclasses.replace(RING, data=PlugSpec("ring", option)))


@pytest.mark.parametrize("name", ["dcgan", "r3gan", "stylegan", "stylegan2", "stylegan3"])
def test_the_compiler_is_not_imported(name: str) -> None:
    """Some operations on the device "meta" import it, which takes about 10 seconds."""
    if "torch._dynamo" in sys.modules:
        pytest.skip("another test imported the compiler of torch")
    with torch.device("meta"), resources._WithoutNormals():
        catalog.build("models", name).build(DataSpec((3, 16, 16)), torch.Generator())
    assert "torch._dynamo" not in sys.modules
