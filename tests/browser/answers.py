"""Answers in place of those of the server, for what needs a trained generator or a process that imports torch."""

import io
import json
import time
from collections.abc import Callable

from PIL import Image

Json = dict[str, object]
LAYERS = 6
FACTS: Json = {
    "step": 240,
    "steps": [180, 240],
    "model": "stylegan2",
    "samples": "image",
    "shape": [1, 8, 8],
    "space": "w",
    "spaces": ["w", "z"],
    "samplings": ["cutoff", "noise", "psi", "truncation"],
    "layers": LAYERS,
    "classes": 2,
    "class_names": ["seven", "one"],
    "prompt": False,
    "captions": [],
    "translate": False,
    "back": False,
    "project": True,
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
            return route.fulfill(body=value, content_type="image/png", headers={"X-Equipoise-Command": COMMAND})
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
