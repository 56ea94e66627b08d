"""The explorer: one request at a time and the newest next, keys, names of samples, what acts, captures."""

from pathlib import Path

import pytest

from tests.browser.answers import FACTS, Json, intercept, png, wait_until

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
    """Return a function that opens the explorer of a model with classes, and the requests that it sends."""

    def open_explorer(view: str = "", answer=lambda _: png()):
        page = open_page("#/runs")
        intercept(page, "**/api/explore/done*", lambda _: FACTS, "GET")
        intercept(page, "**/api/explore/samples/*", lambda _: png(8, 8), "GET")
        bodies = intercept(page, "**/api/explore", answer)
        page.goto(page.url.split("#")[0] + f"#/explore/done{view}")
        page.locator(".picture-place img[src^=blob]").wait_for()
        return page, bodies

    return open_explorer


def by_kind(bodies: list[Json], kind: str) -> Json:
    """The last request of a kind."""
    return next((body for body in reversed(bodies) if body["kind"] == kind), {})


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
    assert page.get_by_text("Lower: more typical, less varied.").is_visible()
    wait_until(page, lambda: bodies[-1]["step"] == 180)
    assert bodies[-1]["sampling"] == {"psi": 0.7}
    assert bodies[-1]["label"] == 1


def test_a_better_seven(explorer, tmp_path: Path) -> None:
    """Choose a sample, mark it, save it alone, and find it again after a reload."""
    page, bodies = explorer("?view=grid&label=1&psi=0.7")
    marks = intercept(page, "**/api/runs/done/labels", lambda _: {"marks": {"0/27": "keep"}})
    intercept(page, "**/api/runs/done/labels?step=240", lambda _: {"marks": {"0/27": "keep"} if marks else {}}, "GET")
    page.locator(".cells label").nth(27).click()
    chosen = page.get_by_role("region", name="Chosen sample")
    chosen.get_by_text("0/27 · Step 240 · Class one · psi 0.7").wait_for()
    wait_until(page, lambda: by_kind(bodies, "seeds") != {})
    recipe = by_kind(bodies, "seeds")
    assert (recipe["samples"], recipe["step"], recipe["label"], recipe["sampling"]) == (["0/27"], 240, 1, {"psi": 0.7})
    chosen.get_by_text("equipoise sample runs/done").wait_for()
    chosen.get_by_role("button", name="Mark: good").click()
    wait_until(page, lambda: marks == [{"kind": "mark", "sample": "0/27", "step": 240, "answer": "keep"}])
    page.locator(".cells label").nth(27).get_by_text("✓").wait_for()
    chosen.get_by_label("Size of the saved picture").select_option("8")
    with page.expect_download() as saved:
        chosen.get_by_role("button", name="Save this one").click()
    assert saved.value.suggested_filename == "done-0-27.png"
    assert (by_kind(bodies, "seeds")["scale"], by_kind(bodies, "seeds")["samples"]) == (8, ["0/27"])
    wait_until(page, lambda: "sample=0%2F27" in page.url and "step=240" in page.url)
    page.reload()
    chosen.get_by_text("0/27 · Step 240 · Class one · psi 0.7").wait_for()
    page.get_by_role("radio", name="0/27 good", checked=True).wait_for()
    assert page.get_by_role("radio", name="Samples").is_checked()
    page.get_by_role("radio", name="0/27").press("ArrowRight")
    chosen.get_by_text("0/28 · Step 240").wait_for()


def test_the_shelf_shows_pictures_again(explorer) -> None:
    page, bodies = explorer("?view=grid&label=1")
    page.locator(".cells label").nth(3).click()
    shelf = page.get_by_role("region", name="Shelf")
    shelf.get_by_role("button", name="0/3", exact=True).wait_for()
    assert shelf.locator("img").count() == 1
    page.get_by_label("Class").select_option("0")
    page.get_by_role("radio", name="Plane").check(force=True)
    before = len(bodies)
    shelf.get_by_role("button", name="0/3", exact=True).click()
    shown = ("seeds", 1)  # besides the plane, in any order
    wait_until(page, lambda: shown in [(body["kind"], body["label"]) for body in bodies[before:]])
    assert page.get_by_label("Class").input_value() == "1"
    assert shelf.get_by_role("button", name="Add").count() == 0


@pytest.mark.parametrize("kept", ['[{"name": "0/3"', "7", '[1, null, {"prompt": ""}]'])
def test_a_damaged_shelf_is_empty(explorer, kept: str) -> None:
    page, _ = explorer("?view=grid")
    page.evaluate("kept => localStorage.setItem('shelf done', kept)", kept)
    page.reload()
    page.get_by_text("Samples that you choose are kept here.").wait_for()


def test_fields_stay_when_the_tab_changes(explorer) -> None:
    page, bodies = explorer("?view=arithmetic&plus=0/27")
    assert page.get_by_label("Mean of", exact=True).input_value() == "0/27"
    page.get_by_label("minus the mean of").fill("")
    page.get_by_role("radio", name="Interpolate").check(force=True)
    page.get_by_role("radio", name="Arithmetic").check(force=True)
    assert page.get_by_label("minus the mean of").input_value() == ""
    wait_until(page, lambda: (bodies[-1].get("plus"), bodies[-1].get("minus")) == ("0/27", ""))
    wait_until(page, lambda: "minus=&" in page.url)
    page.reload()
    page.get_by_label("minus the mean of").wait_for()
    assert page.get_by_label("minus the mean of").input_value() == ""


def test_latents_are_loaded_and_used(explorer, tmp_path: Path) -> None:
    page, bodies = explorer("?view=arithmetic", lambda body: {"name": "@l1"} if body["kind"] == "load" else png())
    (tmp_path / "mine.safetensors").write_bytes(b"latents")
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.safetensors")
    page.get_by_role("button", name="Add @l1 to the field “Mean of”").click()
    wait_until(page, lambda: by_kind(bodies, "arithmetic").get("plus") == "0/0, @l1")
    assert (by_kind(bodies, "load")["file"], by_kind(bodies, "load")["latents"]) == ("mine.safetensors", "bGF0ZW50cw==")
    assert by_kind(bodies, "seeds")["samples"] == ["@l1"]


def test_capture_and_error(explorer, tmp_path: Path) -> None:
    page, bodies = explorer(
        "?view=interpolate", lambda body: (422, {"error": "no"}) if body.get("start") == "x" else png()
    )
    with page.expect_download() as film:
        page.get_by_role("button", name="Save film").click()
    assert film.value.suggested_filename == "done-interpolate.mp4"
    assert bodies[-1]["save"] == "film"
    page.get_by_label("From", exact=True).fill("x")
    page.get_by_role("alert").get_by_text("no").wait_for()
    page.get_by_label("From", exact=True).fill("3/1")
    wait_until(page, lambda: page.get_by_role("alert").count() == 0)
