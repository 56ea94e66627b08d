"""A log on the page: findings in words, and advice that a click applies to a run, with undo."""

from tests.browser.answers import intercept, open_view, wait_until

FINDING = {
    **{"symptom": "discriminator_overpowering", "label": "discriminator overpowering", "severity": 0.8, "since": 200},
    **{"unit": "step", "evidence": {"rank_train_fake": 0.97}, "advice": ["Lower lr_d."], "code": []},
    "changes": [{"knob": "lr_d", "why": "multiply it by 0.5"}],
}
DIAGNOSIS = {
    **{"verdict": "unhealthy", "summary": "1 symptom; 150 readings", "notes": ["read as text"], "missing": []},
    "findings": [FINDING],
}


def test_finding_and_one_click(open_page, runs) -> None:
    page = open_view(open_page, "#/diagnose")
    page.route("**/api/diagnose*", lambda route: route.fulfill(json=DIAGNOSIS))
    page.get_by_label("Or paste its lines").fill("step 1 loss_D 0.1 loss_G 2")
    page.get_by_text("1 symptom; 150 readings").wait_for()
    text = page.inner_text("main")
    severity = "severity 80 % (how bad, not how certain), since step 200"
    for words in ("discriminator overpowering", severity, "rank_train_fake 0.97", "Lower lr_d."):
        assert words in text, words
    advice = {"changes": [{"knob": "lr_d", "from": 2e-4, "to": 1e-4}]}
    page.route("**/api/runs/live/advice*", lambda route: route.fulfill(json=advice))
    sent = intercept(page, "**/api/runs/live/requests", lambda _: (202, {"request": "1"}))
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("button", name="Undo").click()
    wait_until(page, lambda: len(sent) == 2)
    assert sent == [{"action": "turn", "knob": "lr_d", "value": 1e-4}, {"action": "release", "knob": "lr_d"}]


def test_error_in_one_line(open_page) -> None:
    page = open_view(open_page, "#/diagnose")
    page.route("**/api/diagnose*", lambda route: route.fulfill(status=422, json={"error": "the log is empty"}))
    page.locator("input[type=file]").set_input_files({"name": "a.log", "mimeType": "text/plain", "buffer": b"x"})
    page.get_by_role("alert").get_by_text("the log is empty").wait_for()
