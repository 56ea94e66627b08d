"""The contract of every data set: its fields, its streams, its suggestion."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from equipoise.core import catalog
from equipoise.core.data import PairedBatch, UnpairedBatch
from equipoise.errors import DataError

NAMES = catalog.names("data")
SPLITS = ("train", "held_out")


def options_of(name):
    return inspect.signature(catalog.load("data", name)).parameters


def needs_nothing(name):
    """Return whether a data set can be built without a folder or another argument."""
    return all(parameter.default is not parameter.empty for parameter in options_of(name).values())


def write_pictures(folder):
    """Write 100 images of noise in two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, 16, 20, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        path = folder / f"class {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def write_digits(folder):
    """Write 100 images of noise as the files of MNIST, 80 of them for training."""
    for part, count in (("train", 80), ("t10k", 20)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", np.arange(count, dtype=np.uint8) % 10)):
            start = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            path = folder / f"{part}-{kind}-ubyte"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(start + array.tobytes())


def write_photographs(folder):
    """Write 120 images of noise as the files of CIFAR-10, 20 in each."""
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, 256, (6, 20, 3073), dtype=np.uint8)
    rows[:, :, 0] %= 10
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for name, part in zip(names, rows, strict=True):
        (folder / name).write_bytes(part.tobytes())


def write_faces(folder):
    """Write 150 images of noise as the folder of CelebA, 20 of them held out."""
    (folder / "img_align_celeba").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (150, 109, 89, 3), dtype=np.uint8)
    for number, image in enumerate(pixels, 162_770 - 129):
        Image.fromarray(image).save(folder / "img_align_celeba" / f"{number:06}.jpg")


def write_windows(folder):
    """Write 100 windows of noise as CSV files in two types."""
    numbers = np.random.default_rng(0).normal(size=(100, 16, 16))
    for number, window in enumerate(numbers):
        path = folder / f"type {number % 2}" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, window, fmt="%.4f", delimiter=",")


def write_pairs(folder):
    """Write 100 images of noise, and 100 others with the same names."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 100, 16, 16, 3), dtype=np.uint8)
    for side, images in zip(("a", "b"), pixels, strict=True):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / side / f"{number}.png")


def write_sounds(folder):
    """Write 100 tones of half a second as WAV files in two types."""
    time = np.arange(4000) / 8000
    for number in range(100):
        path = folder / f"type {number % 2}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 20 * number) * time), 8000)


def write_lines(folder):
    """Write 200 different lines of up to six words."""
    words = np.random.default_rng(0).integers(0, 30, (200, 6))
    folder.mkdir(parents=True)
    lines = [" ".join(f"w{word}" for word in row[: 2 + number % 5]) for number, row in enumerate(words)]
    (folder / "lines.txt").write_text("\n".join(dict.fromkeys(lines)))


FOLDERS = {
    **{"image_folder": write_pictures, "csv_windows": write_windows, "text_lines": write_lines},
    **{
        "image_shards": write_pictures,
        "paired_folder": write_pairs,
        "unpaired_folders": write_pairs,
        "audio_folder": write_sounds,
    },
}
"""Data sets that read a folder, and what writes a small one with at least eight held-out samples."""
SMALLER = {"oracle": {"words": 50, "train": 500}}
"""Data sets of which it takes long to make as much as they have by default."""
ROOTS = {"mnist": write_digits, "fashion_mnist": write_digits, "cifar10": write_photographs, "celeba": write_faces}
"""Published data sets that read a folder of their name below a root, and what writes a small one of the same form."""


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Return a function from a name to a data set; one that reads a folder gets a small folder."""
    place = tmp_path_factory.mktemp("folders")

    def built(name):
        if name in ROOTS:
            if not (folder := Path(place, "root", name)).exists():
                ROOTS[name](folder)
            cache = {"cache": str(place / "cache")} if "cache" in options_of(name) else {}
            return catalog.build("data", name, {"root": str(place / "root"), "published": False, **cache})
        if name not in FOLDERS:
            return catalog.build("data", name, SMALLER.get(name, {}))
        if not (folder := Path(place, name)).exists():
            FOLDERS[name](folder)
        if name == "text_lines":
            return catalog.build("data", name, {"file": str(folder / "lines.txt")})
        return catalog.build("data", name, {next(iter(options_of(name))): str(folder), "cache": str(place / "cache")})

    return built


READY = [name for name in NAMES if needs_nothing(name) or name in FOLDERS]
both_splits = pytest.mark.parametrize("split", SPLITS)
each = pytest.mark.parametrize("name", READY)


def same(first, second):
    if (first.condition is None) != (second.condition is None):
        return False
    labels = first.condition is None or torch.equal(first.condition, second.condition)
    return labels and torch.equal(first.real, second.real)


@pytest.mark.parametrize("name", NAMES)
def test_data_set_is_a_frozen_documented_dataclass(name):
    plug = catalog.load("data", name)
    assert dataclasses.is_dataclass(plug)
    assert plug.__dataclass_params__.frozen
    assert plug.__doc__
    assert catalog.summary("data", name).endswith(".")
    assert len(catalog.summary("data", name)) <= 120


@each
@both_splits
def test_batches_match_the_spec(build, name, split):
    data = build(name)
    batch = data.stream(split, 8, 0).batch(3)
    assert batch.real.shape == (8, *data.spec.shape)
    assert batch.real.dtype == (torch.float32 if data.spec.vocabulary is None else torch.int64)
    assert batch.real.isfinite().all()
    if data.spec.vocabulary is not None:
        words = data.spec.vocabulary
        assert 0 <= batch.real.min() < batch.real.max() < len(words)
        ended = (batch.real == 0).sum(dim=1) if words.ends else 0
        assert torch.equal(batch.lengths, torch.full((8,), batch.real.shape[1]) - ended)
        for row, length in zip(batch.real.tolist(), batch.lengths.tolist(), strict=True):
            assert len(words.split(words.decode(row))) == length, "what follows an end is no word"
    if data.spec.is_image:
        assert -1 <= batch.real.min() < batch.real.max() <= 1
    if data.spec.classes == 0:
        assert batch.condition is None
    else:
        assert batch.condition.shape == (8,)
        assert batch.condition.dtype == torch.int64
        assert 0 <= batch.condition.min() <= batch.condition.max() < data.spec.classes


@each
@both_splits
def test_inputs_match_the_spec(build, name, split):
    data = build(name)
    batch = data.stream(split, 8, 0).batch(1)
    if data.spec.source is None:
        assert not isinstance(batch, UnpairedBatch)
        assert data.spec.paired == ()
        return
    assert batch.source.shape == (8, *data.spec.source)
    assert batch.source.dtype == torch.float32
    assert -1 <= batch.source.min() < batch.source.max() <= 1
    assert isinstance(batch, PairedBatch) == (split in data.spec.paired)


@each
@both_splits
def test_streams_are_pure(build, name, split):
    stream = build(name).stream(split, 8, 5)
    in_order = [stream.batch(index) for index in range(4)]
    before = torch.get_rng_state()
    assert all(same(stream.batch(index), in_order[index]) for index in (3, 0, 2, 1))
    fresh = build(name).stream(split, 8, 5)
    assert same(fresh.batch(2), in_order[2])
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"


@each
def test_finite_splits_are_disjoint_and_complete(build, name):
    data = build(name)
    if data.count("train") is None:
        assert data.count("held_out") is None
        return
    splits = []
    for split in SPLITS:
        count = data.count(split)
        stream = data.stream(split, 1, 0)
        samples = [stream.batch(index).real.numpy().tobytes() for index in range(count)]
        again = [stream.batch(index).real.numpy().tobytes() for index in range(count, 2 * count)]
        assert sorted(samples) == sorted(again)
        assert samples != again
        splits.append(set(samples))
    assert not splits[0] & splits[1]


@each
@both_splits
def test_too_large_batch_is_refused(build, name, split):
    data = build(name)
    count = data.count(split)
    if count is None:
        return
    assert len(data.stream(split, count, 0).batch(0)) == count
    with pytest.raises(DataError, match=f"{split}.* {count} .*{count + 1}.*{count} or less"):
        data.stream(split, count + 1, 0)


@each
def test_suggestion_is_valid(build, name):
    data = build(name)
    suggestion = data.suggestion
    assert suggestion.steps >= 1
    assert len(data.stream("train", suggestion.batch_size, 0).batch(0)) == suggestion.batch_size
    if suggestion.metric is not None:
        assert suggestion.metric in catalog.names("metrics")
        assert catalog.build("metrics", suggestion.metric).suits(data.spec)


@each
def test_resolve_writes_options_and_changes_nothing(build, name):
    data = build(name)
    for message in data.prepare():
        assert 0 <= message.done <= message.total
    resolve = data.resolve()
    assert resolve.resolve() == resolve
    assert (resolve.spec, resolve.suggestion) == (data.spec, data.suggestion)
    assert same(resolve.stream("train", 8, 3).batch(5), data.stream("train", 8, 3).batch(5))
    options = {field.name: getattr(resolve, field.name) for field in dataclasses.fields(resolve)}
    assert catalog.build("data", name, options) == resolve


def test_every_data_set_is_tested():
    assert sorted(READY) == NAMES
