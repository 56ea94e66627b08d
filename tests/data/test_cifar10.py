"""CIFAR-10: the binary version, packed or unpacked, and damaged or missing files."""

import io
import re
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.data import cifar10
from equipoise.errors import DataError, SettingError

NAMES = [name for names in cifar10.FILES.values() for name in names]


def contents(each=10):
    """Write six files of noise with cyclic labels."""
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (len(NAMES), each, 3073), dtype=np.uint8)
    rows[:, :, 0] = np.arange(each) % 10
    return {name: part.tobytes() for name, part in zip(NAMES, rows, strict=True)}


def write_folder(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def built(root, **options):
    return catalog.build("data", "cifar10", {"root": str(root), "published": False, **options})


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("subfolder", ["", "cifar10"])
@pytest.mark.parametrize("packed", [True, False])
def test_pixels_equal_the_files(tmp_path, split, subfolder, packed):
    files = contents()
    if packed:
        write_archive(tmp_path / subfolder / "cifar-10-binary.tar.gz", files)
    else:
        write_folder(tmp_path / subfolder / "cifar-10-batches-bin", files)
    data = built(tmp_path)
    count = data.count(split)
    assert count == {"train": 50, "held_out": 10}[split]
    batch = data.stream(split, count, 0).batch(0)
    rows = b"".join(files[name] for name in cifar10.FILES[split])
    expected = {rows[start + 1 : start + 3073]: rows[start] for start in range(0, len(rows), 3073)}
    pixels = ((batch.real + 1) * 127.5).round().byte().numpy()
    # Byte 0 of a record is its label, byte 1 + 1024 c + 32 y + x the pixel in column x of row y in channel c.
    result = {
        bytes(int(image[c, y, x]) for c in range(3) for y in range(32) for x in range(32)): int(label)
        for image, label in zip(pixels, batch.condition, strict=True)
    }
    assert result == expected


def test_missing_data_offline_names_the_remedy(tmp_path, monkeypatch, capsys):
    def unreachable(url, timeout):
        raise urllib.error.URLError(TimeoutError("timed out"))

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.chdir(tmp_path)
    assert cli.run(["train", "cifar10"]) == 2
    assert capsys.readouterr().err == (
        "equipoise: cannot download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz: timed out; put "
        f"cifar-10-binary.tar.gz into {tmp_path}/data/cifar10 yourself\n"
    )


def test_pickled_version_is_ignored(tmp_path, monkeypatch):
    urls = []

    def unreachable(url, timeout):
        urls.append(url)
        raise urllib.error.URLError(TimeoutError("timed out"))

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="cannot download"):
        built(tmp_path).resolve()
    assert urls == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]


def test_archive_with_wrong_digest_is_refused(tmp_path):
    write_archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", contents())
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is damaged, or is another file: its MD5 is"):
        built(tmp_path, published=True).resolve()


def test_unpacked_files_of_wrong_length_are_refused(tmp_path):
    write_folder(tmp_path / "cifar-10-batches-bin", contents())
    with pytest.raises(DataError, match=r"data_batch_1\.bin of .* contains 10 images, not 10,000; delete it"):
        built(tmp_path, published=True).resolve()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated: 0 bytes are not a multiple of 3,073"),
        (bytes(3073 * 2 - 1), "is truncated: 6,145 bytes are not a multiple of 3,073"),
        (b"\x0a" + bytes(3072), "is not CIFAR-10: it has labels above 9"),
    ],
)
def test_damaged_files_name_the_remedy(content, message):
    with pytest.raises(DataError, match=re.escape(f"test_batch.bin {message}; delete it to download it again")):
        cifar10.parse_records("test_batch.bin", content)


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, contents())
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is damaged: it cannot be unpacked; delete it"):
        built(tmp_path).resolve()
    write_archive(path, {name: content for name, content in contents().items() if name != "data_batch_4.bin"})
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz lacks data_batch_4\.bin"):
        built(tmp_path).resolve()


def test_spec_and_counts_need_no_files():
    data = catalog.build("data", "cifar10")
    assert (data.count("train"), data.count("held_out")) == (50_000, 10_000)
    assert data.spec.class_names[3] == "cat"
    with pytest.raises(SettingError, match="image_size = 64 is not supported by 'cifar10'; use 16 or 32"):
        catalog.build("data", "cifar10", {"image_size": 64})
