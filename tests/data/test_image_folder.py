"""A folder of images as data: detected options, messages, refused folders, and a run on it."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core import catalog
from equipoise.core.events import Stepped
from equipoise.data._images.image_format import ImageFormat
from equipoise.data._images.notes import size_notes
from equipoise.data.image_folder import ImageFolder
from equipoise.errors import DataError, SettingError
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec


def write(folder, names, size=(32, 32), grey=False, seed=0):
    """Write PNG files of noise, or of one grey value per row; return their pixels (3, H, W) by name."""
    generator, pixels = np.random.default_rng(seed), {}
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = generator.integers(0, 256, (size[1], size[0], 1 if grey else 3), np.uint8)
        Image.fromarray(image[:, :, 0] if grey else image).save(path)
        pixels[name] = np.broadcast_to(image, (size[1], size[0], 3)).transpose(2, 0, 1)
    return pixels


def numbered(count, start="", end=".png"):
    return [f"{start}{number:03d}{end}" for number in range(count)]


@pytest.fixture
def data(tmp_path):
    """Create the data set of a folder, with a cache in the temporary directory."""

    def create(**options):
        return ImageFolder(str(tmp_path / "in"), cache=str(tmp_path / "cache"), **options)

    return create


def notes(data):
    return [message.note for message in data.prepare() if message.note]


def all_images(data, split):
    """Return every image of a split once, as uint8, and the labels."""
    batch = data.stream(split, data.count(split), 0).batch(0)
    return ((batch.real + 1) * 127.5).round().byte().numpy(), batch.condition


def test_every_image_is_in_one_split(tmp_path, data):
    images = write(tmp_path / "in", numbered(40))
    result = [image.tobytes() for split in ("train", "held_out") for image in all_images(data(), split)[0]]
    assert sorted(result) == sorted(image.tobytes() for image in images.values())
    assert (data().count("train"), data().count("held_out")) == (36, 4)


def test_resolved_data_set_needs_no_folder(tmp_path, data, monkeypatch):
    write(tmp_path / "in", numbered(10))
    monkeypatch.chdir(tmp_path)
    resolved = ImageFolder("in").resolve()
    assert resolved.folder == str(tmp_path / "in")
    assert resolved.cache == str(tmp_path / "runs" / ".cache")
    assert (resolved.image_size, resolved.channels, resolved.classes) == (32, 3, ())
    batch = resolved.stream("train", 5, 1).batch(3).real
    shutil.rmtree(tmp_path / "in")
    assert torch.equal(resolved.stream("train", 5, 1).batch(3).real, batch)
    shutil.rmtree(tmp_path / "runs")
    assert resolved.spec.shape == (3, 32, 32)
    with pytest.raises(DataError, match=r"/in does not exist$"):
        resolved.stream("train", 5, 1)


def test_deleted_cache_is_rebuilt_identically(tmp_path, data):
    write(tmp_path / "in", numbered(10))
    resolved = data().resolve()
    before = resolved.stream("train", 5, 1).batch(3).real
    shutil.rmtree(tmp_path / "cache")
    assert torch.equal(resolved.stream("train", 5, 1).batch(3).real, before)


def test_second_start_decodes_nothing(tmp_path, data):
    write(tmp_path / "in", numbered(10))
    first = list(data().prepare())
    assert [message.done for message in first] == list(range(1, 11))
    assert list(data().prepare()) == []
    assert list(data().resolve().prepare()) == []


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ([(28, 28)], 32),
        ([(27, 500)], 16),
        ([(8, 8)], 16),
        ([(56, 70)], 64),
        ([(55, 70)], 32),
        ([(800, 600)], 64),
        ([(16, 16), (64, 64), (64, 64)], 64),
        ([(16, 16), (16, 16), (64, 64)], 16),
    ],
)
def test_default_size_is_the_median_of_shorter_sides(tmp_path, data, sides, size):
    for number, side in enumerate(sides):
        write(tmp_path / "in", [f"{number}.png"], side)
    assert data().resolve().image_size == size
    assert data(image_size=128).spec.shape == (3, 128, 128)


def test_grey_images_have_one_channel(tmp_path, data):
    images = write(tmp_path / "in", numbered(9), grey=True)
    assert data().spec.shape == (1, 32, 32)
    result, _ = all_images(data(), "train")
    assert {image.tobytes() for image in result} <= {image[:1].tobytes() for image in images.values()}
    colour = data(channels=3)
    assert colour.spec.shape == (3, 32, 32)
    assert {image.tobytes() for image in all_images(colour, "train")[0]} <= {
        image.tobytes() for image in images.values()
    }


def test_one_colour_image_gives_three_channels(tmp_path, data):
    write(tmp_path / "in", numbered(9), grey=True)
    write(tmp_path / "in", ["z.png"])
    assert data().spec.shape == (3, 32, 32)


def test_colour_is_converted_to_grey_by_luma(tmp_path, data):
    """Luma as in Pillow: ITU-R BT.601."""
    images = write(tmp_path / "in", numbered(8))
    result, _ = all_images(data(channels=1, held_out=0), "train")
    expected = [Image.fromarray(image.transpose(1, 2, 0)).convert("L") for image in images.values()]
    by_name = sorted(np.asarray(image).astype(int).flatten().tolist() for image in expected)
    assert np.abs(np.array(sorted(result.reshape(8, -1).astype(int).tolist())) - by_name).max() <= 1


def test_subfolders_are_classes_at_any_depth(tmp_path, data):
    pairs = {"class 10": 1, "class 2": 3, "ünï 漢字": 2}
    images = {}
    for number, (name, count) in enumerate(pairs.items()):
        images |= write(tmp_path / "in", numbered(count, f"{name}/deep/er/"), seed=number)
    resolved = data(held_out=0.2).resolve()
    assert resolved.classes == ("class 2", "class 10", "ünï 漢字")
    assert resolved.spec.class_names == resolved.classes
    assert resolved.spec.classes == 3
    for split in ("train", "held_out"):
        for image, label in zip(*all_images(resolved, split), strict=True):
            (name,) = [name for name, pixels in images.items() if (pixels == image).all()]
            assert name.startswith(resolved.classes[label] + "/")
    assert notes(data())[-2:] == [
        "3 classes, by subfolder: class 2 3, class 10 1, ünï 漢字 2",
        "3 classes have fewer than 10 images: class 2 3, class 10 1, ünï 漢字 2; samples of so few are copies: add "
        "images, or choose others with data.classes",
    ]


def test_images_outside_of_classes_are_skipped_and_reported(tmp_path, data):
    write(tmp_path / "in", [*numbered(4, "a/"), *numbered(5, "b/"), *numbered(3)])
    assert notes(data())[-1] == "3 images outside of these were skipped; classes = [] uses all images, without labels"
    assert data().count("train") + data().count("held_out") == 9
    assert data(classes=()).count("train") + data(classes=()).count("held_out") == 12
    assert data(classes=()).spec.classes == 0
    typed = catalog.build("data", "image_folder", {"folder": str(tmp_path / "in"), "classes": ""})
    assert typed.classes == (), "classes= on the command line"
    assert data(classes=()).stream("train", 2, 0).batch(0).condition is None


def test_rare_classes_are_drawn_as_often_as_others(tmp_path, data):
    """The frequent class is halved by `balance`, and the 4 images of the rare one occur in turn."""
    write(tmp_path / "in", numbered(36, "cat/") + numbered(4, "newt/"))
    balanced = data(balance=True, held_out=0.0).resolve()
    batches = [balanced.stream("train", 10, 0).batch(index) for index in range(4)]
    assert [batch.condition.sum().item() for batch in batches] == [5] * 4
    images = torch.cat([batch.real[batch.condition == 1] for batch in batches]).flatten(1)
    _, counts = images.unique(dim=0, return_counts=True)
    assert counts.tolist() == [5] * 4
    assert balanced.count("train") == 40
    natural = data(held_out=0.0).resolve().stream("train", 40, 0).batch(0)
    assert natural.condition.sum() == 4


def test_balance_without_classes_is_refused(tmp_path, data):
    write(tmp_path / "in", numbered(12))
    with pytest.raises(
        SettingError, match=r"data\.balance = true needs classes, and .*/in has none; omit data\.balance"
    ):
        data(balance=True).resolve()
    assert data(balance=False).resolve().classes == ()


def test_classes_can_be_selected(tmp_path, data):
    write(tmp_path / "in", [*numbered(4, "cat/"), *numbered(5, "dog/"), *numbered(3, "newt/")])
    selected = data(classes=("newt", "cat")).resolve()
    assert selected.classes == ("newt", "cat")
    assert selected.count("train") + selected.count("held_out") == 7
    with pytest.raises(DataError, match=r"class 'cats' has no images in .*in; did you mean 'cat'\?"):
        data(classes=("cats", "dog")).resolve()


def test_single_subfolder_is_not_a_class(tmp_path, data):
    write(tmp_path / "in", numbered(5, "a/"))
    assert data().resolve().classes == ()


def test_conversions_are_reported(tmp_path, data):
    write(tmp_path / "in", numbered(30))
    write(tmp_path / "in", ["wide 1.png", "wide 2.png"], (50, 40))
    write(tmp_path / "in", ["small.png"], (20, 20))
    shutil.copy(tmp_path / "in" / "000.png", tmp_path / "in" / "copy.png")
    Image.new("RGBA", (32, 32)).save(tmp_path / "in" / "glass.png")
    (tmp_path / "in" / "words.png").write_text("These are words.")
    assert notes(data()) == [
        "1 of 36 files was skipped: words.png (not an image in a known format)",
        "1 file has the same content as another; all are used",
        "2 of 35 images are not square: centre-cropped (fit)",
        "1 of 35 images is smaller than 32 pixels: enlarged (image_size)",
        "2 of 35 images are larger than 32 pixels: shrunk (image_size)",
        "1 of 35 images is partly transparent: composited on white (background)",
        "1 of 35 images is of a single colour",
    ]
    assert notes(data(fit="pad", background="black"))[2:] == [
        "2 of 35 images are not square: padded with black (fit)",
        "1 of 35 images is smaller than 32 pixels: enlarged (image_size)",
        "2 of 35 images are larger than 32 pixels: shrunk (image_size)",
        "1 of 35 images is partly transparent: composited on black (background)",
        "1 of 35 images is of a single colour",
    ]
    assert "2 of 35 images are not square: stretched (fit)" in notes(data(fit="stretch"))
    assert notes(data())[0].startswith("1 of 36 files"), "reported at every start"


def test_few_bad_images_are_reported_and_skipped(tmp_path, data):
    write(tmp_path / "in", numbered(60))
    (tmp_path / "in" / "001.png").write_bytes(b"")
    content = (tmp_path / "in" / "002.png").read_bytes()
    (tmp_path / "in" / "002.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "in" / "Größe 3.JPG").write_text("These are words.")
    assert notes(data()) == [
        "3 of 61 files were skipped: 001.png (empty), 002.png (damaged or truncated), "
        "Größe 3.JPG (not an image in a known format)"
    ]
    assert data().count("train") + data().count("held_out") == 58


def test_duplicates_are_in_one_split(tmp_path, data):
    write(tmp_path / "in", numbered(20))
    for number in range(20):
        image = Image.open(tmp_path / "in" / f"{number:03d}.png")
        image.save(tmp_path / "in" / f"{number:03d}.bmp")
    sides = [{image.tobytes() for image in all_images(data(held_out=0.2), split)[0]} for split in ("train", "held_out")]
    assert [len(side) for side in sides] == [16, 4]
    assert not sides[0] & sides[1]


def test_held_out_images_are_independent_of_size(tmp_path, data):
    """The red value of each uniform image is its number."""
    for number in range(30):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), (number, 0, 9)).save(tmp_path / "in" / f"{number}.png")
    numbers = [set(all_images(data(image_size=size), "held_out")[0][:, 0].flatten()) for size in (16, 64)]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 3


def test_changed_folder_is_refused(tmp_path, data):
    write(tmp_path / "in", numbered(10))
    resolved = data().resolve()
    write(tmp_path / "in", ["new.png"], seed=1)
    write(tmp_path / "in", ["004.png"], seed=2)
    os.utime(tmp_path / "in" / "004.png", ns=(1, 1))
    (tmp_path / "in" / "007.png").unlink()
    for read in (resolved.resolve, lambda: list(resolved.prepare())):
        with pytest.raises(DataError) as error:
            read()
        assert str(error.value) == (
            f"{tmp_path / 'in'} changed since this run started: 1 file was added (new.png), 1 file was removed "
            "(007.png), 1 file was modified (004.png); restore it, or start a new run with --from RUN"
        )
    assert dataclasses.replace(resolved, digest=None).resolve().digest != resolved.digest


def test_moved_folder_is_accepted(tmp_path, data):
    write(tmp_path / "in", numbered(10))
    resolved = data().resolve()
    (tmp_path / "in").rename(tmp_path / "there")
    moved = dataclasses.replace(resolved, folder=str(tmp_path / "there")).resolve()
    assert moved.digest == resolved.digest
    assert torch.equal(moved.stream("train", 4, 0).batch(1).real, resolved.stream("train", 4, 0).batch(1).real)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 0}, "image_size = 0: it must be from 1 to 1024"),
        ({"channels": 2}, r"channels = 2: it must be 1 \(grey\) or 3 \(colour\)"),
        ({"held_out": 0.6}, "held_out = 0.6: it must be from 0 to 0.5"),
        ({"held_out": float("nan")}, "held_out = nan: it must be from 0 to 0.5"),
    ],
)
def test_invalid_settings_are_refused(data, options, words):
    with pytest.raises(SettingError, match=words):
        data(**options)


@pytest.mark.parametrize("count", [1, 2, 20, 100])
def test_suggestion_fits_a_small_folder(tmp_path, data, count):
    write(tmp_path / "in", numbered(count), (16, 16))
    assert data().suggestion.batch_size == min(64, data().count("train"))
    assert len(data().stream("train", data().suggestion.batch_size, 0).batch(7)) == data().suggestion.batch_size


def test_twenty_images_train_resume_and_sample(tmp_path, working_directory, call, error_line):
    folder = tmp_path / "meine Bilder 漢字"
    write(folder, numbered(20), (20, 16))
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6})
    experiment = Experiment(data=PlugSpec(folder.name), model=model, steps=3, batch_size=4, threads=1, precision="fp32")
    first, rest = launch.start(experiment, tmp_path / "run"), launch.resume(tmp_path / "run", 4)
    assert [event.step for event in first if isinstance(event, Stepped)] == [1, 2, 3]
    assert [event.step for event in rest if isinstance(event, Stepped)] == [4]
    write(folder, ["new.png"], seed=1)
    line = error_line("resume", "run", "--steps", "5")
    assert "1 file was added (new.png); restore it, or start a new run with --from RUN" in line
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "runs")
    assert call("sample", "run", "--out", "samples.png")[0] == 0
    line = error_line("resume", "run", "--steps", "5")
    assert line.startswith(f"the data of this run are no longer in {folder}; restore them, or give their new location")


def test_a_damaged_image_in_a_small_folder_is_skipped(tmp_path):
    write(tmp_path / "in", numbered(9))
    (tmp_path / "in" / "a.jpg").write_text("<!DOCTYPE html><html>")
    (tmp_path / "in" / "b.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    data = ImageFolder(str(tmp_path / "in"), cache=str(tmp_path / "cache")).resolve()
    assert data.count("train") + data.count("held_out") == 9
    assert data.skipped() == {
        "a.jpg": "a web page or other text, not an image: download it again",
        "b.png": "a pointer of Git LFS, not the image: run git lfs pull",
    }


def test_folder_of_bad_images_is_refused(tmp_path, working_directory, error_line, snapshot):
    write(tmp_path / "in", numbered(9))
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "in" / name).write_text("These are words.")
    before = snapshot(tmp_path / "in")
    assert error_line("train", "in", "--steps", "1", "--out", "run") == (
        f"3 of 12 files in {tmp_path / 'in'} cannot be used, more than 5%: a.png, b.png, c.png (not an image "
        "in a known format); repair or remove them"
    )
    assert snapshot(tmp_path / "in") == before
    assert not (tmp_path / "run").exists()


def phone_folder(folder):
    """Write the case of the issue: turned photographs, and what phones, Macs and Windows leave behind."""
    generator = np.random.default_rng(12)
    for name in ("__MACOSX/photos", "photos/.ipynb_checkpoints", "photos/@eaDir"):
        (folder / name).mkdir(parents=True)
    for number in range(60):
        pixels = np.full((60, 80, 3), (190.0, 210.0, 250.0))
        pixels[int(generator.integers(25, 35)) :] = (50, 80, 30)
        pixels = (pixels + generator.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        picture, exif = Image.fromarray(pixels), Image.Exif()
        if number % 3 == 0:
            exif[0x112], picture = 6, picture.rotate(90, expand=True)
        picture.save(folder / f"photos/IMG_{number:04d}.JPG", exif=exif)
    for number in range(3):
        shutil.copy(folder / "photos/IMG_0001.JPG", folder / f"photos/IMG_0001 ({number + 1}).JPG")
    picture.resize((20, 15)).save(folder / "photos/@eaDir/SYNO_1.jpg")
    picture.save(folder / "photos/.ipynb_checkpoints/IMG-checkpoint.jpg")
    for name in ("__MACOSX/photos/._IMG_0001.JPG", "photos/Thumbs.db", "photos/desktop.ini", ".DS_Store"):
        (folder / name).write_bytes(b"x" * 50)
    picture.save(folder / "photos/a.gif")


def test_photographs_of_a_phone(tmp_path, data):
    phone_folder(tmp_path / "in")
    for number in range(9):
        (tmp_path / "in" / "photos" / f"{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        (tmp_path / "in" / "photos" / f"{number}.MOV").write_bytes(b"x")
    messages = notes(data(image_size=32))
    assert "9 files were left out: 9 .mov (video: extract frames)" in messages
    assert "3 files have the same content as another; all are used" in messages
    assert not any("nearly identical" in message for message in messages)
    resolved = data(image_size=32).resolve()
    assert resolved.count("train") + resolved.count("held_out") == 64
    assert len(resolved.skipped()) == 18
    images, _ = all_images(resolved, "train")
    assert (images[:, 2, :8].mean((1, 2)) > images[:, 2, -8:].mean((1, 2)) + 100).all(), "the sky is above the ground"


def test_heic_without_its_package_is_counted(tmp_path, data, monkeypatch):
    write(tmp_path / "in", numbered(10))
    for number in range(4):
        (tmp_path / "in" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setattr("equipoise.data._images.sources.find_spec", lambda name: None)
    assert "4 files were left out: 4 .heic (needs pip install 'equipoise[heic]')" in notes(data())


def test_images_with_a_wrong_or_missing_extension_are_read(tmp_path, data):
    write(tmp_path / "in", numbered(10))
    (tmp_path / "in" / "000.png").rename(tmp_path / "in" / "000.jpg")
    (tmp_path / "in" / "001.png").rename(tmp_path / "in" / "001")
    (tmp_path / "in" / "002.png").rename(tmp_path / "in" / "002.download")
    assert data().resolve().count("train") == 9
    assert data().resolve().skipped() == {}


def test_left_out_files_are_listed_in_the_run(tmp_path, working_directory):
    write(tmp_path / "in", numbered(12), (16, 16))
    (tmp_path / "in" / "007.png").write_bytes((tmp_path / "in" / "007.png").read_bytes()[:100])
    (tmp_path / "in" / "clip\x1b.mp4").write_bytes(b"x")
    write(tmp_path / "in", numbered(30, "more"), (16, 16), seed=1)
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6})
    experiment = Experiment(data=PlugSpec("in"), model=model, steps=1, batch_size=4, threads=1, precision="fp32")
    list(launch.start(experiment, tmp_path / "run"))
    assert (tmp_path / "run" / "skipped.txt").read_text().splitlines() == [
        "007.png\tdamaged or truncated",
        "clip\\x1b.mp4\tvideo: extract frames",
    ]


def test_the_space_that_a_large_folder_takes_is_named_before_it_is_decoded(data, tmp_path, monkeypatch):
    write(tmp_path / "in", numbered(20))
    assert not any("a cache of" in note for note in notes(data(image_size=16)))
    monkeypatch.setattr("equipoise.data._images.notes.MANY_IMAGES", 20)
    first, *_ = notes(data(image_size=16))
    assert first.startswith("20 images are decoded into a cache of 0 GB; --data image_shards trains without one")
    (note,) = size_notes(tmp_path, 1_000_000, ImageFormat(64, "crop", "white"))
    assert "a cache of 12 GB" in note
