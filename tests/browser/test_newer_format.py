"""A run that a newer version has written: one line in the table and in place of each view, and how to update."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.runs.migration import FORMAT

READS = f"format {FORMAT + 1}, newer than this version reads ({FORMAT})"
UPDATE = "pip install --upgrade equipoise"


@pytest.fixture
def newer(runs: Path) -> Iterator[Path]:
    folder = runs / "newer"
    folder.mkdir()
    (folder / "experiment.json").write_text(json.dumps({"format": FORMAT + 1}))
    yield folder
    shutil.rmtree(folder)


def test_the_table_and_the_views(open_page, newer: Path) -> None:
    page = open_page("#/runs?q=newer")
    row = page.locator("tr", has=page.get_by_role("link", name="newer", exact=True))
    assert READS in row.inner_text()
    assert UPDATE in row.inner_text()
    for view in ("run", "explore", "judge"):
        page.goto(page.url.split("#")[0] + f"#/{view}/newer")
        page.locator(f".{view} [role=alert]", has_text=READS).first.wait_for()
        assert UPDATE in page.inner_text("main")
    page.get_by_role("link", name="Back to the runs").click()
    page.locator(".run-name").first.wait_for()
    page.goto(page.url.split("#")[0] + "#/compare?runs=done,newer")
    page.locator(".notice.error", has_text=READS).wait_for()
    page.locator(".compare .chart canvas").first.wait_for()  # the other runs are compared
