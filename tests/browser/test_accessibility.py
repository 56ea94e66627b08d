"""No violation of the rules of axe-core, in both themes."""

from pathlib import Path

import pytest

from tests.browser.conftest import ROOT

AXE = next(iter(ROOT.glob("*venv/js/node_modules/axe-core/axe.min.js")), Path("axe.min.js"))
pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make check-js")
VIEWS = {"#/runs?q=live": ".run-name", "#/run/live": ".chart canvas", "#/run/done?step=90": ".chart canvas"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views(open_page, scheme: str) -> None:
    page = open_page("#/runs", color_scheme=scheme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    problems = []
    for view, sign in VIEWS.items():
        page.goto(page.url.split("#")[0] + view)
        page.wait_for_selector(sign)
        if "done" in view:
            page.get_by_role("group", name="Grid of samples").press("ArrowRight")
            page.get_by_text("Settings", exact=True).click()
        result = page.evaluate("axe.run()")
        for item in result["violations"]:
            problems += [(view, item["id"], node["html"][:200], node["failureSummary"]) for node in item["nodes"]]
    assert not problems
