"""Folders with two sides: pairs side by side or by name, unpaired sets, and refused folders."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.data import PairedBatch, UnpairedBatch
from equipoise.data._arrays import batch_indices
from equipoise.data._images.formats import ORIENTATION
from equipoise.data._splits import connected_groups
from equipoise.data.openmoji import OpenMoji
from equipoise.data.paired_folder import PairedFolder
from equipoise.data.unpaired_folders import UnpairedFolders
from equipoise.errors import DataError, SettingError

COUNT = 30


def grey(level, size=(16, 16)):
    """Return an image of one grey level."""
    return Image.new("L", size, level)


def coloured(level, size=(16, 16)):
    """Return an image of one colour that is not grey."""
    return Image.new("RGB", size, (level, 255 - level, 100))


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_subfolders(folder, count=COUNT, names=("in", "out")):
    """Write pairs whose two images have the same level: grey inputs, colour samples."""
    for number in range(count):
        save(grey(8 * number), folder / names[0] / f"{number:02}.png")
        save(coloured(8 * number), folder / names[1] / f"{number:02}.png")


def write_halves(folder, count=COUNT):
    """Write the same pairs side by side."""
    for number in range(count):
        image = Image.new("RGB", (32, 16))
        image.paste(grey(8 * number).convert("RGB"), (0, 0))
        image.paste(coloured(8 * number), (16, 0))
        save(image, folder / f"{number:02}.png")


@pytest.fixture
def paired(tmp_path):
    def create(**options):
        return PairedFolder(str(tmp_path / "data"), cache=str(tmp_path / "cache"), **options)

    return create


@pytest.fixture
def unpaired(tmp_path):
    def create(**options):
        return UnpairedFolders(str(tmp_path / "data"), cache=str(tmp_path / "cache"), **options)

    return create


def levels(images):
    """Return the level with which each image was written."""
    return ((images[:, 0, 0, 0] + 1) * 127.5).round().long()


def notes(data):
    return [message.note for message in data.prepare() if message.note]


TRAIN = [(number, "train") for number in range(6)]
TEST = [(number, "test") for number in (6, 7)]
SPLIT_LAYOUTS = {
    "train/in/{0}.png": "train/out/{0}.png",
    "in/train/{0}.png": "out/train/{0}.png",
    "set/trainA/{0}.png": "set/trainB/{0}.png",
    "train_input/{0}.png": "train_target/{0}.png",
}


def is_trained(data, split):
    """Return the numbers of the pairs of a split."""
    return sorted((levels(data.stream(split, data.count(split), 0).batch(0).source) // 8).tolist())


@pytest.mark.parametrize(("sources", "targets"), SPLIT_LAYOUTS.items())
def test_images_of_other_splits_are_never_trained_on(tmp_path, paired, sources, targets):
    for number, split in TRAIN + TEST:
        for pattern, image in ((sources, grey(8 * number)), (targets, coloured(8 * number))):
            save(image, tmp_path / "data" / pattern.replace("train", split).format(number))
    assert is_trained(paired(), "train") == [0, 1, 2, 3, 4, 5]
    assert is_trained(paired(), "held_out") == [6, 7]
    resolved = paired().resolve()
    assert (resolved.splits, is_trained(resolved, "held_out")) == (True, [6, 7])


def test_halves_in_folders_of_splits(tmp_path, paired):
    """With validation images, the test images are not used at all."""
    write_halves(tmp_path / "all", 9)
    for number in range(9):
        folder = tmp_path / "data" / "facades" / ("train" if number < 5 else "val" if number < 7 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "all" / f"{number:02}.png", folder / f"{number}.png")
    assert is_trained(paired(), "train") == [0, 1, 2, 3, 4]
    assert is_trained(paired(), "held_out") == [5, 6]
    assert any(note.endswith("2 valid images are held out; 2 test images are not used") for note in notes(paired()))


def test_pairs_in_an_archive(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    shutil.make_archive(str(tmp_path / "pairs"), "zip", tmp_path / "data")
    data = PairedFolder(str(tmp_path / "pairs.zip"), cache=str(tmp_path / "cache")).resolve()
    assert (data.source, data.target, data.count("train")) == ("in", "out", 27)
    assert data.digest == paired().resolve().digest


def test_pairs_of_16_bits_use_their_range(tmp_path, paired):
    """Values from 0 to 4095 are scaled by 4095, not by 65535."""
    for number in range(12):
        for side in ("in", "out"):
            values = (
                np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16) if number else np.zeros((16, 16), np.uint16)
            )
            save(Image.fromarray(np.roll(values, number)), tmp_path / "data" / side / f"{number}.png")
    data = paired().resolve()
    assert (data.black, data.white, data.spec.unit) == (0, 4095, (0, 4095))
    real = data.stream("train", data.count("train"), 0).batch(0).real
    assert (real.dtype, real.min().item(), real.max().item()) == (torch.float32, -1, 1)


@pytest.mark.parametrize("write", [write_subfolders, write_halves])
def test_inputs_are_paired_with_samples(tmp_path, paired, write):
    write(tmp_path / "data")
    data = paired().resolve()
    assert data.spec.shape == (3, 16, 16)
    assert data.spec.source == (1, 16, 16)
    assert data.spec.paired == ("train", "held_out")
    values = []
    for split in ("train", "held_out"):
        batch = data.stream(split, data.count(split), 0).batch(0)
        assert isinstance(batch, PairedBatch)
        assert torch.equal(levels(batch.real), levels(batch.source))
        values += levels(batch.real).tolist()
    assert sorted(values) == [8 * number for number in range(COUNT)]
    assert (data.count("train"), data.count("held_out")) == (27, 3)


def test_layout_is_resolved_and_can_be_reversed(tmp_path, paired):
    write_halves(tmp_path / "data")
    assert (paired().resolve().source, paired().resolve().target) == ("left", "right")
    other = paired(source="right").resolve()
    assert (other.source, other.target) == ("right", "left")
    assert (other.spec.shape[0], other.spec.source[0]) == (1, 3)
    shutil.rmtree(tmp_path / "data")
    write_subfolders(tmp_path / "data")
    assert (paired().resolve().source, paired().resolve().target) == ("in", "out")
    other = paired(source="out").resolve()
    assert (other.source, other.target) == ("out", "in")
    assert (other.spec.shape[0], other.spec.source[0]) == (1, 3)


def test_unpaired_training_keeps_held_out_pairs(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    data = paired(paired=False).resolve()
    assert data.spec.paired == ("held_out",)
    stream = data.stream("train", 27, 0)
    for index in range(3):
        batch = stream.batch(index)
        assert type(batch) is UnpairedBatch
        real, source = levels(batch.real), levels(batch.source)
        assert sorted(real.tolist()) == sorted(source.tolist()), "the same pairs, in another order"
        assert (real == source).sum() < 10
    held_out = data.stream("held_out", 3, 0).batch(0)
    assert torch.equal(levels(held_out.real), levels(held_out.source))


def test_unpaired_training_of_openmoji():
    original, shuffled = (
        OpenMoji(16).stream("train", 64, 0).batch(0),
        OpenMoji(16, paired=False).stream("train", 64, 0).batch(0),
    )
    assert torch.equal(original.real, shuffled.real)
    assert torch.equal(original.condition, shuffled.condition)
    assert not torch.equal(original.source, shuffled.source)
    assert OpenMoji(paired=False).spec.paired == ("held_out",)
    held_out = OpenMoji(16, paired=False).stream("held_out", 64, 0).batch(0)
    assert torch.equal(held_out.source, OpenMoji(16).stream("held_out", 64, 0).batch(0).source)


def test_pairs_with_equal_inputs_are_in_one_split(tmp_path, paired):
    for number in range(20):
        save(grey(100 + number % 4), tmp_path / "data" / "in" / f"{number}.png")
        save(coloured(number), tmp_path / "data" / "out" / f"{number}.png")
    data = paired(held_out=0.25)
    inputs = [
        set(levels(data.stream(split, data.count(split), 0).batch(0).source).tolist())
        for split in ("train", "held_out")
    ]
    assert len(inputs[1]) == 1
    assert not inputs[0] & inputs[1]


def test_pairs_with_equal_samples_are_in_one_split(tmp_path, paired):
    for number in range(20):
        save(grey(number), tmp_path / "data" / "in" / f"{number}.png")
        save(coloured(100 + number % 4), tmp_path / "data" / "out" / f"{number}.png")
    data = paired(held_out=0.25)
    train, held_out = (data.stream(split, data.count(split), 0).batch(0) for split in ("train", "held_out"))
    assert len(held_out) == 5
    assert not set(levels(train.real).tolist()) & set(levels(held_out.real).tolist())


def test_pairs_with_equal_halves_are_in_one_split(tmp_path, paired):
    """Pair n has input n mod 4; of the first 12, sample n, of the rest those of the first four: 4 groups."""
    for number in range(16):
        image = Image.new("RGB", (32, 16))
        image.paste(grey(number % 4).convert("RGB"), (0, 0))
        image.paste(coloured(100 + number % 12), (16, 0))
        save(image, tmp_path / "data" / f"{number:02}.png")
    data = paired(held_out=0.25)
    train, held_out = (data.stream(split, data.count(split), 0).batch(0) for split in ("train", "held_out"))
    assert len(held_out) == 4
    for side in ("real", "source"):
        assert not set(levels(getattr(train, side)).tolist()) & set(levels(getattr(held_out, side)).tolist())


def test_connected_groups_have_the_lowest_name():
    assert connected_groups("dcba", [1, 2, 2, 3], [7, 8, 9, 7]) == ["a", "b", "b", "a"]
    assert connected_groups("dcba", [1, 2, 2, 3], [7, 8, 9, 9]) == ["d", "a", "a", "a"]


def test_unpaired_sets_are_shuffled_independently(tmp_path, unpaired):
    for number in range(40):
        save(coloured(number), tmp_path / "data" / "b" / f"{number}.png")
    for number in range(10):
        save(grey(number), tmp_path / "data" / "a" / f"photo {number}.png")
    data = unpaired().resolve()
    assert (data.source, data.target) == ("a", "b")
    assert (data.spec.shape, data.spec.source, data.spec.paired) == ((3, 16, 16), (1, 16, 16), ())
    assert (data.count("train"), data.count("held_out")) == (36, 4)
    batch = data.stream("train", 36, 0).batch(0)
    assert type(batch) is UnpairedBatch
    assert len(set(levels(batch.real).tolist())) == 36
    counts = levels(batch.source).bincount(minlength=10)
    assert (counts > 0).sum() == 9, "one of ten inputs is held out"
    assert counts.max() == 4
    assert len(data.stream("held_out", 4, 0).batch(0)) == 4


def test_published_layout_is_detected(tmp_path, unpaired):
    for name in ("testA", "testB", "trainA", "trainB"):
        for number in range(4):
            save(coloured(number), tmp_path / "data" / name / f"{number}.png")
    data = unpaired(held_out=0.0)
    assert "splits by folder: 8 images are trained on, 8 test images are held out" in notes(data)
    assert (data.count("train"), data.count("held_out")) == (4, 4)
    old = dataclasses.replace(unpaired(splits=False).resolve(), splits=None)
    assert (old.count("train"), old.count("held_out")) == (3, 1), "a run of a version that ignored splits"
    assert (data.resolve().source, data.resolve().target) == ("trainA", "trainB")
    assert data.count("train") == 4
    other = unpaired(source="testB", target="trainA").resolve()
    assert (other.source, other.target) == ("testB", "trainA")
    with pytest.raises(DataError, match=r"no subfolder 'testC' .* available: testA, testB, trainA, trainB"):
        unpaired(source="testC").resolve()
    with pytest.raises(DataError, match="cannot both be in trainA"):
        unpaired(source="trainA", target="trainA").resolve()


def test_names_without_a_partner_are_reported(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    (tmp_path / "data" / "in" / "03.png").unlink()
    for number in (40, 41, 42):
        save(grey(number), tmp_path / "data" / "in" / f"{number}.png")
    with pytest.raises(DataError) as error:
        paired().resolve()
    assert str(error.value) == (
        "4 images of 62 have no partner of the same name: in/40.png, in/41.png, in/42.png and 1 "
        "more; pairs are in/NAME and out/NAME: rename or remove them"
    )


def test_extensions_may_differ_but_names_are_unique(tmp_path, paired):
    write_subfolders(tmp_path / "data", 10)
    Image.open(tmp_path / "data" / "in" / "00.png").save(tmp_path / "data" / "in" / "00.bmp")
    with pytest.raises(DataError, match=r"^2 images differ only in the extension: in/00\.bmp, in/00\.png; keep one"):
        paired().resolve()
    (tmp_path / "data" / "in" / "00.png").unlink()
    assert paired().count("train") == 9


def test_pairs_of_different_sizes_are_reported(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    save(grey(9, (16, 20)), tmp_path / "data" / "in" / "05.png")
    save(coloured(9, (32, 32)), tmp_path / "data" / "out" / "07.png")
    with pytest.raises(DataError) as error:
        paired().resolve()
    assert str(error.value) == (
        "2 pairs of 30 have images of different sizes: in/05.png 16 x 20 and out/05.png 16 x 16, in/07.png 16 x 16 and "
        "out/07.png 32 x 32; resize them to the same size"
    )


@pytest.mark.parametrize("size", [(16, 16), (33, 16), (16, 32)])
def test_files_that_are_not_two_images_are_reported(tmp_path, paired, size):
    """A single such file is an error, although a few damaged files are skipped."""
    write_halves(tmp_path / "data")
    save(coloured(9, size), tmp_path / "data" / "01.png")
    with pytest.raises(DataError, match=r"^1 file of 30 in .* is not two images side by side: 01\.png \d+ x \d+;"):
        paired().resolve()


def test_subfolders_named_left_and_right(tmp_path, paired, unpaired):
    write_subfolders(tmp_path / "data", names=("left", "right"))
    for options in ({}, {"source": "left"}, {"source": "left", "target": "right"}):
        data = paired(**options).resolve()
        assert (data.source, data.target, data.beside) == ("left", "right", False)
        batch = data.stream("train", 27, 0).batch(0)
        assert torch.equal(levels(batch.real), levels(batch.source))
    back = paired(source="right").resolve()
    assert (back.spec.shape[0], back.spec.source[0], back.count("train")) == (1, 3, 27)
    assert unpaired().resolve().spec.source == (1, 16, 16)
    shutil.rmtree(tmp_path / "data")
    assert len(data.stream("train", 8, 0).batch(0)) == 8, "resolved options suffice; the folder is not read"


def test_halves_in_subfolders_named_left_and_right(tmp_path, paired, unpaired):
    for side in ("left", "right"):
        write_halves(tmp_path / "data" / side, 10)
    data = paired(beside=True).resolve()
    assert (data.beside, data.count("train") + data.count("held_out")) == (True, 20)
    for invalid in (paired(beside=True, source="in"), unpaired(beside=True)):
        with pytest.raises(SettingError, match=r"data\.beside = true: pairs are the left and right half of each image"):
            invalid.resolve()


def test_older_run_uses_halves(tmp_path, paired):
    write_halves(tmp_path / "data")
    resolved = dataclasses.replace(paired().resolve(), beside=None)
    shutil.rmtree(tmp_path / "data")
    assert resolved.stream("train", 8, 0).batch(0).source.shape == (8, 1, 16, 16)


def test_pairs_are_checked_despite_a_filled_cache(tmp_path, paired, unpaired):
    write_subfolders(tmp_path / "data")
    (tmp_path / "data" / "in" / "03.png").unlink()
    assert unpaired().count("train") == 27
    with pytest.raises(DataError, match="1 image of 59 has no partner"):
        paired().resolve()
    save(grey(24, (16, 20)), tmp_path / "data" / "in" / "03.png")
    assert unpaired().count("train") == 27
    with pytest.raises(DataError, match="1 pair of 30 has images of different sizes"):
        paired().resolve()


def test_sizes_respect_exif_orientation(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    (tmp_path / "data" / "in" / "05.png").unlink()
    grey(40, (24, 16)).save(tmp_path / "data" / "in" / "05.jpg", exif=exif)
    save(coloured(40, (16, 24)), tmp_path / "data" / "out" / "05.png")
    assert paired(held_out=0.0).count("train") == COUNT
    save(coloured(40, (24, 16)), tmp_path / "data" / "out" / "05.png")
    with pytest.raises(DataError, match=r"in/05\.jpg 16 x 24 and out/05\.png 24 x 16"):
        paired().resolve()


def test_pair_with_a_damaged_image_is_skipped_and_reported(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    path = tmp_path / "data" / "out" / "04.png"
    path.write_bytes(path.read_bytes()[:40])
    data = paired(held_out=0.0)
    assert any("1 of 60 files was skipped" in note for note in notes(data))
    batch = data.stream("train", 29, 0).batch(0)
    assert 4 * 8 not in levels(batch.source).tolist()
    assert torch.equal(levels(batch.real), levels(batch.source))


def test_changed_folder_is_refused(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    resolved = paired().resolve()
    save(coloured(3), tmp_path / "data" / "out" / "05.png")
    with pytest.raises(DataError, match=r"1 file was modified \(out/05\.png\); restore it, or start a new run"):
        resolved.resolve()


def test_resolved_folder_is_not_read_again(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    resolved = paired().resolve()
    shutil.rmtree(tmp_path / "data")
    assert len(resolved.stream("train", 8, 0).batch(0)) == 8
    assert resolved.spec.source == (1, 16, 16)


def test_channels_are_converted(tmp_path, paired):
    write_subfolders(tmp_path / "data")
    data = paired(source_channels=3, channels=1)
    batch = data.stream("train", 4, 0).batch(0)
    assert (batch.real.shape, batch.source.shape) == ((4, 1, 16, 16), (4, 3, 16, 16))
    level = levels(batch.source).float()
    luma = (0.299 * level + 0.587 * (255 - level) + 0.114 * 100) / 127.5 - 1
    torch.testing.assert_close(batch.real[:, 0, 0, 0], luma, atol=1e-5, rtol=0)


def test_suggestion_depends_on_the_data(tmp_path, paired, unpaired):
    write_subfolders(tmp_path / "data")
    assert dataclasses.astuple(paired().suggestion)[:2] == ("pix2pix:cpu32", 3000)
    assert paired().suggestion.metric == "paired_l1"
    assert paired(held_out=0.0).suggestion.metric is None
    assert paired(paired=False).suggestion.model == "cyclegan:cpu32"
    assert paired(image_size=64).suggestion.model == "pix2pix:cpu64"
    assert unpaired(image_size=64).suggestion.model == "cyclegan:cpu64"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"image_size": 0}, "image_size = 0: it must be from 1 to 1024"),
        ({"channels": 2}, "channels = 2: it must be 1 (grey) or 3 (colour)"),
        ({"source_channels": 4}, "channels = 4: it must be 1 (grey) or 3 (colour)"),
        ({"held_out": 0.7}, "held_out = 0.7: it must be from 0 to 0.5"),
    ],
)
def test_invalid_values_are_refused(paired, unpaired, options, line):
    for create in (paired, unpaired):
        with pytest.raises(SettingError) as error:
            create(**options)
        assert str(error.value) == line


def test_batches_larger_than_an_epoch():
    for size in (1, 3, 7, 10, 23):
        indices = torch.cat([batch_indices(7, size, 0, "train", index) for index in range(70 // size)])
        epochs = indices[: len(indices) // 7 * 7].view(-1, 7).sort(dim=1).values
        assert torch.equal(epochs, torch.arange(7).expand_as(epochs))
    assert np.array_equal(
        batch_indices(7, 3, 0, "train", 5), torch.cat([batch_indices(7, 1, 0, "train", n) for n in (15, 16, 17)])
    )
