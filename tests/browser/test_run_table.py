"""The table of runs: filter, sort, notes, archive, news; with a keyboard alone, and on narrow screens."""

import json
from pathlib import Path

from tests.browser.conftest import make_run


def names(page) -> list[str]:
    return page.locator(".run-name").all_inner_texts()


def test_filter_and_sort(open_page) -> None:
    page = open_page("#/runs")
    assert len(names(page)) >= 100
    page.get_by_label("Filter the runs").fill("old-9")
    assert sorted(names(page)) == [f"old-{index}" for index in range(90, 98)]
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    assert names(page) == [f"old-{index}" for index in range(97, 89, -1)]
    page.get_by_label("Filter the runs").fill("")
    page.get_by_role("radio", name="Running").check()
    assert names(page) == ["live"]
    assert "state=running" in page.url


def test_a_click_on_a_row_opens_its_run(open_page) -> None:
    page = open_page("#/runs?q=done")
    page.locator("tr.opens td").nth(6).click()
    page.get_by_role("heading", name="done", exact=True).wait_for()


def test_tags_and_archive(open_page, runs: Path) -> None:
    page = open_page("#/runs?q=old-07")
    page.get_by_role("button", name="Tags and note of old-07").click()
    page.get_by_label("Tags, with").fill("baseline, first")
    page.get_by_label("Note", exact=True).fill("<b>not markup</b>")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("<b>not markup</b>").wait_for()
    page.get_by_role("button", name="Archive").click()
    page.get_by_text("No run matches.").wait_for()
    stored = json.loads((runs / "old-07" / "annotations.json").read_text())
    assert stored["tags"] == ["baseline", "first"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("link", name="old-07").wait_for()


def test_a_new_run_appears(open_page, runs: Path) -> None:
    page = open_page("#/runs?q=new-one")
    make_run(runs / "new-one")
    page.get_by_role("link", name="new-one").wait_for(timeout=10_000)


def test_keyboard(open_page) -> None:
    page = open_page("#/runs?q=live")
    page.reload()
    page.wait_for_selector(".run-name")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "run-name":
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="live", exact=True).wait_for()
    assert page.evaluate("document.activeElement.id") == "main"


def test_narrow_screen_does_not_scroll_sideways(open_page) -> None:
    page = open_page("#/runs?q=live", viewport={"width": 360, "height": 760})
    for view in ("#/runs?q=live", "#/run/done"):
        page.goto(page.url.split("#")[0] + view)
        page.wait_for_selector(".lane-name" if "run/" in view else ".run-name")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_seven_tabs_are_live(open_page, runs: Path) -> None:
    """Browsers allow six connections a host, so one tab holds the stream for all."""
    first = open_page("#/runs?q=tab-run")
    pages = [first, *(open_page("#/runs?q=tab-run", first.context) for _ in range(6))]
    make_run(runs / "tab-run")
    for page in pages:
        page.get_by_role("link", name="tab-run").wait_for(timeout=15_000)
