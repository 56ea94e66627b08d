"""MNIST and Fashion-MNIST: IDX files, packed or unpacked, in the folders of torchvision, damaged, or missing."""

import gzip
import hashlib
import re
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.data import _idx
from equipoise.errors import DataError, SettingError

NAMES = [name for names in _idx.FILE_NAMES.values() for name in names]
both = pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])


def idx(array):
    """Return an array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, counts=(20, 10), pack=gzip.compress, ending=".gz"):
    """Write the four files with noise; return their contents."""
    folder.mkdir(parents=True)
    random, arrays = np.random.default_rng(0), {}
    for (images, labels), count in zip(_idx.FILE_NAMES.values(), counts, strict=True):
        arrays[images] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[labels] = np.arange(count, dtype=np.uint8) % 10
    for name, array in arrays.items():
        (folder / f"{name}{ending}").write_bytes(pack(idx(array)))
    return arrays


def built(name, root, **options):
    return catalog.build("data", name, {"root": str(root), "published": False, **options})


@both
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_images_and_labels_equal_the_files(tmp_path, name, split):
    arrays = write(tmp_path / name)
    data = built(name, tmp_path)
    count, (images, labels) = data.count(split), (arrays[it] for it in _idx.FILE_NAMES[split])
    batch = data.stream(split, count, 0).batch(0)
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    pixels = ((batch.real + 1) * 127.5).round().byte()
    for image, label in zip(pixels, batch.condition, strict=True):
        assert label_of[image[0, 2:-2, 2:-2].numpy().tobytes()] == label
    assert torch.nn.functional.pad(pixels[:, :, 2:-2, 2:-2], (2, 2, 2, 2)).equal(pixels)


@pytest.mark.parametrize(
    ("folder", "pack", "ending"),
    [
        ("mnist", gzip.compress, ".gz"),
        ("mnist", bytes, ""),
        ("MNIST/raw", gzip.compress, ".gz"),
        ("MNIST/raw", bytes, ""),
    ],
)
def test_local_copies_are_detected(tmp_path, folder, pack, ending):
    write(tmp_path / folder, pack=pack, ending=ending)
    data = built("mnist", tmp_path)
    assert list(data.prepare()) == []
    assert data.resolve().root == str(tmp_path)
    assert (data.count("train"), data.count("held_out")) == (20, 10)


def test_original_names_with_dot_are_accepted(tmp_path):
    write(tmp_path / "mnist", pack=bytes, ending="")
    for name in NAMES:
        (tmp_path / "mnist" / name).rename(tmp_path / "mnist" / name.replace("-idx", ".idx"))
    assert built("mnist", tmp_path).count("train") == 20


@both
def test_missing_data_offline_names_the_remedy(tmp_path, name, monkeypatch, capsys):
    def unreachable(url, timeout):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", name]) == 2
    printed = capsys.readouterr().err.strip()
    assert re.fullmatch(
        rf"equipoise: cannot download https://\S+/train-images-idx3-ubyte\.gz: Name or service not known; https://.*; "
        rf"put train-images-\S+, train-labels-\S+, t10k-images-\S+, t10k-labels-\S+ "
        rf"into {re.escape(str(tmp_path))}/data/{name} yourself",
        printed,
    )
    assert list(tmp_path.rglob("*")) == []


def test_only_missing_files_are_downloaded(tmp_path, monkeypatch):
    write(tmp_path / "mnist")
    missing = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = missing.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    moved = missing.rename(tmp_path / "elsewhere" / missing.name)
    digests = {missing.name.removesuffix(".gz"): hashlib.md5(content).hexdigest()}
    source = _idx.IdxSource("mnist", ("mnist",), (f"{moved.parent.as_uri()}/",), digests)
    assert [step.done for step in _idx.prepare(source, str(tmp_path))] == [len(content) // 1000]
    assert missing.read_bytes() == content
    assert list(_idx.prepare(source, str(tmp_path))) == []


@both
def test_packed_copy_with_wrong_digest_is_refused(tmp_path, name):
    write(tmp_path / name)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged, or is another file: its MD5 is"):
        built(name, tmp_path, published=True).resolve()


def test_unpacked_copy_of_wrong_length_is_refused(tmp_path):
    write(tmp_path / "mnist", pack=bytes, ending="")
    with pytest.raises(DataError, match="contains 20 x 28 x 28 values, not 60000 images of 28 x 28 pixels; delete it"):
        built("mnist", tmp_path, published=True).resolve()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file of bytes"),
        (idx(np.zeros((2, 28, 28), np.uint8))[:-1], "is truncated, or longer than its header says"),
        (idx(np.zeros((2, 28, 28), np.uint8)) + b"\0", "is truncated, or longer"),
        (b"\0\0\x08\x03\0\0", "is truncated, or longer"),
        (b"\0\0\x0d\x01\0\0\0\0", "is not an IDX file of bytes: it does not start with 0, 0, 8"),
        (idx(np.zeros((20, 28, 29), np.uint8)), "contains 20 x 28 x 29 values, not 20 images of 28 x 28 pixels"),
        (idx(np.zeros((20, 784), np.uint8)), "contains 20 x 784 values"),
    ],
)
def test_damaged_images_name_the_remedy(tmp_path, content, message):
    write(tmp_path / "mnist", pack=bytes, ending="")
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte {message}.*; delete it to download it again"):
        built("mnist", tmp_path).resolve()


@pytest.mark.parametrize("labels", [np.zeros(19, np.uint8), np.full(20, 10, np.uint8)])
def test_labels_of_wrong_length_are_refused(tmp_path, labels):
    write(tmp_path / "mnist", pack=bytes, ending="")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte does not contain 20 labels from 0 to 9"):
        built("mnist", tmp_path).resolve()


@pytest.mark.parametrize("cut", [slice(None, -20), slice(5, None)])
def test_a_damaged_packed_copy_is_refused(tmp_path, cut):
    write(tmp_path / "mnist")
    file = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[cut])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is damaged: it cannot be decompressed; delete it"):
        built("mnist", tmp_path).resolve()


@both
def test_spec_and_counts_need_no_files(name):
    data = catalog.build("data", name)
    assert (data.count("train"), data.count("held_out")) == (60_000, 10_000)
    assert data.spec.shape == (1, 32, 32)


@both
def test_unsupported_size_names_the_remedy(name):
    with pytest.raises(SettingError) as error:
        catalog.build("data", name, {"image_size": 28})
    assert str(error.value) == f"image_size = 28 is not supported by '{name}'; use 16, 32 or 64"
