"""report.html in a browser: charts on one clock, from disk, without network; complete without scripts."""

from pathlib import Path

import pytest

from equipoise.report.page import write_report
from equipoise.runs.run import Run
from tests.browser.conftest import make_run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    make_run(folder)
    return write_report(Run(folder))


def test_report_is_interactive_from_disk(browser, report: Path) -> None:
    context = browser.new_context(offline=True)
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.goto(report.as_uri())
    page.locator(".chart canvas").first.wait_for()
    assert not page.locator(".progress").is_visible()
    last = page.locator("#interactive .samples img").get_attribute("src")
    page.get_by_label("Step of the samples").press("Home")
    assert page.locator("#clock-step").inner_text() == "step 0"
    assert page.locator("#interactive .samples img").get_attribute("src") != last
    page.get_by_role("radio", name="time").check()
    page.locator(".chart[aria-label^='Chart: Losses']").press("End")
    assert page.locator("#clock-step").inner_text() == "step 240"
    assert problems == []
    context.close()


def test_report_without_scripts_shows_the_figure(browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".progress").is_visible()
    assert not page.locator("#interactive").is_visible()
    context.close()
