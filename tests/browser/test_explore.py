"""The explorer: one request at a time and the newest next, keys, names of samples, what acts, captures."""

from pathlib import Path

import pytest

from tests.browser.answers import FACTS, intercept, png, wait_until

COUNT_REQUESTS = """
    window.most = 0;
    let open = 0;
    const original = window.fetch;
    window.fetch = async (...args) => {
      window.most = Math.max(window.most, ++open);
      try { return await original(...args); } finally { open -= 1; }
    };
"""


@pytest.fixture
def explorer(open_page):
    """Return a function that opens the explorer of a model with styles, and the requests that it sends."""

    def open_explorer(view: str = "", answer=lambda _: png()):
        page = open_page("#/runs")
        intercept(page, "**/api/explore/done*", lambda _: FACTS, "GET")
        bodies = intercept(page, "**/api/explore", answer)
        page.goto(page.url.split("#")[0] + f"#/explore/done{view}")
        page.locator(".picture-place img[src^=blob]").wait_for()
        return page, bodies

    return open_explorer


def test_plane_by_keys_and_by_drag(explorer) -> None:
    page, bodies = explorer()
    plane = page.get_by_role("group", name="Plane of latents")
    plane.press("ArrowRight")
    plane.press("Shift+ArrowDown")
    wait_until(page, lambda: (bodies[-1]["x"], bodies[-1]["y"]) == (0, 1))
    page.evaluate(COUNT_REQUESTS)
    box = plane.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 50)
    page.mouse.down()
    for offset in range(40):
        page.mouse.move(box["x"] + 200 - offset, box["y"] + 50)
    page.mouse.up()
    wait_until(page, lambda: bodies[-1]["x"] > 0.04)
    assert all(body["kind"] == "plane" and body["run"] == "done" for body in bodies)
    assert page.evaluate("window.most") == 1
    assert page.get_by_text("equipoise sample runs/done --label 'a b' --out grid.png").is_visible()


def test_settings_that_act(explorer) -> None:
    page, bodies = explorer("?view=grid")
    assert page.get_by_text("Guidance").count() == 0
    page.get_by_label("psi, as a number").fill("0.7")
    page.get_by_label("psi, as a number").press("Enter")
    page.get_by_label("Class").select_option("1")
    page.get_by_label("Weights").select_option("180")
    wait_until(page, lambda: bodies[-1]["step"] == 180)
    assert bodies[-1]["sampling"] == {"psi": 0.7}
    assert bodies[-1]["label"] == 1


def test_names_of_samples_from_grid_to_arithmetic(explorer) -> None:
    page, bodies = explorer("?view=grid")
    marks = intercept(page, "**/api/runs/done/labels", lambda _: {})
    image = page.locator(".picture-place img")
    box = image.bounding_box()
    image.click(position={"x": box["width"] / 58 * 14, "y": box["height"] / 58 * 4})
    page.get_by_role("button", name="Mark: good").click()
    wait_until(page, lambda: marks == [{"kind": "mark", "sample": "0/1", "step": 240, "answer": "keep"}])
    page.get_by_role("radio", name="Arithmetic").check(force=True)
    field = page.get_by_label("Mean of", exact=True)
    assert field.input_value() == "0/1"
    field.focus()
    page.get_by_role("button", name="0/1", exact=True).click()
    wait_until(page, lambda: bodies[-1].get("plus") == [["0/1", "0/1"], ["0/2"]])


def test_capture_and_error(explorer, tmp_path: Path) -> None:
    page, bodies = explorer(
        "?view=interpolate", lambda body: (422, {"error": "no"}) if body.get("start") == ["x"] else png()
    )
    with page.expect_download() as film:
        page.get_by_role("button", name="Save film").click()
    assert film.value.suggested_filename == "done-interpolate.mp4"
    assert bodies[-1]["save"] == "film"
    page.get_by_label("From", exact=True).fill("x")
    page.get_by_role("alert").get_by_text("no").wait_for()
    page.get_by_label("From", exact=True).fill("3/1")
    wait_until(page, lambda: page.get_by_role("alert").count() == 0)
