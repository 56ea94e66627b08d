"""Images in archives, arrays and Parquet files: read in place, with the same result as from a folder."""

import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from equipoise.core import files
from equipoise.data._files import archives as archives_module
from equipoise.data._images import formats as formats_module
from equipoise.data._images import sources as sources_module
from equipoise.data.image_folder import ImageFolder
from equipoise.errors import DataError, MissingPackageError
from equipoise.experiment.data_source import parse_data_source

COUNT = 24


def png(number, side=16):
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


PICTURES = [png(number) for number in range(COUNT)]


@pytest.fixture
def read(tmp_path):
    """Create the data set of a file or folder, with a cache in the temporary directory."""

    def create(name, **options):
        plug = parse_data_source(str(tmp_path / name))
        assert plug.name == "image_folder"
        return ImageFolder(plug.options["folder"], cache=str(tmp_path / "cache"), **options)

    return create


def notes(data):
    return [message.note for message in data.prepare() if message.note]


def pixels(data):
    """Return the images of both splits as bytes, sorted."""
    batches = [data.stream(split, data.count(split), 0).batch(0).real for split in ("train", "held_out")]
    return sorted(((image + 1) * 127.5).round().byte().numpy().tobytes() for batch in batches for image in batch)


EXPECTED = sorted(np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1).tobytes() for content in PICTURES)


def label_counts(data):
    """Return the number of images per class name in each split."""
    names, result = data.spec.class_names, {}
    for split in ("train", "held_out"):
        labels = data.stream(split, data.count(split), 0).batch(0).condition
        result[split] = {name: int((labels == number).sum()) for number, name in enumerate(names)}
    return result


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(path, members):
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def by_class(start=""):
    return {f"{start}{'cat' if n % 3 else 'dog'}/{n}.png": content for n, content in enumerate(PICTURES)}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_archives_are_read_in_place(tmp_path, read, name, monkeypatch):
    write = write_zip if name.endswith(".zip") else write_tar
    write(tmp_path / name, by_class("photos/") | {"photos/notes.txt": b"x", "__MACOSX/photos/cat/._1.png": b"x"})
    data = read(name).resolve()
    assert pixels(data) == EXPECTED
    assert data.classes == ("cat", "dog")
    assert "1 file was left out: 1 .txt (not an image)" in notes(read(name))
    assert data.skipped() == {"photos/notes.txt": "not an image"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "cache"]
    monkeypatch.setattr(sources_module, "select_images", lambda source: pytest.fail("the archive is opened again"))
    assert data.stream("train", 4, 0).batch(0).real.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hostile_members_are_left_out(tmp_path, read, kind):
    hostile = {"../../up.png": PICTURES[0], "/root.png": PICTURES[1], "a/../../b.png": PICTURES[2]}
    write = write_zip if kind == "zip" else write_tar
    write(tmp_path / f"a.{kind}", by_class() | hostile)
    assert "3 files were left out: 3 .png (its path leads out of the archive)" in notes(read(f"a.{kind}"))
    assert pixels(read(f"a.{kind}")) == EXPECTED
    assert not list(tmp_path.parent.glob("up.png"))


def test_links_in_a_tar_are_left_out(tmp_path, read):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in by_class().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert read("a.tar").resolve().skipped() == {"cat/link.png": "a link, a device or a sparse file"}


def test_large_and_damaged_members_are_left_out(tmp_path, read, monkeypatch):
    write_zip(tmp_path / "a.zip", by_class() | {"cat/bomb.png": PICTURES[0] + b"\0" * 5000})
    monkeypatch.setattr(archives_module, "MAX_MEMBER", 4000)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    place = content.index(PICTURES[5]) + 100
    content[place : place + 50] = bytes(50)
    (tmp_path / "a.zip").write_bytes(content)
    assert read("a.zip").resolve().skipped() == {
        "cat/bomb.png": archives_module.TOO_LARGE,
        "cat/5.png": "damaged in the archive",
    }


def test_encrypted_archive_is_refused_in_one_line(tmp_path, read):
    write_zip(tmp_path / "a.zip", by_class())
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(start)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(start, place + 4)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip is encrypted; unpack it with its password, and give the folder$"):
        read("a.zip").resolve()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.npy", "a.npz", "a.parquet"])
@pytest.mark.parametrize("damage", ["garbage", "empty", "half"])
def test_damaged_files_are_refused_in_one_line(tmp_path, read, name, damage):
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, np.zeros((30, 16, 16), np.uint8))
    elif name.endswith(".npz"):
        np.savez(path, images=np.zeros((30, 16, 16), np.uint8))
    elif name.endswith(".parquet"):
        pq.write_table(pa.table({"image": PICTURES}), path)
    else:
        (write_zip if name.endswith("zip") else write_tar)(path, by_class())
    content = path.read_bytes()
    path.write_bytes({"garbage": b"\x01garbage" * 99, "empty": b"", "half": content[: len(content) // 2]}[damage])
    with pytest.raises(DataError) as error:
        read(name).resolve()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_archive_without_images_is_refused(tmp_path, read):
    write_zip(tmp_path / "a.zip", {"a.txt": b"x", "b.mp4": b"x"})
    with pytest.raises(
        DataError, match=r"a.zip contains no image: 2 files were left out: 1 .txt \(not an image\), 1 .mp4"
    ):
        read("a.zip").resolve()


def shard(start, count, **labels):
    result = {}
    for number in range(start, start + count):
        result[f"{number:06d}.png"] = PICTURES[number]
        result |= {f"{number:06d}.{suffix}": value(number).encode() for suffix, value in labels.items()}
    return result


def test_web_dataset_shards_have_labels(tmp_path, read):
    (tmp_path / "shards").mkdir()
    labels = {"cls": lambda n: str(n % 3), "txt": lambda n: f"a caption, {n}", "json": lambda n: json.dumps({"id": n})}
    write_tar(tmp_path / "shards" / "part-000000.tar", shard(0, 12, **labels))
    write_tar(tmp_path / "shards" / "part-000001.tar", shard(12, 12, **labels))
    data = read("shards").resolve()
    assert pixels(data) == EXPECTED
    assert data.classes == ("0", "1", "2")
    assert ".txt files next to images: not used for labels (they hold no labels)" in notes(read("shards"))
    (tmp_path / "shards" / "part-000001.tar").rename(tmp_path / "one.tar")
    assert read("one.tar").resolve().classes == ("0", "1", "2")


def test_splits_and_labels_of_shards(tmp_path, read):
    (tmp_path / "shards").mkdir()
    for name, start in (("train-0000", 0), ("val-0000", 12), ("test-0000", 18)):
        label = {"json": lambda n: json.dumps({"label": "rose" if n % 2 else "iris"})}
        write_tar(tmp_path / "shards" / f"{name}.tar", shard(start, 12 if name.startswith("train") else 6, **label))
    data = read("shards").resolve()
    assert label_counts(data) == {"train": {"iris": 6, "rose": 6}, "held_out": {"iris": 3, "rose": 3}}
    assert set(data.skipped().values()) == {"test images: never trained on"}


ARRAYS = {
    "grey": (COUNT, 16, 16),
    "colour": (COUNT, 16, 16, 3),
    "first": (COUNT, 3, 16, 16),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_bytes(tmp_path, read, kind, suffix):
    values = np.random.default_rng(0).integers(0, 256, ARRAYS[kind], np.uint8)
    if suffix == "npy":
        np.save(tmp_path / "a.npy", values)
    else:
        np.savez(tmp_path / "a.npz", values)
    data = read(f"a.{suffix}").resolve()
    expected = values.transpose(0, 3, 1, 2) if kind == "colour" else values.reshape(COUNT, -1, 16, 16)
    assert data.spec.shape == expected.shape[1:]
    assert data.spec.unit is None
    assert pixels(data) == sorted(image.tobytes() for image in expected)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (900.0, 1500.0)])
def test_arrays_of_fractions_keep_their_unit(tmp_path, read, low, high):
    values = np.random.default_rng(0).uniform(low, high, (COUNT, 16, 16)).astype(np.float32)
    values[0, 0, :2] = low, high
    np.save(tmp_path / "a.npy", values)
    data = read("a.npy").resolve()
    assert data.spec.unit == pytest.approx((low, high))
    batches = [data.stream(split, data.count(split), 0).batch(0).real for split in ("train", "held_out")]
    result = np.concatenate([batch.numpy() for batch in batches]).ravel()
    assert np.sort((result + 1) / 2 * (high - low) + low) == pytest.approx(
        np.sort(values.ravel()), abs=(high - low) * 1e-5
    )


def test_splits_and_labels_of_medmnist(tmp_path, read):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 30), ("val", 12), ("test", 9)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count).reshape(-1, 1) % 3
    np.savez(tmp_path / "a.npz", **arrays)
    data = read("a.npz").resolve()
    assert label_counts(data) == {"train": dict.fromkeys("012", 10), "held_out": dict.fromkeys("012", 4)}
    messages = notes(read("a.npz"))
    assert messages[0] == "images: train_images 30 x 28 x 28, val_images 12 x 28 x 28, test_images 9 x 28 x 28"
    assert any("9 test images are never trained on" in note and "data.split=test" in note for note in messages)
    assert (read("a.npz", split="test", held_out=0.0).count("train"), read("a.npz", split="all").count("train")) == (
        9,
        46,
    )


def test_labels_of_arrays_may_be_text_or_one_hot(tmp_path, read):
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16), np.uint8)
    np.savez(tmp_path / "text.npz", x=images, y=np.array(["rose", "iris"] * 12))
    np.savez(tmp_path / "hot.npz", x=images, y=np.eye(3)[np.arange(COUNT) % 3])
    np.savez(tmp_path / "many.npz", x=images, y=np.ones((COUNT, 14)))
    assert read("text.npz").resolve().classes == ("iris", "rose")
    assert read("hot.npz").resolve().classes == ("0", "1", "2")
    assert read("many.npz").resolve().classes == ()
    assert any("y: not used for labels" in note for note in notes(read("many.npz")))


def test_array_of_images_is_chosen_by_key(tmp_path, read):
    first, second = np.random.default_rng(0).integers(0, 256, (2, COUNT, 16, 16), np.uint8)
    np.savez(tmp_path / "a.npz", before=first, after=second)
    with pytest.raises(
        DataError, match=r"several arrays that may be images: before 24 x 16 x 16, after .* data.key=before"
    ):
        read("a.npz").resolve()
    with pytest.raises(DataError, match=r"has no array 'aftr'; did you mean 'after'"):
        read("a.npz", key="aftr").resolve()
    assert pixels(read("a.npz", key="after")) == sorted(image.tobytes() for image in second[:, None])


def test_python_objects_are_never_loaded(tmp_path, read):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(tmp_path / "a.npy", np.array([Bomb()] * 20), allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=np.array([Bomb()] * 20))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError):
            read(name).resolve()
    assert not (tmp_path / "executed").exists()


def test_folders_of_arrays(tmp_path, read):
    """One image in each file; or arrays of images and labels as files."""
    values = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16), np.uint8)
    for folder in ("tiles", "set"):
        (tmp_path / folder).mkdir()
    for number, value in enumerate(values):
        np.savez(tmp_path / "tiles" / f"{number}.npz", height=value)
    np.save(tmp_path / "set" / "X_train.npy", values[:16])
    np.save(tmp_path / "set" / "y_train.npy", np.arange(16) % 2)
    np.save(tmp_path / "set" / "X_test.npy", values[16:])
    assert pixels(read("tiles")) == sorted(value.tobytes() for value in values)
    (tmp_path / "few").mkdir()
    for number, value in enumerate([*values, *values[:1]]):
        np.save(tmp_path / "few" / f"{number}.npy", value)
    (tmp_path / "few" / "24.npy").write_bytes(b"damaged")
    assert read("few").resolve().skipped().keys() == {"24.npy"}
    data = read("set").resolve()
    assert pixels(data) == sorted(value.tobytes() for value in values[:16])
    assert data.classes == ("0", "1")


def hugging_face(start, count):
    description = {"info": {"features": {"label": {"names": ["rose", "iris"], "_type": "ClassLabel"}}}}
    images = [{"bytes": PICTURES[number], "path": f"{number}.png"} for number in range(start, start + count)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": [number % 2 for number in range(count)]})
    return table.replace_schema_metadata({"huggingface": json.dumps(description)})


def test_parquet_of_hugging_face(tmp_path, read):
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "README.md").write_text("")
    (tmp_path / "set" / "preview.png").write_bytes(PICTURES[0])
    for name, start, count in (("train-00000-of-00002", 0, 8), ("train-00001-of-00002", 8, 8), ("test-00000", 16, 8)):
        pq.write_table(hugging_face(start, count), tmp_path / "set" / "data" / f"{name}.parquet", row_group_size=3)
    data = read("set", held_out=0.25).resolve()
    assert (data.classes, data.count("train"), data.count("held_out")) == (("iris", "rose"), 12, 4)
    assert {"README.md": "not an image", "preview.png": "next to Parquet files"}.items() <= data.skipped().items()
    one = read("set/data/train-00000-of-00002.parquet").resolve()
    assert pixels(one) == sorted(
        np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1).tobytes() for content in PICTURES[:8]
    )


def test_parquet_of_bytes_and_lists(tmp_path, read):
    values = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16), np.uint8)
    pq.write_table(pa.table({"pic": PICTURES, "kind": ["a", "b"] * 12}), tmp_path / "bytes.parquet")
    pq.write_table(pa.table({"image": values.tolist()}), tmp_path / "lists.parquet")
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "none.parquet")
    assert read("bytes.parquet").resolve().classes == ("a", "b")
    assert pixels(read("lists.parquet")) == sorted(value.tobytes() for value in values)
    with pytest.raises(DataError, match=r"none.parquet has no column of images: a, b; it must hold the bytes"):
        read("none.parquet").resolve()


def test_parquet_needs_its_package(tmp_path, read, monkeypatch):
    pq.write_table(hugging_face(0, 8), tmp_path / "a.parquet")
    monkeypatch.setattr("equipoise.data._files.parquet.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'equipoise\[parquet\]'"):
        read("a.parquet").resolve()


def make(path, kind):
    if kind == "npz":
        np.savez(path, images=np.random.default_rng(1).integers(0, 256, (COUNT, 16, 16), np.uint8))
    elif kind == "parquet":
        pq.write_table(hugging_face(0, COUNT), path)
    else:
        (write_zip if kind == "zip" else write_tar)(path, by_class())


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "npz", "parquet"])
def test_second_start_decodes_nothing_and_changes_are_noticed(tmp_path, read, kind):
    path = tmp_path / f"a.{kind}"
    make(path, kind)
    data = read(path.name).resolve()
    assert [message for message in read(path.name).prepare() if not message.note] == []
    assert [message for message in data.prepare() if not message.note] == []
    before = data.stream("train", 8, 3).batch(5).real
    path.rename(tmp_path / "moved")
    assert bool((data.stream("train", 8, 3).batch(5).real == before).all())
    if kind == "npz":
        np.savez(path, images=np.zeros((COUNT, 16, 16), np.uint8) + np.arange(COUNT, dtype=np.uint8)[:, None, None])
    elif kind == "parquet":
        pq.write_table(hugging_face(0, COUNT - 1), path)
    else:
        (write_zip if kind == "zip" else write_tar)(path, dict(list(by_class().items())[:-1]))
    with pytest.raises(DataError, match=r"changed since this run started"):
        list(data.prepare())


def test_extensions_agree_with_the_decoders():
    assert set(files.IMAGE_ENDINGS) | set(files.ARRAY_ENDINGS) == set(formats_module.ENDINGS)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *((path, True) for path in (".DS_Store", "a/._b.jpg", "__MACOSX/a.png", "x/@eaDir/a.jpg", "a/Thumbs.db")),
        *((path, True) for path in ("desktop.ini", ".ipynb_checkpoints/a.png", "$RECYCLE.BIN/a.png")),
        *((path, False) for path in ("a.png", "thumbs/a.png", "a.b/c.png", "Desktop/a.png")),
    ],
)
def test_what_systems_leave_behind(path, expected):
    assert files.is_junk(path) == expected


def smooth(count, side=16):
    """Return different images with few details: (count, side, side, 3) uint8."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 3, 3, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((side, side))) for each in small])


@pytest.mark.parametrize("order", ["grey", "planar", "interleaved"])
@pytest.mark.parametrize("kind", ["npy", "npz", "floats"])
def test_images_as_rows_of_numbers(tmp_path, read, order, kind):
    images = smooth(COUNT)
    rows = {"grey": images[..., :1], "planar": images.transpose(0, 3, 1, 2), "interleaved": images}[order]
    rows = rows.reshape(COUNT, -1)
    if kind == "npy":
        np.save(tmp_path / "a.npy", rows)
    elif kind == "npz":
        np.savez(tmp_path / "a.npz", data=rows, labels=np.arange(COUNT) % 2)
    else:
        np.savez(tmp_path / "a.npz", x_train=(rows / 255).astype(np.float32), y_train=np.arange(COUNT) % 2)
    data = read("a.npy" if kind == "npy" else "a.npz").resolve()
    assert data.classes == (() if kind == "npy" else ("0", "1"))
    assert kind != "npy" or any("values is read as an image of" in note for note in notes(read("a.npy")))
    array = data._open()[1].cached.array
    actual = array if kind != "floats" else ((array + 1) * 127.5).round().byte()
    expected = np.repeat(images[..., :1], 3, axis=3) if order == "grey" else images
    assert np.array_equal(actual.numpy(), expected.transpose(0, 3, 1, 2))


def test_large_pictures_are_no_rows_of_small_images(tmp_path, read):
    np.save(tmp_path / "a.npy", smooth(1, 256)[0, :, :, 0])
    assert parse_data_source(str(tmp_path / "a.npy")).name == "image_folder"
    with pytest.raises(DataError, match=r"has the shape \(256, 256\); images are"):
        read("a.npy").resolve()
    np.save(tmp_path / "b.npy", (np.arange(4000) % 256).astype(np.uint8).reshape(250, 16))
    assert parse_data_source(str(tmp_path / "b.npy")).name == "csv_windows"


def test_parts_and_classes_of_arrays(tmp_path, read):
    """Numbered files are parts, with the labels of their number; files of other names are classes."""
    images = smooth(COUNT)
    for folder in ("parts", "classes", "shards", "flat"):
        (tmp_path / folder).mkdir()
    for part in range(3):
        rows = slice(part * 8, part * 8 + 8)
        np.save(tmp_path / "parts" / f"batch_{part}.npy", images[rows])
        np.save(tmp_path / "parts" / f"labels_{part}.npy", np.arange(8) // (part + 1) % 2)
        np.save(tmp_path / "classes" / f"{'abc'[part]}.npy", images[rows])
        np.save(tmp_path / "flat" / f"{'abc'[part]}.npy", images[rows, :, :, 0].reshape(8, -1))
        np.savez(tmp_path / "shards" / f"{part}.npz", images=images[rows], labels=np.arange(8) // (part + 1) % 2)
    expected = sorted(image.transpose(2, 0, 1).tobytes() for image in images)
    labels = [str(row // (part + 1) % 2) for part in range(3) for row in range(8)]
    for folder in ("parts", "shards"):
        data = read(folder).resolve()
        assert pixels(data) == expected
        assert [data._open()[1].label(row) for row in range(COUNT)] == labels
    assert pixels(read("classes").resolve()) == expected
    assert read("classes").resolve().classes == read("flat").resolve().classes == ("a", "b", "c")


def test_class_names_of_arrays(tmp_path, read):
    names, numbers = np.array(["cat", "dog"]), np.arange(COUNT) % 2
    np.savez(tmp_path / "a.npz", images=smooth(COUNT), labels=numbers, class_names=names)
    assert read("a.npz").resolve().classes == ("cat", "dog")
    np.savez(tmp_path / "b.npz", images=smooth(COUNT), labels=names.astype(object)[numbers])
    assert any("labels: Python objects, which are never loaded" in note for note in notes(read("b.npz")))


@pytest.mark.parametrize(("name", "kind"), [("a.tar", "zip"), ("a.zip", "gz"), ("a.zip", "")])
def test_first_bytes_decide_the_kind_of_an_archive(tmp_path, read, name, kind):
    if kind == "zip":
        write_zip(tmp_path / name, by_class())
    else:
        write_tar(tmp_path / f"b.tar{'.gz' * bool(kind)}", by_class())
        next(tmp_path.glob("b.tar*")).rename(tmp_path / name)
    assert pixels(read(name).resolve()) == EXPECTED


def test_second_names_of_files_in_a_tar_are_read(tmp_path, read):
    write_tar(tmp_path / "a.tar", by_class())
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        link = tarfile.TarInfo("cat/again.png")
        link.type, link.linkname = tarfile.LNKTYPE, "dog/0.png"
        archive.addfile(link)
    result = pixels(read("a.tar").resolve())
    assert len(result) == COUNT + 1
    assert set(result) == set(EXPECTED)


def test_archives_in_archives(tmp_path, read):
    write_zip(tmp_path / "inner.zip", by_class())
    write_zip(tmp_path / "a.zip", {"inner.zip": (tmp_path / "inner.zip").read_bytes()})
    with pytest.raises(DataError, match=r"1 \.zip \(inside of an archive: unpack it, and give its path\)"):
        read("a.zip").resolve()
    content = io.BytesIO()
    np.save(content, smooth(COUNT))
    write_zip(tmp_path / "b.zip", {"images.npy": content.getvalue()})
    assert len(pixels(read("b.zip").resolve())) == COUNT


def test_parquet_of_lists_of_images_and_labels(tmp_path, read):
    for name, images in (("a", [[each] for each in PICTURES]), ("b", [[{"bytes": each}] for each in PICTURES])):
        table = pa.table({"images": images, "label": [[number % 2] for number in range(COUNT)]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        data = read(f"{name}.parquet").resolve()
        assert pixels(data) == EXPECTED
        assert data.classes == ("0", "1")
    pq.write_table(
        pa.table({"image": PICTURES, "label": [number % 2.0 for number in range(COUNT)]}), tmp_path / "c.parquet"
    )
    assert read("c.parquet").resolve().classes == ("0", "1")


@pytest.mark.parametrize("form", ["text", "structure"])
def test_parquet_of_paths_is_read_for_labels(tmp_path, read, form):
    (tmp_path / "in").mkdir()
    for number, content in enumerate(PICTURES):
        (tmp_path / "in" / f"{number}.png").write_bytes(content)
    names = [f"images/{number}.png" for number in range(COUNT)]
    column = names if form == "text" else [{"bytes": None, "path": name} for name in names]
    table = pa.table({"image": column, "label": ["ab"[number % 2] for number in range(COUNT)]})
    pq.write_table(table, tmp_path / "in" / "train.parquet")
    data = read("in").resolve()
    assert data.classes == ("a", "b")
    assert data.skipped() == {}
    if form == "text":
        with pytest.raises(DataError, match="the column image holds paths of images, not images; give the folder"):
            read("in/train.parquet").resolve()


def test_broken_links_are_reported(tmp_path, read):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        DataError, match=r"contains no image: 1 file was left out: 1 .png \(a link that leads to no file\)"
    ):
        read("in").resolve()
    for number, content in enumerate(PICTURES):
        (tmp_path / "in" / f"{number}.png").write_bytes(content)
    assert pixels(read("in").resolve()) == EXPECTED
    assert read("in").resolve().skipped() == {"lost.png": "a link that leads to no file"}
