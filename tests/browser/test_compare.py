"""Runs against each other: curves over each other, samples of a common step, what differs."""

import json

from tests.browser.answers import open_view, wait_until


def test_two_runs(open_page, runs) -> None:
    experiment = json.loads((runs / "done" / "experiment.json").read_text())
    changed = {**experiment, "seed": 7}
    (runs / "done" / "experiment.json").write_text(json.dumps(changed))
    page = open_view(open_page, "#/compare?runs=live,done", "table")
    row = page.get_by_role("row", name="seed")
    assert row.inner_text().split() == ["seed", "0", "7"]
    page.locator(".chart canvas").first.wait_for()
    first = page.locator(".chart").first
    assert first.locator(".legend").inner_text().replace("\n", " ").startswith("live")
    pictures = page.locator(".side-by-side img")
    assert pictures.count() == 2
    page.get_by_label("Step of the samples").press("Home")
    wait_until(page, lambda: all("/samples/0.png" in (each.get_attribute("src") or "") for each in pictures.all()))
    page.get_by_role("radio", name="time").check(force=True)
    wait_until(page, lambda: page.locator(".chart canvas").count() >= 1)
    page.get_by_role("button", name="Remove done").click()
    page.wait_for_url("**#/compare?runs=live")
    page.get_by_text("Add a second run to see what differs.").wait_for()
    page.get_by_role("heading", name="Samples at the same step").wait_for()
