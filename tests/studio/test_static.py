"""The page's files: vendored code is what was published, no markup from text, no inline code, within its budget."""

import hashlib
import re
from pathlib import Path

import equipoise

STATIC = Path(next(iter(equipoise.__path__))) / "studio" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
PUBLISHED = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.d.ts": "af44374f6e808be4f7f3fa5888b9c7574dca9f8a15a66d54b6763535802c8080",
}
"""SHA-256 of the files of uPlot 1.6.32 in the registry of npm."""
MAX_LINES, LONGEST_LINE = 2500, 140


def test_vendored_files_are_the_published_ones() -> None:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor").iterdir()}
    assert digests == PUBLISHED


def test_scripts_are_within_their_budget() -> None:
    """Lines of code of the studio; blank lines and comments, which hold the types, do not count."""
    scripts = [path for path in SCRIPTS if path.name != "report.js"]
    lines = [line.strip() for path in scripts for line in path.read_text().splitlines()]
    assert sum(not line.startswith(("//", "/**", "*")) and bool(line) for line in lines) <= MAX_LINES


def test_lines_are_short() -> None:
    numbered = [
        (path.name, number, line) for path in SCRIPTS for number, line in enumerate(path.read_text().splitlines(), 1)
    ]
    assert [(name, number) for name, number, line in numbered if len(line) > LONGEST_LINE] == []


def test_text_never_becomes_markup() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\"(style|on)"
    )
    assert [path.name for path in SCRIPTS if forbidden.search(path.read_text())] == []


def test_page_has_no_inline_code_and_loads_nothing_foreign() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", page)
    assert all(address.startswith(("/static/", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "@import" not in (STATIC / "style.css").read_text()
