"""What folders and label files mean: splits, classes, numbered parts, masks, and label files that are not used."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from equipoise.data._labels.layout import read_layout
from equipoise.data._splits import parse_split
from equipoise.data.image_folder import ImageFolder
from equipoise.errors import DataError

COUNT = 24


def png(number, side=16):
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


PICTURES = [png(number) for number in range(COUNT)]


@pytest.fixture
def folder(tmp_path):
    """Write files into a folder; numbers are images."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                path.write_bytes(PICTURES[content])
            else:
                path.write_text(content)

    return write


@pytest.fixture
def data(tmp_path):
    """Create the data set of the folder, with a cache in the temporary directory."""

    def create(**options):
        return ImageFolder(str(tmp_path / "in"), cache=str(tmp_path / "cache"), **options)

    return create


def notes(data):
    return [message.note for message in data.prepare() if message.note]


def label_counts(data):
    """Return the number of images per class name in each split."""
    names, result = data.spec.class_names, {}
    for split in ("train", "held_out"):
        labels = data.stream(split, data.count(split), 0).batch(0).condition
        result[split] = {name: int((labels == number).sum()) for number, name in enumerate(names)}
    return result


def totals(data):
    splits = label_counts(data)
    return {name: splits["train"][name] + splits["held_out"][name] for name in data.spec.class_names}


def flat(name="{}.png", count=COUNT):
    return {name.format(number): number for number in range(count)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", ("train", "")),
        ("Training", ("train", "")),
        ("VAL", ("valid", "")),
        ("validation", ("valid", "")),
        ("dev", ("valid", "")),
        ("testing", ("test", "")),
        ("trainA", ("train", "A")),
        ("testB", ("test", "B")),
        ("train_images", ("train", "images")),
        ("X_test", ("test", "x")),
        ("train-00000.parquet", ("train", "parquet")),
        ("station", None),
        ("trained", None),
        ("train_test", None),
        ("cats", None),
    ],
)
def test_names_of_splits(name, expected):
    assert parse_split(name) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("train/a/1.png val/b/2.png test/a/3.png", "train:a valid:b test:a"),
        ("data/Train/a/1.png data/Test/a/3.png", "train:a test:a"),
        ("trainA/1.png trainB/2.png testA/3.png", "train:A train:B test:A"),
        ("train_images/1.png test_images/2.png", "train: test:"),
        ("seg_train/seg_train/a/1.png seg_test/seg_test/b/2.png", "train:a test:b"),
        ("a/train/1.png a/test/2.png b/train/1.png", "train:a test:a train:b"),
        ("x/a/train/1.png x/a/test/2.png y/b/train/3.png y/b/val/4.png", "train:x test:x train:y valid:y"),
        ("a/train/1.png a/test/2.png b/2020/train/3.png b/2020/test/4.png", "train:a test:a train:b test:b"),
        ("x/a/train/1.png x/a/test/2.png y/b/c/3.png", "None:x None:x None:y"),
        ("thumbs/1.png thumbs/2.png", "None: None:"),
        ("images/train/1.png images/val/2.png", "train: valid:"),
        ("train/images/1.png val/images/2.png", "train: valid:"),
        ("train/a/1.png train/b/2.png", "train:a train:b"),
        ("train/1.png bus/1.png car/2.png", "None:train None:bus None:car"),
        ("test/1.png control/2.png", "None:test None:control"),
        ("test/1.png control/2.png dev/3.png", "None:test None:control None:dev"),
        ("test/1.png valid/2.png", "test: valid:"),
        ("a/1.png b/1.png", "None:a None:b"),
        ("00000/img00000001.png 00001/img00000002.png", "None: None:"),
        ("00000/00001.png 01000/01002.png", "None: None:"),
        ("00000/1.png 00001/1.png", "None:00000 None:00001"),
        ("10001/a.png 10002/b.png", "None:10001 None:10002"),
        ("cats.zip/1.png dogs.zip/1.png", "None:cats None:dogs"),
        ("shard-00.tar/1.png shard-01.tar/1.png", "None: None:"),
        ("train-00000-of-00001.parquet/0 test-00000-of-00001.parquet/0", "train: test:"),
    ],
)
def test_meaning_of_folders(paths, expected):
    layout = read_layout(paths.split())
    assert [f"{split}:{label}" for split, label in layout.placements.values()] == expected.split(" ")
    assert layout.left_out == {}


def test_images_outside_of_splits_and_masks_are_left_out():
    layout = read_layout(["train/1.png", "test/2.png", "preview.png"])
    assert layout.left_out == {"preview.png": "outside of the folders of the splits"}
    layout = read_layout(["1.png", "images/2.png", "Thumbnails/2_small.jpg"])
    assert layout.left_out == {"Thumbnails/2_small.jpg": "a thumbnail; give its folder to train on it"}
    layout = read_layout(["images/1.png", "images/2.png", "masks/1.png", "a.jpg", "a_mask.png", "masked.png"])
    assert sorted(layout.left_out) == ["a_mask.png", "masks/1.png"]


def test_splits_of_imagenet(folder, data, tmp_path):
    """The case of the issue: 40 of each class for training, 12 held out, 6 never used."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 12), ("test", 6)):
        for name in ("rose", "iris"):
            for number in range(count):
                path = tmp_path / "in" / "data" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    result = data().resolve()
    assert label_counts(result) == {"train": {"iris": 40, "rose": 40}, "held_out": {"iris": 12, "rose": 12}}
    messages = notes(data())
    assert messages[0] == "images by split: train 80, valid 24, test 12; trained on: train; valid is held out"
    assert messages[1].startswith(
        "12 test images are never trained on; compare with them: equipoise evaluate RUN --against "
    )
    assert messages[1].endswith("/in/data/test")
    assert sorted(set(result.skipped().values())) == ["test images: never trained on"]
    assert len(result.skipped()) == 12
    assert data(split="all").resolve().count("train") + data(split="all").resolve().count("held_out") == 116
    assert data(split="test", held_out=0.0).resolve().count("train") == 12
    assert data(split="none").resolve().classes == ("test", "train", "valid")


def test_test_images_alone_are_not_trained_on(folder, data):
    folder({f"test/{number}.png": number for number in range(6)} | {"valid/7.png": 7})
    with pytest.raises(DataError, match=r"holds images for test and valid only, none for training; .*data.split=all"):
        data().resolve()
    assert data(split="all").resolve().count("train") == 6


def test_copies_in_two_splits_are_reported(folder, data):
    folder({f"train/{number}.png": number for number in range(12)} | {f"val/{n}.png": n for n in range(9, 15)})
    assert (
        "3 validation images are nearly identical to a training image: held-out figures look better than they are"
        in (notes(data()))
    )


@pytest.mark.parametrize("form", ["list", "dict"])
@pytest.mark.parametrize("parts", [True, False])
def test_dataset_json_of_style_gan(folder, data, form, parts):
    names = [f"{number // 12:05d}/img{number:08d}.png" if parts else f"img{number}.png" for number in range(COUNT)]
    labels = [[name, number % 3] for number, name in enumerate(names)]
    content = json.dumps({"labels": labels if form == "list" else dict(labels)})
    folder({name: number for number, name in enumerate(names)} | {"dataset.json": content})
    assert totals(data().resolve()) == {"0": 8, "1": 8, "2": 8}
    assert "3 classes, by dataset.json: 0 8, 1 8, 2 8" in notes(data())
    assert data().resolve().skipped() == {}


def test_numbered_parts_without_labels_are_no_classes(folder, data):
    folder({f"{n // 12:05d}/{n}.png": n for n in range(COUNT)} | {"dataset.json": json.dumps({"labels": None})})
    assert data().resolve().classes == ()
    assert "dataset.json: not used for labels (it contains no labels)" in notes(data())


TABLES = {
    "labels.csv": "file,label\n" + "".join(f"{n}.png,{'red' if n % 2 else 'blue'}\n" for n in range(COUNT)),
    "train.csv": "label,id\n" + "".join(f"{n % 2},{n}\n" for n in range(COUNT)),
    "list.txt": "".join(f"images/{n}.png {n % 2}\n" for n in range(COUNT)),
    "labels.tsv": "".join(f"/data/x/{n}.PNG\t{n % 2}\n" for n in range(COUNT)),
    "meta.csv": "name;breed;age\n" + "".join(f"{n};{'ab'[n % 2]};{n * 1.5}\n" for n in range(COUNT)),
    "metadata.jsonl": "".join(
        json.dumps({"file_name": f"{n}.png", "label": n % 2, "text": f"picture {n}"}) + "\n" for n in range(COUNT)
    ),
    "labels.json": json.dumps({f"{n}.png": "ab"[n % 2] for n in range(COUNT)}),
    "one_hot.csv": "image,MEL,NV,BCC\n" + "".join(f"{n},{n % 2}.0,{1 - n % 2}.0,0.0\n" for n in range(COUNT)),
    "floats.csv": "file,class\n" + "".join(f"{n}.png,{n % 2}.0\n" for n in range(COUNT)),
    "windows.csv": "\ufefffile,label\r\n" + "".join(f".\\{n}.png,{'ä' if n % 2 else 'b'}\r\n" for n in range(COUNT)),
}
CLASSES = {"labels.csv": ("blue", "red"), "one_hot.csv": ("MEL", "NV"), "windows.csv": ("b", "ä")} | dict.fromkeys(
    ("meta.csv", "labels.json"), ("a", "b")
)


@pytest.mark.parametrize("place", ["{}.png", "images/{}.png"])
@pytest.mark.parametrize("name", TABLES)
def test_tables_of_labels(folder, data, name, place):
    folder(flat(place) | {name: TABLES[name]})
    result = data().resolve()
    assert result.classes == CLASSES.get(name, ("0", "1"))
    assert set(totals(result).values()) == {12}
    assert result.skipped() == {}
    assert any(f"by {name}" in note for note in notes(data()))


def test_coco_annotations(folder, data):
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(COUNT)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [{"image_id": n, "category_id": 7 + n % 2 * 2} for n in range(COUNT)],
    }
    folder(flat("images/{}.png") | {"annotations/instances.json": json.dumps(content)})
    assert totals(data().resolve()) == {"cat": 12, "dog": 12}


def test_label_files_in_splits(folder, data):
    files = {}
    for split, start, count in (("train", 0, 12), ("valid", 12, 6), ("test", 18, 6)):
        files |= {f"{split}/{n}.png": start + n for n in range(count)}
        files[f"{split}/metadata.csv"] = "file_name,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(count))
    folder(files)
    assert label_counts(data().resolve()) == {"train": {"a": 6, "b": 6}, "held_out": {"a": 3, "b": 3}}


def test_column_of_labels_is_chosen(folder, data):
    rows = "".join(f"{n},{'rb'[n % 2]},{'sc'[n % 3 > 0]},{n * 3}\n" for n in range(COUNT))
    folder(flat() | {"meta.csv": "name,colour,shape,serial\n" + rows})
    assert data().resolve().classes == ()
    assert (
        "meta.csv: not used, because it has several columns of labels: colour, shape; choose with --option "
        "data.label_column=colour" in notes(data())
    )
    assert totals(data(label_column="shape").resolve()) == {"c": 16, "s": 8}
    with pytest.raises(DataError, match=r"has no label column 'shap'; did you mean 'shape'"):
        data(label_column="shap").resolve()


def test_names_of_classes_replace_their_numbers(folder, data):
    rows = "".join(f"{n}.png,{n % 2},{'cat' if n % 2 else 'dog'}\n" for n in range(COUNT))
    folder(flat() | {"labels.csv": "file,class_id,class_name\n" + rows})
    assert data().resolve().classes == ("cat", "dog")


def test_named_labels_come_before_subfolders(folder, data):
    files = {f"{'ab'[n % 2]}/{n}.png": n for n in range(COUNT)}
    folder(files | {"labels.csv": "file,label\n" + "".join(f"{n}.png,{n % 3}\n" for n in range(COUNT))})
    assert data().resolve().classes == ("0", "1", "2")
    assert data(labels="folders").resolve().classes == ("a", "b")
    assert data(labels="none").resolve().classes == ()
    assert data(labels="labels.csv").resolve().classes == ("0", "1", "2")
    with pytest.raises(DataError, match=r"has no label file 'label.csv'; did you mean 'labels.csv'"):
        data(labels="label.csv").resolve()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("labels.csv", "file,label\nother.png,1\nmore.png,2\n", "it names none of the images"),
        ("labels.csv", "", "it contains no labels"),
        ("dataset.json", "{broken", "damaged: Expecting"),
        ("scores.csv", "f,v\n" + "".join(f"{n}.png,{n * 0.37}\n" for n in range(COUNT)), "column v differs for nearly"),
        (
            "same.csv",
            "f,v\n" + "".join(f"{n}.png,yes\n" for n in range(COUNT)),
            "column v has one value for all images",
        ),
    ],
)
def test_label_files_that_are_not_used_are_named(folder, data, name, content, reason):
    folder(flat() | {name: content})
    assert data().resolve().classes == ()
    assert any(note.startswith(f"{name}: not used for labels ({reason}") for note in notes(data()))
    assert name in data().resolve().skipped()


def test_images_without_label_are_skipped_and_reported(folder, data):
    folder(flat() | {"labels.csv": "file,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(20))})
    result = data().resolve()
    assert result.count("train") + result.count("held_out") == 20
    assert "4 images outside of these were skipped; classes = [] uses all images, without labels" in notes(data())


def test_small_classes_are_reported(folder, data):
    folder({f"{'rare' if n < 4 else 'nevus'}/{n}.png": n for n in range(COUNT)})
    messages = notes(data())
    assert "2 classes, by subfolder: nevus 20, rare 4" in messages
    assert any(note.startswith("1 class has fewer than 10 images: rare 4; ") for note in messages)


def test_changed_labels_are_noticed(folder, data):
    folder(flat() | {"labels.csv": TABLES["labels.csv"]})
    resolved = data().resolve()
    assert [message for message in resolved.prepare() if not message.note] == []
    folder({"labels.csv": TABLES["labels.csv"].replace("red", "green")})
    with pytest.raises(DataError, match="changed since this run started: its labels or splits differ"):
        list(resolved.prepare())


def test_runs_before_label_files_were_read_keep_their_images(folder, data):
    """A run of an earlier version recorded a digest without an assignment."""
    files = {f"{'train' if n % 2 else 'test'}/{n}.png": n for n in range(COUNT)}
    folder(files)
    old = data(split="none").resolve()
    folder({"labels.csv": TABLES["labels.csv"], "a.gif": 0})
    recorded = data(digest=old.digest, classes=("test", "train"), channels=3, image_size=16)
    assert [message for message in recorded.prepare() if not message.note] == []
    assert recorded.count("train") + recorded.count("held_out") == COUNT
    assert label_counts(recorded) == label_counts(old)


def test_labels_of_few_images_are_not_used_unless_asked_for(folder, data):
    folder(flat() | {"labels.csv": "file,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(6))})
    assert data().resolve().classes == ()
    assert "labels.csv: not used for labels (column label has values for 6 of 24 images only)" in notes(data())
    assert totals(data(labels="labels.csv").resolve()) == {"0": 3, "1": 3}


def test_splits_may_be_a_column_of_the_labels(folder, data):
    splits = ["train"] * 14 + ["val"] * 6 + ["test"] * 4
    rows = "".join(f"{n}.png,{'ab'[n % 2]},{split}\n" for n, split in enumerate(splits))
    folder(flat("images/{}.png") | {"meta.csv": "file,breed,split\n" + rows})
    assert label_counts(data().resolve()) == {"train": {"a": 7, "b": 7}, "held_out": {"a": 3, "b": 3}}
    messages = notes(data())
    assert messages[0] == "images by split: train 14, valid 6, test 4; trained on: train; valid is held out"
    assert messages[1].endswith("--option data.split=test")
    assert data(split="none").resolve().count("train") > 14


def test_one_hot_labels_of_style_gan_are_numbers(folder, data):
    labels = [[f"{n}.png", [float(place == n % 3) for place in range(3)]] for n in range(COUNT)]
    folder(flat() | {"dataset.json": json.dumps({"labels": labels})})
    assert totals(data().resolve()) == {"0": 8, "1": 8, "2": 8}


def test_numbers_name_images_without_their_zeros(folder, data):
    rows = "".join(f"{n},{'ab'[n % 2]}\n" for n in range(COUNT))
    folder(flat("{:04d}.png") | {"labels.csv": "id,label\n" + rows})
    assert totals(data().resolve()) == {"a": 12, "b": 12}


def test_a_few_images_with_several_labels_have_none(folder, data):
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(COUNT))
    folder(flat() | {"labels.csv": "file,label\n" + rows + "3.png,a\n"})
    assert totals(data().resolve()) == {"a": 12, "b": 11}
    assert "labels.csv: column label has several values for 1 image, such as 3.png: no label for these" in notes(data())
    folder({"labels.csv": "file,label\n" + rows + "3.png,a\n4.png,b\n"})
    assert data().resolve().classes == ()


def test_rows_of_labels_without_image_are_counted(folder, data):
    rows = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(COUNT))
    folder(flat() | {"labels.csv": "file,label\n" + rows + "lost.png,a\ngone.png,b\n"})
    assert totals(data().resolve()) == {"a": 12, "b": 12}
    assert "labels.csv: 2 of its 26 rows name no image, such as lost.png" in notes(data())


def test_rows_that_name_test_images_are_no_problem(folder, data):
    files = {f"{'train' if n < 20 else 'test'}/{n}.png": n for n in range(COUNT)}
    folder(files | {"labels.csv": "file,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(COUNT))})
    assert totals(data().resolve()) == {"0": 10, "1": 10}
    assert not any("name no image" in note for note in notes(data()))


def test_attributes_of_1_and_minus_1_may_be_labels(folder, data):
    rows = "".join(f"{n}.png,{1 - n % 2 * 2},{1 - n % 3 // 2 * 2}\n" for n in range(COUNT))
    folder(flat() | {"list_attr.csv": "image_id,Smiling,Male\n" + rows})
    assert any("several columns of labels: Smiling, Male" in note for note in notes(data()))
    assert totals(data(label_column="Smiling").resolve()) == {"-1": 12, "1": 12}


def test_validation_images_of_other_classes_are_reported(folder, data):
    files = {f"{'train' if n < 16 else 'val'}/{'ab'[n % 2]}/{n}.png": n for n in range(20)}
    folder(files | {f"val/c/{n}.png": n for n in range(20, COUNT)})
    assert data().resolve().classes == ("a", "b")
    assert "4 validation images were skipped: no training image has their label (c)" in notes(data())


@pytest.mark.parametrize("name", ["{}.csv", "{}_list.csv", "annotations/{}.txt"])
def test_splits_may_be_lists_of_images(folder, data, name):
    rows = [f"{n}.png,{'ab'[n % 2]}\n" for n in range(COUNT)]
    lists = {"train": rows[:12], "val": rows[12:18], "test": rows[18:]}
    folder(flat("images/{}.png") | {name.format(split): "".join(each) for split, each in lists.items()})
    assert label_counts(data().resolve()) == {"train": {"a": 6, "b": 6}, "held_out": {"a": 3, "b": 3}}
    assert set(data().resolve().skipped().values()) == {"test images: never trained on"}


def test_lists_without_labels_and_lists_that_overlap(folder, data):
    folder(flat() | {"train.txt": "".join(f"{n}.png\n" for n in range(20)), "test.txt": "20.png\n21.png\n"})
    result = data().resolve()
    assert result.count("train") + result.count("held_out") == 20
    assert result.skipped()["20.png"] == "test images: never trained on"
    assert result.skipped()["23.png"] == "in none of the lists of splits"
    folder({"test.txt": "1.png\n2.png\n"})
    result = data().resolve()
    assert result.count("train") + result.count("held_out") == COUNT
