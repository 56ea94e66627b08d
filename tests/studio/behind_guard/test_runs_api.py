import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Sampled
from equipoise.runs.artifacts import write_samples
from equipoise.runs.run import Run

from .conftest import Browser

RUNS = "/api/runs"


def append(root: Path, **line: object) -> None:
    with (root / "ring" / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def add_samples(root: Path, event: Sampled) -> None:
    file = write_samples(root / "ring" / "samples", event)
    append(root, event="sampled", step=event.step, images=event.images, samples=file)


def test_the_table(root: Path, browser: Browser) -> None:
    answer = browser.get(RUNS)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["root"] == str(root)
    (row,) = answer.json["runs"]
    keys = "id model data controller step steps images seconds state reason verdict findings best updated created tags"
    assert set(row) == {*keys.split(), "note", "archived", "manual", "disk", "problem"}
    assert (row["id"], row["state"], row["best"]["metric"]) == ("ring", "finished", "coverage:samples")


def test_a_run(root: Path, browser: Browser) -> None:
    (root / "ring" / "skipped.txt").write_text("a.png\tdamaged\n" * 60)
    (root / "ring" / "output.log").write_text("first\nstep 1\rstep 2\rstep 3\nlast \x1b[31mred\n")
    (root / "ring" / "data.json").write_text('{"train": 10, "skipped": 60, "notes": ["a note"]}')
    run = browser.get(f"{RUNS}/ring").json
    assert run["row"]["id"] == "ring"
    assert run["experiment"]["model"]["name"] == "mlp"
    assert run["command"].startswith("equipoise train ring")
    assert run["started"]["steps"] == 40
    assert run["files"] == {"report": False, "film": False, "figure": False}
    assert run["data"]["train"] == 10
    assert run["skipped"] == ["a.png: damaged"] * 50
    assert run["last_log"] == ["first", "step 3", "last \\x1b[31mred"]
    assert "a note" in run["warnings"]
    assert any("60 files were left out" in note for note in run["warnings"])


def test_the_knobs_of_a_run(root: Path, browser: Browser) -> None:
    knobs = {knob["name"]: knob for knob in browser.get(f"{RUNS}/ring").json["knobs"]}
    lines = Run(root / "ring").lines("turned")
    last = [line["to"] for line in lines if line["knob"] == "lr_d"][-1]
    lr = knobs["lr_d"]
    assert (lr["value"], lr["target"], lr["manual"], lr["acts"], lr["scale"]) == (last, last, None, True, "log")
    assert (lr["low"], lr["high"], lr["off"]) == (1e-6, 1e-2, False)
    assert knobs["beta2"]["frozen"]
    assert not knobs["beta2"]["acts"]
    assert knobs["beta2"]["scale"] == "one_minus_log"
    assert knobs["r1_gamma"]["off"]


def test_a_knob_that_a_person_holds(root: Path, browser: Browser) -> None:
    before = {knob["name"]: knob["value"] for knob in browser.get(f"{RUNS}/ring").json["knobs"]}
    append(root, event="requested", step=40, images=1280, action="turn", knob="lr_d", value=0.001, by="studio")
    turned = {"event": "turned", "step": 40, "images": 1280, "knob": "lr_d", "by": "manual", "why": "held by studio"}
    append(root, **turned, **{"from": before["lr_d"], "to": 0.001})
    append(root, event="requested", step=40, images=1280, action="turn", knob="lr_g", value=9, refused="out of range")
    run = browser.get(f"{RUNS}/ring").json
    knobs = {knob["name"]: knob for knob in run["knobs"]}
    assert (knobs["lr_d"]["value"], knobs["lr_d"]["manual"]) == (0.001, 0.001)
    assert knobs["lr_d"]["target"] == before["lr_d"]
    append(root, **{**Run(root / "ring").lines("sensed")[-1], "step": 41, "held": {"lr_d": 7e-4, "lr_g": "nan"}})
    (held,) = (knob for knob in browser.get(f"{RUNS}/ring").json["knobs"] if knob["name"] == "lr_d")
    assert (held["value"], held["target"]) == (0.001, 7e-4)
    assert knobs["lr_g"]["manual"] is None
    assert run["row"]["manual"]
    assert any("a person has changed knobs" in note for note in run["warnings"])
    manual = browser.get(f"{RUNS}/ring/timeline").json["manual"]
    assert [(item["action"], item["knob"], item["refused"]) for item in manual] == [
        ("turn", "lr_d", ""),
        ("turn", "lr_g", "out of range"),
    ]
    append(root, event="requested", step=40, images=1280, action="release", knob="lr_d", by="studio")
    knobs = {knob["name"]: knob for knob in browser.get(f"{RUNS}/ring").json["knobs"]}
    assert knobs["lr_d"]["manual"] is None


def test_the_controller_s_value_under_a_remedy(root: Path, browser: Browser) -> None:
    overrides = [{"knob": "lr_g", "value": 0.001, "base": 0.002, "until": 90}]
    append(root, event="remedied", step=40, images=1280, finding={}, rung=1, overrides=overrides, until=90)
    for step, by, value in ((40, "repair", 0.001), (50, "chain", 0.0008), (95, "chain", 0.0016)):
        append(root, event="turned", step=step, images=1, knob="lr_g", by=by, why="", **{"from": 0.002, "to": value})
        (knob,) = (knob for knob in browser.get(f"{RUNS}/ring").json["knobs"] if knob["name"] == "lr_g")
        assert knob["value"] == value
        assert knob["target"] == pytest.approx({40: 0.002, 50: 0.0016, 95: 0.0016}[step])


def test_curves(root: Path, browser: Browser) -> None:
    groups = {info["name"]: info["group"] for info in browser.get(f"{RUNS}/ring").json["series"]}
    expected = {"generator.total": "loss", "loss_d": "loss", "rank_train_fake": "rank", "gradient_ratio": "gradient"}
    assert expected.items() <= groups.items()
    assert {"coverage:samples": "metric", "lr_d": "knob", "non_finite": "signal"}.items() <= groups.items()
    answer = browser.get(f"{RUNS}/ring/series?names={','.join(groups)},nothing&pixels=10").json
    assert set(answer["series"]) == set(groups)
    assert len(answer["x"]) == 10
    assert answer["steps"][-1] == 40
    for bins in answer["series"].values():
        assert len(bins["min"]) == len(bins["max"]) == len(bins["last"]) == 10
    all_steps = browser.get(f"{RUNS}/ring/series?names=loss_g").json
    lines = Run(root / "ring").lines("sensed")
    assert all_steps["x"] == [line["step"] for line in lines]
    np.testing.assert_allclose(all_steps["series"]["loss_g"]["last"], [line["signals"]["loss_g"] for line in lines])


@pytest.mark.parametrize(("axis", "key"), [("images", "images"), ("seconds", "seconds")])
def test_other_axes(axis: str, key: str, root: Path, browser: Browser) -> None:
    answer = browser.get(f"{RUNS}/ring/series?names=loss_g&x={axis}&from=10&to=20").json
    lines = [line for line in Run(root / "ring").lines("sensed") if 10 <= line["step"] <= 20]
    np.testing.assert_allclose(answer["x"], [line[key] for line in lines])
    assert answer["steps"] == [line["step"] for line in lines]


def test_curves_grow_and_are_cut(root: Path, browser: Browser) -> None:
    path = f"{RUNS}/ring/series?names=loss_g"
    assert browser.get(path).json["x"][-1] == 40
    append(root, event="resumed", step=20, images=640)
    assert browser.get(path).json["x"][-1] == 20


@pytest.mark.parametrize(
    ("query", "message"),
    [("x=time", "x must be step, images or seconds"), ("pixels=many", "pixels"), ("from=x", "from"), ("to=nan", "to")],
)
def test_queries_that_are_wrong(query: str, message: str, browser: Browser) -> None:
    answer = browser.get(f"{RUNS}/ring/series?names=loss_g&{query}")
    assert answer.status == 422
    assert message in answer.json["error"]


def test_the_timeline(root: Path, browser: Browser) -> None:
    finding = {"symptom": "mode_collapse", "severity": 0.75, "evidence": {"diversity": 0.1}, "since": 40}
    remedy = {"finding": finding, "rung": 1, "restored": 20, "lost": 20, "until": 90}
    overrides = [{"knob": "lr_d", "value": 0.001, "base": 0.002, "until": 90}]
    append(root, event="remedied", step=40, images=1280, **remedy, overrides=overrides)
    line = json.loads((root / "ring" / "events.jsonl").read_text().splitlines()[2])
    append(root, **{**line, "step": 41, "images": 1312, "health": {"findings": [{**finding, "confidence": 1.0}]}})
    timeline = browser.get(f"{RUNS}/ring/timeline").json
    lines = Run(root / "ring").lines()
    turned = [line for line in lines if line["event"] == "turned"]
    assert [(turn["step"], turn["knob"], turn["to"], turn["why"]) for turn in timeline["turns"]] == [
        (line["step"], line["knob"], line["to"], line["why"]) for line in turned
    ]
    period = timeline["findings"][-1]
    assert (period["symptom"], period["label"], period["since"], period["until"]) == (
        "mode_collapse",
        "mode collapse",
        40,
        None,
    )
    assert "diversity 0.1" in period["evidence"]
    assert period["advice"]
    (remedied,) = timeline["remedies"]
    assert remedied["overrides"] == {"lr_d": 0.001}
    assert remedied["why"] == "mode collapse (diversity 0.1): lr_d 0.001 until step 90"
    assert [item["step"] for item in timeline["evaluations"]] == [20, 40]
    assert {(item["step"], item["present"]) for item in timeline["checkpoints"]} == {
        (line["step"], (root / "ring" / "checkpoints" / line["checkpoint"]).exists())
        for line in lines
        if line["event"] == "saved"
    }
    assert timeline["samples"] == [0, 20, 40]


def test_many_turns_are_thinned_and_say_how_many_each_stands_for(root: Path, browser: Browser) -> None:
    turned = {"event": "turned", "images": 1280, "knob": "lr_g", "by": "rank", "why": "x"}
    for step in range(41, 5041):
        append(root, **turned, step=step, **{"from": step / 1e6, "to": (step + 1) / 1e6})
    timeline = browser.get(f"{RUNS}/ring/timeline").json
    assert len(timeline["turns"]) <= 2000
    assert sum(turn.get("count", 1) for turn in timeline["turns"]) == timeline["turn_count"]
    assert timeline["turns"][-1]["to"] == 5041 / 1e6


def test_events(browser: Browser) -> None:
    events = browser.get(f"{RUNS}/ring/events?limit=3").json["events"]
    assert [event["event"] for event in events][-1] == "finished"
    assert len(events) == 3
    kinds = browser.get(f"{RUNS}/ring/events?kind=sampled").json["events"]
    assert {event["event"] for event in kinds} == {"sampled"}


@pytest.mark.parametrize("shape", [(9, 3, 8, 8), (7, 1, 8, 12), (1, 4, 12, 8), (5, 2, 8, 8)])
def test_samples_of_images(shape: tuple[int, ...], root: Path, browser: Browser) -> None:
    samples = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    (root / "ring" / "data.json").write_text(json.dumps({"shape": shape[1:]}))
    add_samples(root, Sampled(50, 1600, samples, 3))
    item = browser.get(f"{RUNS}/ring/samples").json["items"][-1]
    assert (item["step"], item["kind"], item["count"]) == (50, "image", shape[0])
    assert item["columns"] == min(3, shape[0]) or shape[0] == 1
    assert item["shape"] == list(shape[2:])
    answer = browser.get(f"{RUNS}/ring/samples/50.png?columns=2&limit=4")
    assert answer.headers["content-type"] == "image/png"
    columns, rows = min(2, shape[0]), -(-min(4, shape[0]) // 2)
    assert picture(answer.body).size == (columns * (shape[3] + 2), rows * (shape[2] + 2))
    last = picture(browser.get(f"{RUNS}/ring/samples/50/{shape[0] - 1}.png?scale=3").body)
    assert last.size == (3 * shape[3], 3 * shape[2])
    grid = picture(browser.get(f"{RUNS}/ring/samples/50.png?columns={shape[0]}").body)
    left = (shape[0] - 1) * (shape[3] + 2) + 1
    cell = grid.crop((left, 1, left + shape[3], 1 + shape[2]))
    assert np.array_equal(np.asarray(last.convert("RGB"))[::3, ::3], np.asarray(cell))


def test_the_size_of_images_is_found_without_a_record(root: Path, browser: Browser) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (6, 3, 10, 10)).astype(np.float32)
    add_samples(root, Sampled(50, 1600, samples, 4))
    item = browser.get(f"{RUNS}/ring/samples").json["items"][-1]
    assert (item["count"], item["columns"], item["shape"]) == (6, 4, [10, 10])


def test_samples_of_points_numbers_sequences_and_texts(root: Path, browser: Browser) -> None:
    items = browser.get(f"{RUNS}/ring/samples").json["items"]
    assert [(item["kind"], item["count"]) for item in items] == [("table", 1)] * 3
    add_samples(root, Sampled(50, 1600, np.zeros((6, 1), np.float32)))
    add_samples(root, Sampled(60, 1600, np.zeros((6, 2, 40), np.float32)))
    add_samples(root, Sampled(70, 1600, np.zeros((2, 5), np.float32), texts=("a <b>text</b>", "second")))
    items = browser.get(f"{RUNS}/ring/samples").json["items"][3:]
    assert [(item["kind"], item["count"]) for item in items] == [("table", 1), ("table", 6), ("text", 1)]
    for step in (20, 50, 60, 70):
        for target in (f"{step}.png", f"{step}.png?columns=2&limit=4", f"{step}/0.png"):
            answer = browser.get(f"{RUNS}/ring/samples/{target}")
            assert answer.status == 200, answer.body
            picture(answer.body).load()
    assert browser.get(f"{RUNS}/ring/samples/60/6.png").json["error"].startswith("there is no sample 6 of step 60")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("samples/x.png", b"no picture", "damaged"),
        ("samples/x.npy", b"\x80\x04.", "damaged"),
        ("samples/x.txt", b"", "empty"),
        ("samples/none.png", None, "does not exist"),
        ("../../secret.png", b"x", "outside the run folder"),
        ("/etc/passwd", None, "outside the run folder"),
    ],
)
def test_samples_that_cannot_be_read(
    name: str, content: bytes | None, message: str, root: Path, browser: Browser
) -> None:
    if content is not None:
        (root / "ring" / name).write_bytes(content)
    append(root, event="sampled", step=50, images=1600, samples=name)
    assert browser.get(f"{RUNS}/ring/samples").json["items"][-1]["step"] == 50
    answer = browser.get(f"{RUNS}/ring/samples/50.png")
    assert answer.status == 422
    assert message in answer.json["error"]


def test_missing_samples_and_files(browser: Browser) -> None:
    assert "no samples of step 3" in browser.get(f"{RUNS}/ring/samples/3.png").json["error"]
    for name in ("report", "film", "figure"):
        answer = browser.get(f"{RUNS}/ring/{name}")
        assert answer.status == 422
        assert "equipoise report" in answer.json["error"]


def test_the_report_is_shown_in_a_sandbox(root: Path, browser: Browser, tmp_path: Path) -> None:
    report = root / "ring" / "report.html"
    report.write_text("<script>alert(1)</script>")
    answer = browser.get(f"{RUNS}/ring/report")
    policy = answer.headers["content-security-policy"]
    assert answer.body == report.read_bytes()
    assert policy.startswith("sandbox allow-scripts; ")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    report.unlink()
    (tmp_path / "secret.html").write_text("secret")
    report.symlink_to(tmp_path / "secret.html")
    assert browser.get(f"{RUNS}/ring/report").status == 422


def test_a_deleted_run_is_gone(root: Path, browser: Browser) -> None:
    assert browser.get(f"{RUNS}/ring").status == 200
    shutil.rmtree(root / "ring")
    for target in ("", "/series?names=loss_g", "/timeline", "/samples", "/samples/20.png", "/events", "/report"):
        answer = browser.get(f"{RUNS}/ring{target}")
        assert answer.status == 404
        assert "there is no run 'ring'" in answer.json["error"]
    assert browser.get(RUNS).json["runs"] == []


def test_damaged_runs_are_shown(root: Path, browser: Browser) -> None:
    (root / "ring" / "experiment.json").write_text("[]")
    append(root, event="saved")
    run = browser.get(f"{RUNS}/ring").json
    assert run["row"]["state"] == "damaged"
    assert run["row"]["problem"]
    assert run["command"] == ""
    assert browser.get(f"{RUNS}/ring/series?names=loss_g").json["x"][-1] == 40


def test_a_run_that_has_not_started(root: Path, browser: Browser) -> None:
    (root / "ring" / "events.jsonl").unlink()
    assert browser.get(f"{RUNS}/ring").json["knobs"] == []
    assert browser.get(f"{RUNS}/ring/series?names=loss_g,lr_d").json == {"x": [], "steps": [], "series": {}}
    assert browser.get(f"{RUNS}/ring/timeline").json["turns"] == []
    assert browser.get(f"{RUNS}/ring/events").json == {"events": [], "texts": []}


def test_texts_are_text(root: Path, browser: Browser) -> None:
    texts = ("<b>not markup</b>", "a \x1b[31mred line", "x" * 5000)
    add_samples(root, Sampled(41, 1312, np.zeros((3, 1), np.float32), texts=texts))
    assert browser.get(f"{RUNS}/ring/samples").json["items"][-1]["kind"] == "text"
    answer = browser.get(f"{RUNS}/ring/samples/41/texts").json
    assert answer == {"step": 41, "texts": ["<b>not markup</b>", "a \\x1b[31mred line", "x" * 2000]}
    assert "no samples of step 42" in browser.get(f"{RUNS}/ring/samples/42/texts").json["error"]
    assert "are no texts" in browser.get(f"{RUNS}/ring/samples/40/texts").json["error"]
