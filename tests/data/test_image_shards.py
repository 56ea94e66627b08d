"""Images that are decoded while a model trains: the same from every kind of shard, exact positions, clear errors."""

import errno
import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from equipoise.core.data import DecodingStream
from equipoise.data._shards import folders as folders_module
from equipoise.data._shards import parquet_rows as parquet_module
from equipoise.data._shards import reader as reader_module
from equipoise.data._shards.index import ROW
from equipoise.data._shards.tar_members import read_members
from equipoise.data.image_shards import ImageShards
from equipoise.errors import DataError, MissingPackageError, SettingError
from equipoise.experiment.data_source import parse_data_source

COUNT, SHARDS, CLASSES = 48, 3, 3


def encode(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def png(number, side=16):
    return encode(np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8))


PICTURES = [png(number) for number in range(COUNT)]


def write_tar(path, members, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def numbers_of(shard):
    return range(shard * COUNT // SHARDS, (shard + 1) * COUNT // SHARDS)


def write_tars(folder, label=".cls"):
    def members(number):
        yield f"{number:05d}.png", PICTURES[number]
        value = number % CLASSES
        yield f"{number:05d}{label}", (json.dumps({"label": value}) if label == ".json" else str(value)).encode()

    for shard in range(SHARDS):
        write_tar(folder / f"set-{shard:04d}.tar", [each for number in numbers_of(shard) for each in members(number)])


def write_parquet(folder, column="image"):
    folder.mkdir(parents=True)
    for shard in range(SHARDS):
        images = [{"bytes": PICTURES[number], "path": None} for number in numbers_of(shard)]
        labels = [number % CLASSES for number in numbers_of(shard)]
        table = pa.table({column: images, "label": labels})
        pq.write_table(table, folder / f"part-{shard}.parquet", row_group_size=5)


def write_files(folder):
    for number, content in enumerate(PICTURES):
        path = folder / str(number % CLASSES) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def read(tmp_path):
    def create(name="", **options):
        return ImageShards(str(tmp_path / name), cache=str(tmp_path / "cache"), **options)

    return create


def notes(data):
    return [message.note for message in data.prepare() if message.note]


def contents(data):
    """Return the bytes and the label of every image of both splits, sorted."""
    result = []
    for split in ("train", "held_out"):
        batch = data.stream(split, data.count(split), 0).batch(0)
        labels = [None] * len(batch.real) if batch.condition is None else batch.condition.tolist()
        images = ((batch.real + 1) * 127.5).round().byte().numpy()
        result += [(image.tobytes(), label) for image, label in zip(images, labels, strict=True)]
    return sorted(result)


EXPECTED = sorted(
    (np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1).tobytes(), number % CLASSES)
    for number, content in enumerate(PICTURES)
)


@pytest.mark.parametrize("write", [write_tars, write_parquet, write_files])
def test_every_kind_of_shard_has_the_same_images_and_labels(tmp_path, read, write):
    write(tmp_path / "set")
    data = read("set").resolve()
    assert data.spec.shape == (3, 16, 16)
    assert data.spec.class_names == ("0", "1", "2")
    assert (data.count("train"), data.count("held_out")) == (43, 5)
    assert contents(data) == EXPECTED


@pytest.mark.parametrize("label", [".json", ".txt"])
def test_labels_come_from_json_and_not_from_texts(tmp_path, read, label):
    write_tars(tmp_path / "set", label)
    data = read("set").resolve()
    assert bool(data.spec.classes) == (label == ".json")
    assert any("48 .txt" in note for note in notes(data)) == (label == ".txt")
    assert [pixels for pixels, _ in contents(data)] == [pixels for pixels, _ in EXPECTED]


def test_labels_none_ignores_them(tmp_path, read):
    write_tars(tmp_path / "set")
    assert read("set", labels="none").resolve().spec.classes == 0


@pytest.mark.parametrize(
    "pattern", ["set/*.tar", "set/set-{0000..0002}.tar", "set/set-{0000,0001,0002}.tar", "s?t/set-000[0-2].tar"]
)
def test_patterns_name_shards(tmp_path, read, pattern):
    write_tars(tmp_path / "set")
    plug = parse_data_source(str(tmp_path / pattern))
    assert plug.name == "image_shards"
    assert contents(read(pattern).resolve()) == EXPECTED
    assert read(pattern).resolve().digest == read("set").resolve().digest


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_tarfile_reads(tmp_path, form):
    long = "x" * 90 + "/" + "é" * (10 if form == tarfile.USTAR_FORMAT else 60)
    write_tar(tmp_path / "a.tar", [("a.png", b"1" * 700), (long, b"22"), ("empty", b""), ("b/c.png", b"3" * 512)], form)
    with tarfile.open(tmp_path / "a.tar") as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive]
    assert list(read_members(tmp_path / "a.tar")) == expected


def test_index_is_written_once_and_is_small(tmp_path, read, monkeypatch):
    write_tars(tmp_path / "set")
    first = read("set").resolve()
    rows = next((tmp_path / "cache").rglob("rows.bin"))
    assert rows.stat().st_size == COUNT * ROW.itemsize == COUNT * 16
    monkeypatch.setattr("equipoise.data._shards.indexing._add_shards", lambda *_: pytest.fail("indexed again"))
    assert read("set").resolve() == first


def test_a_changed_shard_is_indexed_again(tmp_path, read):
    write_tars(tmp_path / "set")
    assert read("set").count("train") == 43
    write_tar(tmp_path / "set" / "set-0003.tar", [("a.png", png(99)), ("a.cls", b"1")])
    assert sum(read("set").count(split) for split in ("train", "held_out")) == COUNT + 1
    os.utime(tmp_path / "set" / "set-0000.tar", (1, 1))
    assert len(contents(read("set").resolve())) == COUNT + 1


def test_a_copy_elsewhere_has_the_same_digest(tmp_path, read):
    for name in ("a", "b"):
        write_files(tmp_path / name)
    assert read("a").resolve().digest == read("b").resolve().digest


def test_a_resumed_run_refuses_changed_shards(tmp_path, read):
    write_tars(tmp_path / "set")
    resolved = read("set").resolve()
    write_tar(tmp_path / "set" / "set-0001.tar", [("a.png", png(99)), ("a.cls", b"1"), ("b.png", png(98))])
    with pytest.raises(DataError, match=r"changed since this run started: 1 file was modified \(set-0001.tar\)"):
        resolved.resolve()


def test_batches_are_pure_and_shares_disjoint(tmp_path, read):
    write_tars(tmp_path / "set")
    stream = read("set").stream("train", 4, 7)
    assert isinstance(stream, DecodingStream)
    again = read("set").stream("train", 4, 7)
    every = [stream.batch(index) for index in range(10)]
    for index in (9, 0, 5):
        assert torch.equal(again.batch(index).real, every[index].real)
        assert torch.equal(again.batch(index).condition, every[index].condition)
    assert len({image.numpy().tobytes() for batch in every for image in batch.real}) == 40


def test_shards_called_valid_are_held_out_and_tests_are_not_used(tmp_path, read):
    for number, name in enumerate(("train-0", "train-1", "valid-0", "test-0")):
        write_tar(tmp_path / "set" / f"{name}.tar", [(f"{each}.png", png(10 * number + each)) for each in range(5)])
    data = read("set").resolve()
    assert (data.count("train"), data.count("held_out")) == (10, 5)
    assert any("1 shard of tests is never trained on: test-0.tar" in note for note in notes(data))
    held_out = data.stream("held_out", 5, 0).batch(0).real
    expected = {np.asarray(Image.open(io.BytesIO(png(20 + each)))).tobytes() for each in range(5)}
    images = ((held_out + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    assert {image.tobytes() for image in images} == expected


def test_folders_called_valid_are_held_out(tmp_path, read):
    for number, name in enumerate(("train", "valid", "test")):
        for each in range(4):
            path = tmp_path / "set" / name / str(each % 2) / f"{each}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(10 * number + each))
    data = read("set").resolve()
    assert (data.count("train"), data.count("held_out"), data.spec.class_names) == (4, 4, ("0", "1"))
    assert data.skipped() == {"4 files: images of tests, never trained on": "not used"}


SETS = ("train", "val", "test")


def split_members(prefix="", infix=""):
    """Ten images of two classes in each split."""
    for place, split in enumerate(SETS):
        for number in range(10):
            name = f"{prefix}{split}/{infix}{'cats' if number % 2 else 'dogs'}/{number}.png"
            yield name, png(100 * place + number)


@pytest.mark.parametrize("kind", ["tar", "shuffled tar", "files"])
@pytest.mark.parametrize(("prefix", "infix"), [("", ""), ("imagenet/", ""), ("/data/set/", ""), ("", "imagenet/")])
def test_folders_of_splits_are_found_at_any_depth(tmp_path, read, kind, prefix, infix):
    """As people pack them: folders above the splits, or between a split and its classes; also in any order."""
    members = list(split_members(prefix, infix))
    if kind == "files":
        for name, content in members:
            path = tmp_path / "set" / name.removeprefix("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    else:
        mixed = [member for start in range(7) for member in members[start::7]]
        write_tar(tmp_path / "set" / "a.tar", mixed if kind == "shuffled tar" else members[::-1])
    data = read("set").resolve()
    assert (data.count("train"), data.count("held_out"), data.spec.class_names) == (10, 10, ("cats", "dogs"))
    assert data.skipped() == {"10 files: images of tests, never trained on": "not used"}
    for place, split in enumerate(("train", "held_out")):
        batch = data.stream(split, 10, 0).batch(0)
        pairs = zip(((batch.real + 1) * 127.5).round().byte().numpy(), batch.condition.tolist(), strict=True)
        expected = {(decoded(100 * place + number), int(number % 2 == 0)) for number in range(10)}
        assert {(image.tobytes(), label) for image, label in pairs} == expected


def decoded(number):
    return np.asarray(Image.open(io.BytesIO(png(number)))).transpose(2, 0, 1).tobytes()


def test_a_class_called_train_is_no_split(tmp_path, read):
    members = [(f"vehicles/{name}/{number}.png", png(number)) for name in ("bus", "train") for number in range(9)]
    write_tar(tmp_path / "set" / "a.tar", members)
    data = read("set").resolve()
    assert data.spec.class_names == ("bus", "train")
    assert data.count("train") + data.count("held_out") == 18


def test_many_folders_below_a_split_keep_it(tmp_path, read, monkeypatch):
    monkeypatch.setattr(folders_module, "MAX_FOLDERS", 8)
    members = [(f"{split}/{number}/x.png", png(number)) for split in SETS for number in range(20)]
    write_tar(tmp_path / "set" / "a.tar", members)
    data = read("set").resolve()
    assert (data.count("train"), data.count("held_out"), data.spec.class_names) == (20, 20, ())


def test_links_in_a_tar_are_counted(tmp_path, read):
    write_tar(tmp_path / "set" / "a.tar", [(f"{number}.png", png(number)) for number in range(9)])
    with tarfile.open(tmp_path / "set" / "a.tar", "a") as archive:
        for name, kind in (("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "0.png"
            archive.addfile(info)
    (line,) = read("set").resolve().skipped()
    assert line == "2 files: links in a tar (pack it again with --dereference --hard-dereference)"


@pytest.mark.parametrize("mixed", [None, 1, 5])
def test_mixed_shards_sets_the_row_groups_in_memory(tmp_path, read, mixed):
    write_parquet(tmp_path / "set")
    data = read("set", mixed_shards=mixed).resolve()
    expected = "12 row groups are" if mixed is None else f"{mixed} row group{'s are' if mixed > 1 else ' is'}"
    assert f"{expected} read at a time and mixed (mixed_shards)" in notes(data)
    stream = data.stream("train", 8, 0)
    stream.batch(0)
    window = mixed or reader_module.default_window(data._open()[1])
    assert reader_module._groups(data._open()[1].folder, data._root(), window).most == (mixed or 12) + 1


def test_a_wrong_key_names_the_column(tmp_path, read):
    write_parquet(tmp_path / "set")
    with pytest.raises(DataError, match=r"part-0\.parquet has no column of images 'imge'; did you mean 'image'\?"):
        read("set", key="imge").resolve()


def test_a_shard_of_another_size_is_another_index(tmp_path, read):
    """Zeros at its end are no change of the images, but the reader compares sizes."""
    write_tars(tmp_path / "set")
    before = read("set").resolve()
    with (tmp_path / "set" / "set-0000.tar").open("ab") as file:
        file.write(bytes(10_240))
    data = read("set").resolve()
    assert data.digest != before.digest
    assert contents(data) == contents(read("set"))


@pytest.mark.parametrize("key", ["png", ".PNG"])
def test_keys_are_compared_without_case(tmp_path, read, key):
    write_tar(tmp_path / "set" / "a.tar", [(f"{number}.PNG", png(number)) for number in range(9)])
    data = read("set", key=key).resolve()
    assert data.count("train") + data.count("held_out") == 9
    with pytest.raises(DataError, match=r"contains no image that ends with \.jpg \(data\.key\): 9 \.png"):
        read("set", key="jpg").resolve()


def test_an_error_of_the_drive_ends_the_run_instead_of_changing_it(tmp_path, read, monkeypatch):
    write_tars(tmp_path / "set")
    stream = read("set").resolve().stream("train", 8, 0)

    def stale(*args):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(reader_module.os, "pread", stale)
        with pytest.raises(DataError, match=r"cannot be read: .*[Ss]tale.*; restore it, and resume the run"):
            stream.batch(0)
    assert not stream.damaged()


def test_abandoned_folders_are_removed(tmp_path, read):
    write_tars(tmp_path / "set")
    old, new = (tmp_path / "cache" / "shards" / f".indexing-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "rows.raw").write_bytes(b"")
    for path in (old / "rows.raw", old):
        os.utime(path, (0, 0))
    read("set").resolve()
    assert (old.exists(), new.exists()) == (False, True)


def test_a_damaged_image_is_replaced_and_named(tmp_path, read):
    members = [(f"{number}.png", PICTURES[number]) for number in range(20)]
    members[3] = ("3.png", PICTURES[3][:200])
    members[4] = ("4.png", b"no image")
    write_tar(tmp_path / "set" / "a.tar", members)
    data = read("set", held_out=0.0).resolve()
    batch = data.stream("train", 20, 0).batch(0)
    assert torch.equal(batch.real, data.stream("train", 20, 0).batch(0).real)
    assert len({image.numpy().tobytes() for image in batch.real}) == 18
    assert data.skipped() == {"a.tar/3.png": "damaged or truncated", "a.tar/4.png": "not an image in a known format"}
    assert any("2 images are known to be damaged" in note for note in notes(data))


def test_images_of_which_all_are_damaged_are_refused(tmp_path, read):
    write_tar(tmp_path / "set" / "a.tar", [(f"{number}.png", b"no image") for number in range(5)])
    with pytest.raises(DataError, match=r"no image of a sample of .* can be decoded"):
        read("set").resolve()


def test_images_without_a_label_are_counted(tmp_path, read):
    members = [
        each
        for number in range(9)
        for each in ((f"{number}.png", png(number)), (f"{number}.cls", b"%d" % (number % 2)))
    ]
    write_tar(tmp_path / "set" / "a.tar", [*members, ("x.png", png(50))])
    data = read("set").resolve()
    assert data.count("train") + data.count("held_out") == 9
    assert any("1 image has no label" in note for note in notes(data))


def test_key_chooses_among_the_images_of_a_sample(tmp_path, read):
    members = [
        (f"{number}.{kind}.png", png(100 * place + number)) for number in range(6) for place, kind in enumerate("ab")
    ]
    write_tar(tmp_path / "set" / "a.tar", members)
    chosen = {key: read("set", key=key).resolve() for key in ("a.png", "b.png")}
    assert contents(chosen["a.png"]) != contents(chosen["b.png"])
    assert contents(read("set").resolve()) == contents(chosen["a.png"])
    assert any("6 further images of samples, which have the same name" in note for note in notes(read("set")))


def test_grey_images_have_one_channel_and_transparent_ones_four(tmp_path, read):
    grey = [encode(np.full((16, 16), 10 * number, np.uint8)) for number in range(9)]
    write_tar(tmp_path / "grey.tar", [(f"{number}.png", content) for number, content in enumerate(grey)])
    assert read("grey.tar").spec.shape == (1, 16, 16)
    clear = np.zeros((16, 16, 4), np.uint8)
    write_tar(tmp_path / "clear.tar", [(f"{number}.png", encode(clear)) for number in range(9)])
    data = read("clear.tar", alpha="keep").resolve()
    assert data.stream("train", 2, 0).batch(0).real.shape == (2, 4, 16, 16)
    with pytest.raises(DataError, match=r"none of 9 images of .* is transparent; omit data.alpha=keep"):
        read("grey.tar", alpha="keep").resolve()


def test_numbered_folders_are_no_classes(tmp_path, read):
    for number in range(8):
        path = tmp_path / "set" / f"{number % 2:05d}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    assert read("set").spec.classes == 0


def write_text(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")


def test_bad_locations_are_refused_in_one_line(tmp_path, read):
    write_text(tmp_path / "texts")
    (tmp_path / "empty").mkdir()
    write_tar(tmp_path / "labels" / "a.tar", [("a.cls", b"1")])
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.tar.gz").write_bytes(b"")
    cases = {
        "nowhere": "there is no folder or file",
        "no/*.tar": r"no file matches .*no/\*.tar; check the pattern",
        "labels/{a,b}.tar": "names files that do not exist: .*b.tar",
        "empty": "contains no shard .* and no image",
        "texts": "contains no shard .* and no image: 1 .txt",
        "labels": "contains no image: 1 .cls",
        "packed": "no image: 1 .tar.gz",
        "packed/*.tar.gz": "cannot be read at any position: unpack it",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as error:
            read(name).resolve()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("size", "message"), [(9000, "is truncated"), (300, "is truncated"), (0, "is truncated")])
def test_a_truncated_tar_is_refused(tmp_path, read, size, message):
    write_tars(tmp_path / "set")
    path = tmp_path / "set" / "set-0001.tar"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=f"set-0001.tar {message}; copy or pack it again"):
        read("set").resolve()


def test_a_damaged_tar_is_refused(tmp_path, read):
    write_tars(tmp_path / "set")
    path = tmp_path / "set" / "set-0001.tar"
    content = bytearray(path.read_bytes())
    content[10] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"set-0001.tar is no tar file; copy or pack it again"):
        read("set").resolve()


def test_parquet_without_images_or_labels_is_refused(tmp_path, read):
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "set" / "a.parquet")
    with pytest.raises(DataError, match="has no column of images: label"):
        read("set").resolve()
    write_parquet(tmp_path / "other")
    with pytest.raises(DataError, match="has no column 'lable'; did you mean 'label'"):
        read("other", label_column="lable").resolve()
    (tmp_path / "other" / "part-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"part-0.parquet is damaged, or no Parquet file"):
        read("other").resolve()


def test_missing_pyarrow_names_the_extra(tmp_path, read, monkeypatch):
    write_parquet(tmp_path / "set")
    monkeypatch.setattr(parquet_module, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'equipoise\[parquet\]'"):
        read("set").resolve()


@pytest.mark.parametrize("write", [write_tars, write_parquet])
def test_a_shard_that_vanishes_or_changes_during_a_run_ends_it(tmp_path, read, write):
    write(tmp_path / "set")
    stream = read("set").stream("train", 43, 0)
    path = sorted((tmp_path / "set").iterdir())[1]
    content = path.read_bytes()
    reader_module._groups.cache_clear()  # row groups that are in memory are not read again
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is no longer there; restore it, and resume the run"):
        stream.batch(0)
    path.write_bytes(content + b"1")
    with pytest.raises(DataError, match=f"{path.name} changed while it was read"):
        stream.batch(1)
    path.write_bytes(content)
    assert len(stream.batch(0)) == 43


def test_mixed_shards_must_be_positive(read):
    with pytest.raises(SettingError, match="mixed_shards = 0: it must be at least 1"):
        read("set", mixed_shards=0)


def test_kinds_are_not_mixed(tmp_path, read):
    write_tars(tmp_path / "set")
    (tmp_path / "set" / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"has both .parquet and .tar files; name one kind: \*.parquet or \*.tar"):
        read("set").resolve()
