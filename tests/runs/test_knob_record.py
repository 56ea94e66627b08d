from pathlib import Path

import pytest

from equipoise.core.knobs import AdversarialKnobs
from equipoise.models.dirac import DiracKnobs
from equipoise.runs.knob_record import KNOBS_FILE, read_knob_ranges, record_knobs


def test_ranges_are_read_as_they_were_recorded(tmp_path: Path) -> None:
    for knobs in (AdversarialKnobs(), DiracKnobs()):
        record_knobs(tmp_path, knobs)
        assert read_knob_ranges(tmp_path) == knobs.ranges()


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"lr_d": 3}', '{"lr_d": {"low": 1}}', "\x00"),
        '{"lr_d": {"low": "x", "high": 1, "unit": "", "scale": "log", "help": ""}}',
        '{"lr_d": {"low": 0, "high": 1, "unit": "", "scale": "<script>", "help": ""}}',
    ],
)
def test_a_damaged_record_counts_as_none(text: str, tmp_path: Path) -> None:
    assert read_knob_ranges(tmp_path) == AdversarialKnobs.ranges()
    (tmp_path / KNOBS_FILE).write_text(text)
    assert read_knob_ranges(tmp_path) == AdversarialKnobs.ranges()


def test_a_run_records_its_knobs(trained: Path) -> None:
    assert read_knob_ranges(trained)["lr_d"] == AdversarialKnobs.ranges()["lr_d"]
    assert (trained / KNOBS_FILE).exists()
