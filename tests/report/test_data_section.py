"""The section of a report on the data, and the files it is read from."""

import json

import pytest

from equipoise.core import catalog
from equipoise.experiment.data_record import record_data
from equipoise.report.data_section import data_section
from equipoise.report.page import write_page
from equipoise.report.run_history import read_history
from equipoise.report.run_summary import quote_word
from equipoise.report.samples import last_samples

from .conftest import Maker, points, started

RECORD = {
    **{"train": 36, "held_out": None, "shape": [3, 16, 16], "classes": 2, "class_names": ["cats", "dogs"]},
    **{"unit": [0.0, 4095.0], "skipped": 2, "notes": ["the images use 12 of 16 bits <b>"]},
}


def test_section_has_facts_notes_and_files(write_run: Maker, empty_figures: None) -> None:
    run = write_run([started()])
    (run.folder / "data.json").write_text(json.dumps(RECORD))
    (run.folder / "skipped.txt").write_text("a/b.heic\tneeds the extra heic\nc.txt\tnot an image\n")
    section = data_section(read_history(run))
    assert section is not None
    facts = dict(section.facts)
    assert (facts["Training samples"], facts["Held-out samples"]) == ("36", "unlimited")
    assert facts["Classes"] == "2: cats, dogs"
    assert facts["Values of −1 and 1"] == "0 and 4,095"
    assert section.skipped == [("a/b.heic", "needs the extra heic"), ("c.txt", "not an image")]
    page = write_page(run).read_text()
    assert "the images use 12 of 16 bits &lt;b&gt;" in page
    assert "needs the extra heic" in page


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"notes": 3, "shape": "x", "unit": [1], "classes": "many", "skipped": 1e999}']
)
def test_damaged_record_is_tolerated(write_run: Maker, empty_figures: None, content: str) -> None:
    run = write_run([started()])
    (run.folder / "data.json").write_text(content)
    assert "Training progress" in write_page(run).read_text()


def test_runs_of_earlier_versions_have_no_section(write_run: Maker) -> None:
    assert data_section(read_history(write_run([started()]))) is None


def test_record_of_a_data_set(write_run: Maker) -> None:
    run = write_run([started()])
    record_data(run.folder, catalog.build("data", "ring").resolve())
    assert json.loads((run.folder / "data.json").read_text())["shape"] == [2]
    assert not (run.folder / "skipped.txt").exists()


def test_words_of_the_command_are_quoted_for_a_shell() -> None:
    assert quote_word("my photos") == "'my photos'"
    assert quote_word("caf\udce9\x1b'\n") == "$'caf\\xe9\\x1b\\'\\n'"


def test_noun_of_sequences(write_run: Maker) -> None:
    run = write_run([started(), points(0, (6, 1, 40))])
    assert read_history(run).sample_noun == "images"
    (run.folder / "data.json").write_text('{"shape": [1, 40]}')
    history = read_history(run)
    samples = last_samples(history)
    assert history.sample_noun == "sequences"
    assert samples is not None
    assert samples.images_seen == "0 sequences"
