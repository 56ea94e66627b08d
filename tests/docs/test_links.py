"""Every link of the docs leads to a file and a heading, and every page can be reached."""

import os
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BENCHMARKS = sorted(page for page in (ROOT / "benchmarks").rglob("*.md") if not page.name.endswith("_notes.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Return the relative links of a page."""
    return [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]


def target_of(page: Path, link: str) -> Path:
    place = link.partition("#")[0]
    return Path(os.path.normpath(page.parent / place)) if place else page


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *BENCHMARKS, *OTHERS], ids=page_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        target, anchor = target_of(page, link), link.partition("#")[2]
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, new = set(), {DOCS / "index.md"}
    while new:
        reached |= new
        targets = {target_of(page, link) for page in new if page.suffix == ".md" for link in links(page)}
        new = {target for target in targets if target.is_file() and target.suffix == ".md"} - reached
    assert [page_id(page) for page in [*PAGES, *BENCHMARKS] if page not in reached] == []


def test_every_page_is_in_the_navigation_of_the_site(build_site: ModuleType) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"([\w./-]+\.md)$", navigation, re.MULTILINE)
    pages = [str(build_site.site_path(page.relative_to(ROOT))) for page in build_site.pages()]
    assert sorted(listed) == sorted(pages)


def test_links_of_the_site_lead_to_files(build_site: ModuleType, tmp_path: Path) -> None:
    build_site.collect_pages(tmp_path)
    for page in tmp_path.rglob("*.md"):
        assert [link for link in links(page) if not target_of(page, link).exists()] == [], page.relative_to(tmp_path)
