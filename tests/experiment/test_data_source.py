"""What a word after `train` stands for: a data set, or a folder of one's own."""

from pathlib import Path

import pytest

from equipoise.errors import DataError, UnknownNameError
from equipoise.experiment.data_source import is_folder, kind_of
from equipoise.experiment.settings import Experiment, PlugSpec, complete, named_data


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_file_that_can_be_read_tells_what_a_folder_is(here: Path) -> None:
    (here / "photos" / "cats").mkdir(parents=True)
    (here / "photos" / "notes.txt").write_text("nothing to train on")
    (here / "photos" / "cats" / "a.JPEG").write_bytes(b"")
    assert kind_of("photos") == ("image_folder", (here / "photos").resolve())
    (here / "windows").mkdir()
    (here / "windows" / "one.csv").write_text("1,2\n3,4\n")
    assert kind_of("windows")[0] == "csv_windows"


def test_what_decides_is_what_is_read(here: Path) -> None:
    """Class folders that are links; a run that left pictures beside windows; a table of labels behind the classes."""
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "a.png").write_bytes(b"")
    (here / "linked").mkdir()
    (here / "linked" / "cats").symlink_to(here / "elsewhere")
    assert kind_of("linked")[0] == "image_folder"
    (here / "mixed" / "run" / "samples").mkdir(parents=True)
    for name in ("experiment.json", "events.jsonl", "samples/step-00000000.png"):
        (here / "mixed" / "run" / name).write_text("")
    (here / "mixed" / "windows").mkdir()
    (here / "mixed" / "windows" / "one.csv").write_text("1,2\n3,4\n")
    assert kind_of("mixed")[0] == "csv_windows"
    (here / "linked" / "labels.csv").write_text("a.png,cat\n")
    assert kind_of("linked")[0] == "image_folder"


def test_a_data_set_wins_over_a_folder_of_its_name(here: Path) -> None:
    (here / "digits").mkdir()
    assert not is_folder("digits")
    assert is_folder("./digits")
    assert named_data("digits", 16) == PlugSpec("digits", {"image_size": 16})


def test_hidden_files_are_not_data(here: Path) -> None:
    (here / "photos" / ".thumbnails").mkdir(parents=True)
    (here / "photos" / ".thumbnails" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"there is no image .* and no CSV file in photos"):
        kind_of("photos")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("./nowhere", "there is no folder ./nowhere"),
        ("./file.png", r"./file.png is a file; give a text file \(.txt\), or the"),
    ],
)
def test_what_is_no_folder(here: Path, word: str, message: str) -> None:
    (here / "file.png").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        complete(Experiment(data=PlugSpec(word)))


def test_a_word_that_is_neither() -> None:
    with pytest.raises(UnknownNameError, match="there is no data set 'digts'; did you mean 'digits'"):
        complete(Experiment(data=PlugSpec("digts")))
