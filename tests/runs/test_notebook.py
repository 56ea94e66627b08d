import base64
import re
from pathlib import Path

import numpy as np

from equipoise.core.events import Sampled
from equipoise.runs.folders import create_run
from equipoise.runs.log import Log
from equipoise.runs.run import Run


def write_run(folder: Path, *events: Sampled) -> Run:
    create_run(folder, {"model": "dcgan", "data": "<b>digits</b>", "steps": 400})
    with Log(folder) as log:
        for event in events:
            log.record(event)
    return Run(folder)


def test_run_shows_its_state_and_last_samples(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", Sampled(40, 640, np.zeros((4, 1, 8, 8), np.float32)))
    display = run._repr_html_()
    for words in ("dcgan", "&lt;b&gt;digits", "40 of 400", "unfinished", "equipoise report"):
        assert words in display, words
    png = re.search(r"base64,([A-Za-z0-9+/=]+)", display)
    assert png is not None
    assert base64.b64decode(png.group(1)).startswith(b"\x89PNG")


def test_run_shows_texts_escaped(tmp_path: Path) -> None:
    texts = ("the <i>sky</i>", "is blue")
    run = write_run(tmp_path / "a", Sampled(40, 640, np.zeros((2, 3), np.float32), texts=texts))
    assert "<pre>the &lt;i&gt;sky&lt;/i&gt;\nis blue</pre>" in run._repr_html_()


def test_damaged_run_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", Sampled(40, 640, np.zeros((4, 1, 8, 8), np.float32)))
    (run.folder / "samples" / "step-00000040.png").write_bytes(b"\x89PNG")
    assert "<img" not in run._repr_html_()
    (run.folder / "events.jsonl").write_text("nonsense\n")
    assert "damaged" in run._repr_html_()
    assert "damaged" in Run(tmp_path / "none")._repr_html_()
