"""Start, compare, judge, explore, diagnose: no violation of the rules of axe-core, and no overflow at 360 pixels."""

import pytest

from tests.browser.answers import FACTS, intercept, png
from tests.browser.test_accessibility import AXE
from tests.browser.test_diagnose import DIAGNOSIS
from tests.browser.test_start import CATALOG, PREVIEW

VIEWS = {
    "#/start": ".copyable",
    "#/compare?runs=live,done": ".chart canvas",
    "#/judge/done": ".pair img[src]:not([aria-busy])",
    "#/explore/done?view=grid": ".picture-place img[src]",
    "#/explore/done?view=directions": ".picture-place img[src]",
    "#/explore/done?view=project": ".drop",
    "#/diagnose": "textarea",
}


@pytest.fixture
def page(open_page, runs, request):
    for step in (180, 240):
        (runs / "done" / "checkpoints" / f"step-{step:08}").mkdir(parents=True, exist_ok=True)
    page = open_page("#/runs", color_scheme=request.param, bypass_csp=True)
    intercept(page, "**/api/catalog", lambda _: CATALOG, "GET")
    intercept(page, "**/api/preview", lambda _: PREVIEW)
    intercept(page, "**/api/explore/done*", lambda _: FACTS, "GET")
    intercept(page, "**/api/explore", lambda _: png())
    page.route("**/api/runs/done/pair/*/*.png", lambda route: route.fulfill(body=png(8, 8), content_type="image/png"))
    page.route("**/api/diagnose*", lambda route: route.fulfill(json=DIAGNOSIS))
    return page


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make check-js")
@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
def test_views(page) -> None:
    page.add_script_tag(path=AXE)
    problems = []
    for view, sign in VIEWS.items():
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(page.url.split("#")[0] + view)
        page.locator(f".{view[2:].split('/')[0].split('?')[0]} {sign}").first.wait_for()
        if "diagnose" in view:
            page.locator("textarea").fill("step 1 loss_D 2")
            page.get_by_text("Evidence").wait_for()
        for item in page.evaluate("axe.run()")["violations"]:
            problems += [(view, item["id"], node["html"][:200], node["failureSummary"]) for node in item["nodes"]]
        page.set_viewport_size({"width": 360, "height": 740})
        width = page.evaluate("document.documentElement.scrollWidth")
        problems += [(view, f"{width} pixels wide")] if width > 360 else []
    assert not problems
