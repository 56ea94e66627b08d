"""The data argument of `train`: a data set, a folder, or a text file."""

from pathlib import Path

import pytest

from equipoise.errors import DataError, UnknownNameError
from equipoise.experiment.completion import complete
from equipoise.experiment.data_source import detect_reader, is_path, parse_data_source
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
        ("./file.png", r"./file.png is a file; give a text file \(.txt\), a table"),
    ],
)
def test_names_that_are_not_paths(working_directory: Path, word: str, message: str) -> None:
    (working_directory / "file.png").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        complete(Experiment(data=PlugSpec(word)))


def test_unknown_word_is_reported() -> None:
    with pytest.raises(
        UnknownNameError, match="there is no data set 'digts' and no folder or file of that name; did you mean 'digits'"
    ):
        complete(Experiment(data=PlugSpec("digts")))
