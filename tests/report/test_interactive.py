"""The interactive part of report.html: what it holds, and that only its own scripts may run."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from equipoise.report.interactive import BINS, interactive_curves
from equipoise.report.run_history import read_history

from .conftest import Maker, sensed, started, turned

HOSTILE = "</script><!--&"


def test_data_has_curves_findings_and_samples(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="run-data">(.*?)</script>', page)
    assert found is not None
    data = json.loads(found.group(1))
    charts = {chart["title"]: chart for chart in data["charts"]}
    assert {"Losses", "Ranks", "D(x)", "Gradient norms", "kd_digits", "r1_gamma"} <= charts.keys()
    assert charts["Losses"]["lines"][0]["label"] == "discriminator"
    assert len(charts["Losses"]["steps"]) == len(charts["Losses"]["lines"][0]["max"]) == 40
    held_out = charts["Ranks"]["lines"][1]["last"]
    assert held_out.count(None) == 32  # one reading in five has it
    assert data["findings"] == [{"from": 140, "to": 220, "severe": True}]
    assert [sample["step"] for sample in data["samples"]] == [0, 200, 400]


def test_knobs_hold_their_value_until_they_change(write_run: Maker) -> None:
    run = write_run([started(), sensed(10), turned(100, "lr_g", 0.1, 0.2), sensed(400)])
    curves = interactive_curves(read_history(run))
    assert curves is not None
    chart = next(chart for chart in json.loads(curves.data)["charts"] if chart["title"] == "lr_g")
    assert chart["stepped"]
    assert chart["steps"] == [0, 100, 400]
    assert chart["lines"][0]["last"] == [0.1, 0.2, 0.2]


def test_only_embedded_scripts_are_allowed(reported: Path) -> None:
    page = (reported / "report.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    scripts = re.findall(r"(?s)<script>(.*?)</script>", page)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert policy.group(1).endswith("; script-src" + "".join(f" 'sha256-{digest}'" for digest in digests))
    assert len(scripts) == 2
    assert not re.search(r"(?m)^(import|export) ", scripts[1])


def test_names_cannot_end_the_data(write_run: Maker) -> None:
    run = write_run([started(), turned(10, HOSTILE, 0, 1), sensed(10), sensed(20)])
    curves = interactive_curves(read_history(run))
    assert curves is not None
    assert not re.search("[<>&]", curves.data)
    assert HOSTILE in [chart["title"] for chart in json.loads(curves.data)["charts"]]


def test_long_runs_are_reduced_to_the_resolution_of_a_screen(write_run: Maker) -> None:
    curves = interactive_curves(read_history(write_run([started(), *map(sensed, range(1, 3 * BINS))])))
    assert curves is not None
    data = json.loads(curves.data)
    assert len(data["charts"][0]["steps"]) <= BINS
    assert len(data["clock"]["step"]) <= 2 * BINS


@pytest.mark.usefixtures("empty_figures")
def test_run_without_readings_has_no_scripts(write_run: Maker) -> None:
    from equipoise.report.page import write_report

    assert "<script" not in write_report(write_run([started()])).read_text()
