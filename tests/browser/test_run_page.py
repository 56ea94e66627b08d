"""The page of a run: one clock, the timeline, charts, knobs, health; by keyboard, without motion, in both themes."""

import json
import shutil
from pathlib import Path

CLOCK = "#clock"


def clock_of(page) -> int:
    return int(page.input_value(CLOCK))


def test_one_clock(open_page, wait) -> None:
    page = open_page("#/run/done")
    page.locator(".chart canvas").first.wait_for()
    assert clock_of(page) == 240
    page.get_by_role("button", name="Remedies, step 80").click()
    assert clock_of(page) == 80
    page.get_by_alt_text("Samples of step 80").wait_for()
    assert "mode collapse" in page.get_by_label("Health").inner_text()
    assert "r1_gamma 1" in page.locator(".why").inner_text()
    plot = page.locator(".chart .u-over").first
    box = plot.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    assert abs(clock_of(page) - 120) < 8
    wait(lambda: page.url.endswith(f"step={clock_of(page)}"))
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Whole run").click()


def test_keys_move_the_clock(open_page, wait) -> None:
    page = open_page("#/run/done?step=100")
    page.locator("button[aria-label=Play]:enabled").wait_for()  # the samples are loaded
    wait(lambda: clock_of(page) == 100)
    page.keyboard.press("ArrowLeft")
    assert clock_of(page) == 80
    page.keyboard.press("ArrowRight")
    assert clock_of(page) == 120
    page.locator(".chart canvas").first.wait_for()
    page.locator(".chart").first.focus()
    page.keyboard.press("ArrowRight")
    assert clock_of(page) == 122
    page.locator(".mark.checkpoint").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert clock_of(page) == 240
    page.locator("main").focus()
    page.keyboard.press("Space")
    wait(lambda: clock_of(page) != 240)
    page.keyboard.press("+")
    page.get_by_role("button", name="Whole run").wait_for()
    page.keyboard.press("0")
    page.get_by_role("button", name="Whole run").wait_for(state="hidden")


def test_reduced_motion(open_page) -> None:
    page = open_page("#/run/done?step=40", reduced_motion="reduce")
    assert page.get_by_role("button", name="Play").is_disabled()
    page.locator("main").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(400)
    assert clock_of(page) == 40


def test_samples(open_page) -> None:
    page = open_page("#/run/done?step=80")
    page.get_by_alt_text("Samples of step 80").wait_for()
    page.get_by_role("group", name="Grid of samples").press("ArrowRight")
    page.get_by_role("heading", name="Sample 0").wait_for()
    page.get_by_role("button", name="Go to step 40").click()
    assert clock_of(page) == 40


def test_axes_and_numbers(open_page) -> None:
    page = open_page("#/run/done")
    page.locator(".chart canvas").first.wait_for()
    page.get_by_role("radio", name="images").check()
    chart = page.locator(".chart").first
    chart.hover()
    chart.get_by_text("Numbers").click()
    chart.get_by_text("3,840", exact=True).wait_for()
    assert chart.locator("tbody tr").count() <= 25


def test_knob_is_set_waits_and_is_released(open_page, runs: Path, wait) -> None:
    page = open_page("#/run/live")
    knob, requests = page.locator("[data-knob=lr_d]"), runs / "live" / "requests"
    slider = knob.get_by_role("slider")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "1.66e-4"
    knob.get_by_role("button", name="Set to").click()
    knob.get_by_text("waiting").wait_for()
    wait(lambda: len(list(requests.glob("*.json"))) == 1)
    file = next(requests.glob("*.json"))
    request = json.loads(file.read_text())
    assert (request["action"], request["knob"], request["value"]) == ("turn", "lr_d", 1.66e-4)
    take(
        runs / "live",
        file,
        [{"event": "turned", "knob": "lr_d", "from": 2e-4, "to": 1.66e-4, "by": "manual", "why": ""}],
    )
    knob.get_by_text("manual").wait_for()
    assert not knob.get_by_text("waiting").count()
    assert knob.locator(".ghost").is_visible()
    page.get_by_role("button", name="Manual, step 240").wait_for()
    knob.get_by_role("button", name="Release lr_d").click()
    wait(lambda: len(list(requests.glob("*.json"))) == 1)
    file = next(requests.glob("*.json"))
    assert json.loads(file.read_text())["action"] == "release"
    take(
        runs / "live",
        file,
        [{"event": "turned", "knob": "lr_d", "from": 1.66e-4, "to": 2e-4, "by": "annealed", "why": ""}],
    )
    knob.locator(".chip").wait_for(state="detached")


def take(folder: Path, file: Path, lines: list[dict[str, object]]) -> None:
    """Take a request as the training loop does: remove its file, write the event and what follows."""
    request = {**json.loads(file.read_text()), "event": "requested", "request": file.stem, "text": "", "refused": ""}
    file.unlink()
    with (folder / "events.jsonl").open("a") as log:
        for line in [request, *lines]:
            log.write(json.dumps({**line, "step": 240, "images": 3840}) + "\n")


def test_a_value_out_of_range_is_refused(open_page, runs: Path) -> None:
    page = open_page("#/run/live")
    box = page.get_by_label("lr_g, value")
    box.fill("5")
    box.press("Enter")
    page.locator(".notice.error", has_text="1e-06 to 0.01").wait_for()
    assert page.locator("[data-knob=lr_g]").get_by_text("waiting").count() == 0


def test_advice_is_applied(open_page, runs: Path, wait) -> None:
    page, requests = open_page("#/run/live"), runs / "live" / "requests"
    page.get_by_label("Health").get_by_role("button", name="Set ").first.click()
    wait(lambda: len(list(requests.glob("*.json"))) == 1)
    for file in requests.glob("*.json"):
        file.unlink()


def test_advice_leads_to_the_form_of_a_new_run(open_page) -> None:
    page = open_page("#/run/done")
    page.get_by_role("button", name="Resume").click()
    assert page.get_by_label("Total steps").input_value() == "400"
    page.keyboard.press("Escape")
    page.locator(".chart canvas").first.wait_for()
    assert page.locator(".chart summary").first.is_visible()
    page.get_by_text("Drag to zoom, double-click for the whole run").wait_for()


def test_a_run_that_ended_offers_to_resume(open_page) -> None:
    page = open_page("#/run/done")
    page.get_by_role("button", name="Resume").wait_for()
    assert page.get_by_role("button", name="Stop").count() == 0
    assert page.locator("[data-knob=lr_g]").get_by_role("slider").is_disabled()


def test_a_page_offers_no_action_before_it_knows_the_state_of_the_run(open_page) -> None:
    page = open_page("#/runs")
    held = []
    page.route("**/api/runs/done", lambda route: held.append(route))
    page.evaluate("location.hash = '#/run/done'")
    page.locator(".knobs").wait_for(state="attached")
    assert page.locator(".run-head").get_by_role("button").count() == 0
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.get_by_role("button", name="Resume").wait_for()


def test_a_run_that_ended_takes_tags_and_a_note(open_page, runs: Path) -> None:
    page = open_page("#/run/done")
    page.get_by_role("button", name="Tags and note").click()
    page.get_by_label("Tags, with").fill("baseline")
    page.get_by_label("Note", exact=True).fill("<b>lr_d</b> was too low")
    page.get_by_role("button", name="Save").click()
    page.locator(".run-note").get_by_text("<b>lr_d</b> was too low").wait_for()
    page.locator("h1 ~ .chip", has_text="baseline").wait_for()
    stored = runs / "done" / "annotations.json"
    assert json.loads(stored.read_text())["tags"] == ["baseline"]
    stored.unlink()


def test_unknown_run(open_page) -> None:
    page = open_page("#/run/nothing-here")
    assert "nothing-here" in page.get_by_role("alert").inner_text()


def test_samples_that_are_texts(open_page, runs: Path) -> None:
    folder = runs / "texts"
    (folder / "samples").mkdir(parents=True)
    (folder / "experiment.json").write_text((runs / "done" / "experiment.json").read_text())
    with (folder / "events.jsonl").open("w") as log:
        log.write(json.dumps({"event": "started", "step": 0, "images": 0, "steps": 20}) + "\n")
        for step, words in ((0, "first"), (20, "<img src=x> second")):
            (folder / "samples" / f"step-{step:08}.txt").write_text(f"{words} text\nanother\n")
            line = {"event": "sampled", "step": step, "images": step, "samples": f"samples/step-{step:08}.txt"}
            log.write(json.dumps(line) + "\n")
        log.write(json.dumps({"event": "resumed", "step": 20, "images": 20}) + "\n")  # a lane of the timeline
    page = open_page("#/run/texts")
    page.get_by_text("<img src=x> second text").wait_for()
    assert page.get_by_role("list", name="Samples of step 20").locator("li").count() == 2
    assert page.get_by_role("group", name="Grid of samples").count() == 0
    page.locator("main").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("first text").wait_for()
    page.get_by_role("list", name="Samples of step 0").wait_for()
    shutil.rmtree(folder)
