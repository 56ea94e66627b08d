"""The data argument of `train`: a data set, a folder, or a text file."""

from pathlib import Path

import numpy as np
import pytest

from equipoise.core import catalog
from equipoise.errors import DataError, UnknownNameError
from equipoise.experiment.completion import complete
from equipoise.experiment.data_source import detect_reader, is_path, is_shard_pattern, parse_data_source
from equipoise.experiment.settings import Experiment, PlugSpec

pytestmark = pytest.mark.usefixtures("working_directory")


def test_first_readable_file_decides_the_reader(working_directory: Path) -> None:
    (working_directory / "photos" / "cats").mkdir(parents=True)
    (working_directory / "photos" / "notes.txt").write_text("no data")
    (working_directory / "photos" / "cats" / "a.JPEG").write_bytes(b"")
    assert detect_reader("photos") == ("image_folder", (working_directory / "photos").resolve())
    (working_directory / "windows").mkdir()
    (working_directory / "windows" / "one.csv").write_text("1,2\n3,4\n")
    assert detect_reader("windows")[0] == "csv_windows"


def test_detection_uses_the_files_that_are_read(working_directory: Path) -> None:
    """Class folders that are links; images of a run next to windows; a table of labels after the classes."""
    (working_directory / "other").mkdir()
    (working_directory / "other" / "a.png").write_bytes(b"")
    (working_directory / "linked").mkdir()
    (working_directory / "linked" / "cats").symlink_to(working_directory / "other")
    assert detect_reader("linked")[0] == "image_folder"
    (working_directory / "mixed" / "run" / "samples").mkdir(parents=True)
    for name in ("experiment.json", "events.jsonl", "samples/step-00000000.png"):
        (working_directory / "mixed" / "run" / name).write_text("")
    (working_directory / "mixed" / "windows").mkdir()
    (working_directory / "mixed" / "windows" / "one.csv").write_text("1,2\n3,4\n")
    assert detect_reader("mixed")[0] == "csv_windows"
    (working_directory / "linked" / "labels.csv").write_text("a.png,cat\n")
    assert detect_reader("linked")[0] == "image_folder"


def test_name_of_data_set_takes_precedence_over_folder(working_directory: Path) -> None:
    (working_directory / "digits").mkdir()
    assert not is_path("digits")
    assert is_path("./digits")
    assert parse_data_source("digits", 16) == PlugSpec("digits", {"image_size": 16})


def test_hidden_files_are_ignored(working_directory: Path) -> None:
    (working_directory / "photos" / ".thumbnails").mkdir(parents=True)
    (working_directory / "photos" / ".thumbnails" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"photos contains no image .* no CSV file"):
        detect_reader("photos")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("./nowhere", "there is no folder ./nowhere"),
        ("./file.png", r"./file.png is a single image; give the folder that holds all of them"),
        ("./file.7z", r"./file.7z cannot be read as it is: unpack it; then give the folder or file"),
        ("./file.xyz", r"./file.xyz is a file; give a text file \(.txt\), a table"),
    ],
)
def test_names_that_are_not_paths(working_directory: Path, word: str, message: str) -> None:
    for name in ("file.png", "file.7z", "file.xyz"):
        (working_directory / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        complete(Experiment(data=PlugSpec(word)))


def test_unknown_word_is_reported() -> None:
    with pytest.raises(
        UnknownNameError, match="there is no data set 'digts' and no folder or file of that name; did you mean 'digits'"
    ):
        complete(Experiment(data=PlugSpec("digts")))


def write(folder: Path, **counts: int) -> None:
    """Write empty files: the number of each extension."""
    folder.mkdir()
    for suffix, count in counts.items():
        for number in range(count):
            (folder / f"{number}.{suffix}").write_bytes(b"")


@pytest.mark.parametrize(
    ("counts", "reader"),
    [
        ({"png": 30, "csv": 1}, "image_folder"),
        ({"png": 30, "csv": 30}, "image_folder"),
        ({"png": 1, "csv": 30}, "csv_windows"),
        ({"png": 30, "json": 30}, "image_folder"),
        ({"wav": 30, "csv": 1, "png": 2}, "audio_folder"),
        ({"npz": 30}, "image_folder"),
        ({"parquet": 2, "png": 1}, "image_folder"),
        ({"zip": 1}, "image_folder"),
        ({"tar": 3, "txt": 1}, "image_folder"),
        ({"HEIC": 3}, "image_folder"),
    ],
)
def test_most_files_decide_the_reader(working_directory: Path, counts: dict[str, int], reader: str) -> None:
    write(working_directory / "in", **counts)
    assert detect_reader("in")[0] == reader


@pytest.mark.parametrize(
    ("shape", "reader"),
    [((20, 16, 16), "image_folder"), ((64, 64), "image_folder"), ((128, 3), "csv_windows"), ((500,), "csv_windows")],
)
def test_shape_of_arrays_decides_the_reader(working_directory: Path, shape: tuple[int, ...], reader: str) -> None:
    np.save(working_directory / "a.npy", np.zeros(shape))
    (working_directory / "in").mkdir()
    np.save(working_directory / "in" / "a.npy", np.zeros(shape))
    assert detect_reader("in")[0] == reader
    if shape != (64, 64):  # alone, a table of numbers
        assert detect_reader("a.npy")[0] == reader


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.npz", "a.parquet"])
def test_files_of_images(working_directory: Path, name: str) -> None:
    (working_directory / name).write_bytes(b"")
    assert is_path(name)
    assert parse_data_source(name) == PlugSpec("image_folder", {"folder": str((working_directory / name).resolve())})


def test_missing_file_is_reported() -> None:
    with pytest.raises(DataError, match=r"there is no file faces.zip; check the path"):
        parse_data_source("faces.zip")


def test_images_without_extension_are_noticed(working_directory: Path) -> None:
    (working_directory / "in").mkdir()
    (working_directory / "in" / "IMG_1").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert detect_reader("in")[0] == "image_folder"


def test_other_files_are_named(working_directory: Path) -> None:
    write(working_directory / "in", mp4=3, md=1)
    with pytest.raises(
        DataError, match=r"no sound; it has 3 .mp4 \(video: extract frames\), 1 .md; give a folder that does$"
    ):
        detect_reader("in")


@pytest.mark.parametrize("at", range(0, 128, 8))
def test_damaged_header_of_an_array_is_one_line(tmp_path: Path, at: int) -> None:
    """Its header is an expression: zeros and other bytes in it give errors of many types."""
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8), np.uint8))
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[at : at + 60] = bytes(60)
    (tmp_path / "a.npy").write_bytes(content)
    plug = parse_data_source(str(tmp_path / "a.npy"))
    with pytest.raises(DataError, match="npy"):
        catalog.build("data", plug.name, plug.with_options(cache=str(tmp_path / "cache")).options).resolve()


@pytest.mark.parametrize(
    ("word", "is_pattern"),
    [
        ("data/set-{0000..0099}.tar", True),
        ("data/{a,b}.parquet", True),
        ("*.tar", True),
        ("data/set-?.tar", True),
        ("data/set.tar", False),
        ("data/{set}.tar", False),
        ("data/*.png", False),
    ],
)
def test_patterns_of_shards_are_recognised(word, is_pattern):
    assert is_shard_pattern(word) == is_pattern
