"""Fixtures to run commands in this process, in an empty folder."""

from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.cli.commands import _follow_run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs a command without report: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_follow_run, "write_report_files", lambda folder: (folder / "report.html", None))

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return code, *capsys.readouterr()

    return run
