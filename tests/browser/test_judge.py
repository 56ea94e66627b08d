"""Blind pairs by keys, the interval of the share won, undo, and the choice of a step."""

import json

from tests.browser.answers import open_view, png, wait_until


def test_keys_counts_and_choice(open_page, runs) -> None:
    for step in (180, 240):
        (runs / "done" / "checkpoints" / f"step-{step:08}").mkdir(parents=True, exist_ok=True)
    page = open_page("#/runs")
    page.route("**/api/runs/done/pair/*/*.png", lambda route: route.fulfill(body=png(8, 8), content_type="image/png"))
    page.goto(page.url.split("#")[0] + "#/judge/done")
    page.get_by_text("Drawing two samples").or_(page.get_by_text("Both samples have the same latent")).wait_for()
    ready = page.locator(".pair img[src]:not([aria-busy])")
    labels = runs / "done" / "labels.jsonl"

    def count() -> int:
        return len(labels.read_text().splitlines()) if labels.exists() else 0

    for number, key in enumerate("1202"):
        wait_until(page, lambda: ready.count() == 2)
        page.keyboard.press(key)
        wait_until(page, lambda number=number: count() == number + 1)
    wait_until(page, lambda: ready.count() == 2)
    page.keyboard.press("u")
    wait_until(page, lambda: ready.count() == 2)
    page.get_by_role("button", name="0 Neither").click()
    wait_until(page, lambda: count() == 5)
    answers = [json.loads(line) for line in labels.read_text().splitlines()]
    assert [answer["answer"] for answer in answers] == ["a", "b", "neither", "b", "neither"]
    assert answers[4]["sample"] == answers[3]["sample"]
    page.locator("summary", has_text="Show it").click()
    page.get_by_text("Neither: 2, which do not count.").wait_for()
    page.get_by_role("button", name="Mark step 180 as chosen").first.click()
    page.get_by_text("runs/done --step chosen --out samples.png").wait_for()
    assert page.get_by_role("link", name="Explore the chosen step").is_visible()
    assert json.loads((runs / "done" / "chosen.json").read_text())["step"] == 180


def test_run_with_one_checkpoint_says_so(open_page) -> None:
    assert "fewer than two checkpoints" in open_view(open_page, "#/judge/live").inner_text("main")
