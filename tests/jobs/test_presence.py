"""Which processes work on a folder, also after this computer has slept."""

import dataclasses
from pathlib import Path

import pytest

from equipoise.errors import RunError
from equipoise.jobs.identity import this_process
from equipoise.jobs.presence import present


def test_a_process_that_must_be_alone_notices_one_that_began_while_it_slept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    monkeypatch.setattr("equipoise.jobs.presence.clock_with_sleep", lambda: seconds)
    far = dataclasses.replace(this_process(), machine="far")
    with present(tmp_path, this_process(), "alone", tmp_path) as check:
        check()
        (tmp_path / "other").mkdir()
        with present(tmp_path / "other", far, "joined", tmp_path):
            (tmp_path / "other" / f"{far.token}.json").rename(tmp_path / f"{far.token}.json")
            check()
            seconds = 1000.0
            with pytest.raises(RunError, match=r"in use by another process with --join on .*; add --join, or wait"):
                check()
