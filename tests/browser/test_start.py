"""The form that starts a run: what will happen before the start, errors next to their field, a duplicate."""

import json

from tests.browser.answers import intercept, wait_until

SETTING = {"help": "", "choices": [], "minimum": None, "above": None, "maximum": None, "unit": ""}
CATALOG = {
    "data": [{"name": "digits", "help": "Handwritten digits."}, {"name": "ring", "help": "Points."}],
    "models": [{"name": "dcgan", "help": "DCGAN.", "presets": [{"name": "lab32", "help": "width = 16"}]}],
    "controllers": [{"name": "annealed", "help": "", "presets": []}],
    "settings": [
        {**SETTING, "name": "batch_size", "type": "int", "group": "Data"},
        {**SETTING, "name": "repair", "type": "bool", "group": "Knobs"},
        {**SETTING, "name": "knobs", "type": "table", "group": "Knobs"},
    ],
}
PREVIEW = {
    **{"command": "equipoise train digits", "shape": [1, 8, 8], "train": 4000, "held_out": 1000, "classes": ["a", "b"]},
    **{"notes": ["grey pictures"], "skipped": ["x.png: damaged"], "skipped_count": 124, "thumbnails": []},
    **{"seconds": 40, "report_seconds": 5, "memory": 5e8, "parameters": {"generator": 7, "discriminator": 5}},
    "error": None,
}


def open_form(open_page, view: str = "#/start"):
    page = open_page("#/runs")
    intercept(page, "**/api/catalog", lambda _: CATALOG, "GET")
    previews = intercept(page, "**/api/preview", answer_preview)
    page.goto(page.url.split("#")[0] + view)
    page.get_by_text("equipoise train digits").wait_for()
    return page, previews


def control(page, label: str):
    """The control under a label, whatever else the label has."""
    return page.locator(f".field:has(> span:text-is('{label}')) > :nth-child(2)")


def answer_preview(body: dict) -> dict:
    size = body.get("batch_size", 1)
    return PREVIEW if size >= 1 else {**PREVIEW, "error": f"batch_size = {size}: it must be at least 1"}


def test_preview_start_and_error(open_page) -> None:
    page, previews = open_form(open_page)
    text = page.inner_text("main")
    for words in ("4,000", "about 40 s", "500 MB", "124 files will be left out", "x.png: damaged", "grey pictures"):
        assert words in text, words
    control(page, "batch size").fill("0")
    page.get_by_text("batch_size = 0: it must be at least 1").wait_for()
    inside = control(page, "batch size").locator("../..")
    assert "must be at least 1" in inside.inner_text()
    assert page.get_by_role("button", name="Start", exact=True).is_disabled()
    control(page, "batch size").fill("16")
    control(page, "Model").select_option("dcgan")
    control(page, "Preset").select_option("lab32")
    page.locator("summary", has_text="Knobs").click()
    control(page, "knobs").fill("lr_d=0.001, augment_p=linear(0, 0.5)")
    control(page, "repair").select_option("false")
    wait_until(
        page, lambda: "repair" in previews[-1] and page.get_by_role("button", name="Start", exact=True).is_enabled()
    )
    started = intercept(page, "**/api/runs", lambda _: {"id": "done"})
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**#/run/done")
    knobs = {"lr_d": 0.001, "augment_p": "linear(0, 0.5)"}
    assert started == [
        {"data": "digits", "minutes": 2, "batch_size": 16, "model": "dcgan:lab32", "knobs": knobs, "repair": False}
    ]


def test_the_data_are_shown_before_the_cost_is_known(open_page) -> None:
    page, _ = open_form(open_page)
    unknown = dict.fromkeys(("seconds", "report_seconds", "memory", "parameters"))
    page.route(
        "**/api/preview", lambda route: route.fulfill(body=json.dumps({**PREVIEW, "train": 17, **unknown}) + "\n")
    )
    control(page, "batch size").fill("8")
    page.get_by_text("measuring a few steps").wait_for()
    assert "17" in page.inner_text(".tiles")
    assert "Memory" not in page.inner_text(".tiles")


def test_what_was_sent_is_not_checked_again(open_page) -> None:
    page, previews = open_form(open_page)
    page.route("**/api/runs", lambda route: None if route.request.method == "POST" else route.continue_())
    control(page, "batch size").fill("0")  # its check would start half a second later
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("Starting the process").wait_for()
    page.wait_for_timeout(800)
    assert len(previews) == 1
    assert page.locator("form [role=alert]:visible").count() == 0
    assert page.get_by_role("button", name="Start", exact=True).is_disabled()


def test_duplicate_begins_with_the_settings_of_a_run(open_page) -> None:
    page, previews = open_form(open_page, "#/start?from=done")
    assert previews[0]["steps"] == 400
    assert previews[0]["model"] == {"name": "dcgan"}
    assert "format" not in previews[0]
    assert control(page, "Model").input_value() == "dcgan"
