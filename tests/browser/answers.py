"""Answers in place of those of the server, for what needs a trained generator or a process that imports torch."""

import io
import json
import time
from collections.abc import Callable

from PIL import Image

Json = dict[str, object]


def a_field(name: str, text: str, kind: str, neutral: object, **more: object) -> Json:
    """A field of a form, as exploration_forms.py writes it."""
    return {"name": name, "text": text, "kind": kind, "neutral": neutral, "help": "", **more}


def a_tab(title: str, *fields: Json) -> Json:
    return {"title": title, "fields": fields, "note": "", "fixed": {}}


COUNTS = [[count, count] for count in ("16", "36", "64", "144")]
FACTS: Json = {
    "step": 240,
    "samples": "image",
    "shape": [1, 8, 8],
    "prompt": False,
    "captions": [],
    "weights": [["", "Final weights"], ["180", "Step 180"], ["240", "Step 240"]],
    "controls": [
        a_field("label", "Class", "select", "", options=[["", "each in turn"], ["0", "seven"], ["1", "one"]]),
        a_field("psi", "psi", "range", 1, low=0, high=2, step=0.05) | {"help": "Lower: more typical, less varied."},
    ],
    "tabs": {
        "plane": a_tab("Plane"),
        "grid": a_tab(
            "Samples", a_field("seed", "Seed", "number", 0), a_field("count", "Samples", "select", "36", options=COUNTS)
        ),
        "interpolate": a_tab(
            "Interpolate", a_field("start", "From", "names", "0/0"), a_field("end", "To", "names", "1/0")
        ),
        "directions": a_tab(
            "Directions",
            a_field("start", "Start from", "names", "0/0"),
            a_field("amount1", "Component 1", "range", 0, low=-4, high=4, step=0.1),
        ),
        "project": a_tab("Find a picture", a_field("fit", "Fit", "select", "crop", options=[["crop", "crop"]])),
        "arithmetic": a_tab(
            "Arithmetic",
            a_field("plus", "Mean of", "names", "0/0"),
            a_field("minus", "minus the mean of", "names", "0/1"),
            a_field("neighbours", "Its neighbours, too", "check", False),
        ),
    },
}
COMMAND = "equipoise sample runs/done --label 'a%20b' --out grid.png"


def png(width: int = 58, height: int = 58) -> bytes:
    content = io.BytesIO()
    Image.new("L", (width, height), 90).save(content, "PNG")
    return content.getvalue()


def open_view(open_page, view: str, sign: str = "h1"):
    """Open a view once the page is there; `sign`: a selector of what must be on it."""
    page = open_page("#/runs")
    page.goto(page.url.split("#")[0] + view)
    page.locator(f".{view[2:].split('/')[0].split('?')[0]} {sign}").first.wait_for()
    return page


def intercept(page, pattern: str, answer: Callable[[Json], object], method: str = "POST") -> list[Json]:
    """Answer requests to a path; return the list of their bodies, which grows.

    `answer`: from a body to a value, or to (status, value), or to bytes of a PNG.
    """
    bodies: list[Json] = []

    def fulfill(route) -> None:
        if route.request.method != method:
            return route.fallback()
        body = json.loads(route.request.post_data or "{}")
        bodies.append(body)
        value = answer(body)
        if isinstance(value, bytes):
            headers = {"X-Equipoise-Command": COMMAND, "X-Equipoise-Traits": "film latents"}
            return route.fulfill(body=value, content_type="image/png", headers=headers)
        status, value = value if isinstance(value, tuple) else (200, value)
        return route.fulfill(status=status, json=value)

    page.route(pattern, fulfill)
    return bodies


def wait_until(page, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most 20 s, while requests of the page are answered."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        page.wait_for_timeout(20)
