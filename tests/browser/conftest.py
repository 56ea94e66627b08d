"""A studio of prepared runs in a process of its own, and one browser for all tests of this folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.runs.folders import hold

CHROMIUM = Path("/usr/bin/chromium")

ROOT = Path(__file__).parents[2]
STEPS, LAST = 400, 240
KNOBS = {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999, "r1_gamma": 0.0, "discriminator_steps": 1}


def event_lines(*, is_finished: bool) -> Iterator[dict[str, object]]:
    """The events of a run with a finding that a remedy ends, one that goes on, and a change of a knob by a person."""
    yield {"event": "started", "step": 0, "images": 0, "steps": STEPS, "batch_size": 16, "precision": "fp32",
           "parameters": {"generator": 9, "discriminator": 9}, "knobs": KNOBS, "turnable": sorted(KNOBS)}  # fmt: skip
    for step in range(0, LAST + 1, 2):
        line = {"step": step, "images": 16 * step}
        if step % 40 == 0:
            yield {"event": "sampled", **line, "samples": f"samples/step-{step:08}.png"}
        if step % 60 == 0 and step:
            yield {"event": "evaluated", **line, "metric": "kd_digits", "value": 1 / step, "better": "lower"}
            yield {"event": "saved", **line, "checkpoint": f"step-{step:08}", "best": step == 180}
        if step == 80:
            override = {"knob": "r1_gamma", "value": 1.0, "until": 140}
            yield {"event": "remedied", **line, "finding": finding("mode_collapse", 60), "rung": 1, "restored": None,
                   "lost": 0, "overrides": [override], "until": 140}  # fmt: skip
            yield {"event": "turned", **line, "knob": "r1_gamma", "from": 0.0, "to": 1.0, "by": "repair", "why": "x"}
        findings = [finding("mode_collapse", 60)] if 60 <= step < 120 else []
        findings += [finding("oscillation", 200)] if step >= 200 else []
        wave = float(np.sin(step / 9))
        loss = {"mean": 1 + wave, "min": 0.5 + wave, "max": 1.5 + wave, "last": 1 + wave}
        yield {"event": "sensed", **line, "progress": step / STEPS, "seconds": step / 10,
               "loss": {"discriminator.total": loss},
               "signals": {"rank_train_fake": wave / 2, "loss_g": 1 - wave, "loss_d": 1 + wave, "gradient_norm_g": 2.0},
               "health": {"findings": findings, "missing": ""}}  # fmt: skip
    if is_finished:
        yield {"event": "finished", "step": LAST, "images": 16 * LAST, "reason": "interrupted", "verdict": "unhealthy"}


def finding(symptom: str, since: int) -> dict[str, object]:
    return {"symptom": symptom, "severity": 0.7, "evidence": {"diversity": 0.2}, "since": since, "confidence": 0.9}


def make_run(folder: Path, *, is_finished: bool = True) -> None:
    """Write a run folder as `train` would."""
    (folder / "samples").mkdir(parents=True)
    plugs = {"data": {"name": "digits"}, "model": {"name": "dcgan"}, "controller": {"name": "annealed"}}
    experiment = {**plugs, "metric": {"name": "kd_digits"}, "steps": STEPS, "batch_size": 16, "seed": 0, "format": 2}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    (folder / "data.json").write_text(json.dumps({"train": 40, "held_out": 10, "shape": [1, 8, 8], "skipped": 0}))
    lines = list(event_lines(is_finished=is_finished))
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for line in lines:
        if line["event"] == "sampled":
            sheet = np.full((48, 48), 128, np.uint8)
            for index in range(25):
                top, left = index // 5 * 10, index % 5 * 10
                sheet[top : top + 8, left : left + 8] = (
                    np.arange(64).reshape(8, 8) * 3 + index * int(line["step"])
                ) % 255
            Image.fromarray(sheet).save(folder / str(line["samples"]))


def require_browser():
    """Return Playwright; skip the test if it, Chromium or the studio is not installed."""
    if not CHROMIUM.exists():
        pytest.skip(f"these tests need {CHROMIUM}: apt-get install chromium")
    pytest.importorskip("starlette", reason="the studio needs starlette: pip install 'equipoise[studio]'")
    return pytest.importorskip("playwright.sync_api", reason="these tests need playwright: pip install playwright")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with 100 runs; `live` is in use, as if it was training."""
    require_browser()
    root = tmp_path_factory.mktemp("studio") / "runs"
    make_run(root / "live", is_finished=False)
    make_run(root / "done")
    for index in range(98):
        folder = root / f"old-{index:02}"
        folder.mkdir()
        (folder / "experiment.json").write_text((root / "done" / "experiment.json").read_text())
        (folder / "events.jsonl").write_text(json.dumps(next(event_lines(is_finished=True))) + "\n")
    with hold(root / "live" / "events.jsonl", ""):
        yield root


@pytest.fixture(scope="session")
def address(runs: Path) -> Iterator[str]:
    """The address that a studio of these runs prints, with its token."""
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "studio", str(runs), "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium without a window. Per module: while Playwright runs, this process has an event loop, which other tests
    that run theirs do not expect."""
    playwright = require_browser()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address: str) -> Iterator[Callable[..., object]]:
    """Return a function from a view, such as "#/runs", to a page; its arguments are those of `browser.new_context`.

    Errors of the page and requests to other origins fail the test.
    """
    contexts, problems = [], []
    origin = address.split("?")[0]

    def check_origin(request) -> None:
        if not request.url.startswith((origin, "data:", "blob:")):
            problems.append(f"request to {request.url}")

    def open_view(view: str, context=None, **options):
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
            contexts.append(context)
        if not context.cookies():
            context.request.get(address)  # exchanges the token for a cookie
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", check_origin)
        page.goto(origin + view)
        page.wait_for_selector(".run-name, .lane-name, [role=alert], .empty:visible")
        return page

    yield open_view
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def wait() -> Callable[[Callable[[], bool]], None]:
    """Return a function that waits until a condition holds, for at most 10 s."""

    def wait_until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait_until
