"""Settings that differ between runs, and the pages of comparisons, which can do nothing."""

import json
import shutil
from pathlib import Path

import pytest

from equipoise.studio.comparison_api import differing_settings, flatten_settings


def test_differing_settings() -> None:
    def experiment(width: int, **settings: object) -> dict[str, object]:
        model = {"name": "dcgan", "options": {"width": width, "knobs": {"lr_g": 1e-3, "lr_d": 1e-3}}}
        return {"data": {"name": "digits", "options": {}}, "model": model, "versions": {"torch": "2"}, **settings}

    settings = {
        "a": flatten_settings(experiment(4, seed=0, knobs={})),
        "b": flatten_settings(experiment(8, seed=0, knobs={"lr_d": 2e-3}, freeze=["beta1"])),
    }
    assert settings["a"]["model"] == "dcgan"
    rows = {row["name"]: row["values"] for row in differing_settings(settings)}
    assert rows == {
        "model.width": {"a": 4, "b": 8},
        "knobs.lr_d": {"a": 1e-3, "b": 2e-3},
        "freeze": {"a": None, "b": ["beta1"]},
    }


def test_runs_are_compared(open_studio, runs: Path) -> None:
    shutil.copytree(runs / "digits", runs / "other")
    path = runs / "other" / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 7}))
    client = open_studio(runs)
    answer = client.get("/api/compare?runs=digits,other").values
    assert answer["settings"] == [{"name": "seed", "values": {"digits": 0, "other": 7}}]
    assert [item["step"] for item in answer["samples"]] == [0, 6, 12]
    path.write_text("{")
    assert "experiment.json cannot be read" in client.get("/api/compare?runs=digits,other").values["problems"]["other"]
    assert client.get("/api/compare?runs=").status == 422
    assert client.get("/api/compare?runs=digits,nowhere").status == 404


@pytest.fixture
def comparison(runs: Path) -> Path:
    folder = runs / "brief"
    folder.mkdir()
    for name, text in {
        "plan.json": "{}",
        "report.html": "<script>alert(1)</script>",
        "results.md": "| a |",
        "secret.key": "no",
    }.items():
        (folder / name).write_text(text)
    (folder / "linked.md").symlink_to("/etc/hostname")
    return folder


def test_comparisons(open_studio, runs: Path, comparison: Path) -> None:
    client = open_studio(runs)
    (entry,) = client.get("/api/comparisons").values["comparisons"]
    assert (entry["id"], entry["page"]) == ("brief", True)
    assert [file["name"] for file in entry["files"]] == ["plan.json", "results.md"]
    for path in ("/api/comparisons/brief", "/api/comparisons/brief/report.html"):
        page = client.get(path)
        assert page.content == b"<script>alert(1)</script>"
        assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    table = client.get("/api/comparisons/brief/files/results.md")
    assert (table.content, table.headers["content-type"]) == (b"| a |", "text/plain; charset=utf-8")
    for name in ("secret.key", "linked.md", "..%2fdigits", "%2e%2e", "report.html"):
        assert client.get(f"/api/comparisons/brief/files/{name}").status in (404, 422), name
    assert "no comparison 'other'" in client.get("/api/comparisons/other").values["error"]
    (comparison / "report.html").unlink()
    (entry,) = client.get("/api/comparisons").values["comparisons"]
    assert "has no report yet" in entry["problem"]


def test_comparisons_next_to_the_runs(open_studio, runs: Path, comparison: Path) -> None:
    (runs.parent / "comparisons").mkdir()
    shutil.move(comparison, runs.parent / "comparisons" / "brief")
    assert [each["id"] for each in open_studio(runs).get("/api/comparisons").values["comparisons"]] == ["brief"]
