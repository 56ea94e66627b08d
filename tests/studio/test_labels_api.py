"""Notes on runs through the studio: annotations, marks, the chosen step, and pairs whose sides are hidden."""

import json
from pathlib import Path

import pytest

from equipoise.runs.annotations import read_annotations, read_chosen
from equipoise.runs.labels import PairLabel, read_labels
from equipoise.studio import labels_api


def test_annotations(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    before = (runs / "digits" / "experiment.json").read_bytes()
    answer = client.post("/api/runs/digits/annotations", {"tags": ["good"], "note": "sharp"})
    assert answer.values == {"tags": ["good"], "note": "sharp", "archived": False}
    assert client.post("/api/runs/digits/annotations", {"archived": True}).values["tags"] == ["good"]
    assert read_annotations(runs / "digits").archived
    assert (runs / "digits" / "experiment.json").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("runs/digits/annotations", {"tags": ["a,b"]}, 422, "is not a tag"),
        ("runs/digits/annotations", {"tag": ["a"]}, 422, "tag: "),
        ("runs/digits/annotations", {"archived": "yes"}, 422, "archived: "),
        ("runs/nowhere/annotations", {"note": "x"}, 404, "no run 'nowhere'"),
        ("runs/..%2fdigits/annotations", {"note": "x"}, 404, "no run"),
        ("runs/digits/labels", {"kind": "mark", "sample": "../1", "step": 5, "answer": "keep"}, 422, "SEED/NUMBER"),
        ("runs/digits/labels", {"kind": "mark", "sample": "0/1", "step": 5, "answer": "left"}, 422, "is no mark"),
        ("runs/digits/labels", {"kind": "pair", "pair": "x", "answer": "left"}, 422, "not known any more"),
        ("runs/digits/chosen", {"step": -1}, 422, "step: "),
        ("runs/digits/chosen", {"note": "no step"}, 422, "step: "),
    ],
)
def test_invalid_bodies(open_studio, runs: Path, path: str, body: object, status: int, message: str) -> None:
    answer = open_studio(runs).post(f"/api/{path}", body)
    assert (answer.status, list(answer.values)) == (status, ["error"])
    assert message in answer.values["error"]
    assert "\n" not in answer.values["error"]
    assert not {"annotations.json", "labels.jsonl", "chosen.json"} & {path.name for path in (runs / "digits").iterdir()}


def test_marks(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    mark = {"kind": "mark", "sample": "0/3", "step": 10, "answer": "keep"}
    assert client.post("/api/runs/digits/labels", mark).values == {"marks": {"0/3": "keep"}}
    assert client.get("/api/runs/digits/labels?step=10").values["marks"] == {"0/3": "keep"}
    assert client.get("/api/runs/digits/labels?step=5").values["marks"] == {}
    assert client.post("/api/runs/digits/labels", {**mark, "answer": "none"}).values == {"marks": {}}


def test_a_chosen_step(open_studio, runs: Path) -> None:
    client = open_studio(runs)
    labels = client.get("/api/runs/digits/labels").values
    assert (labels["steps"], labels["chosen"]) == ([5, 10, 12], None)
    answer = client.post("/api/runs/digits/chosen", {"step": 10, "note": "sharp"}).values
    assert (answer["step"], answer["note"]) == (10, "sharp")
    assert read_chosen(runs / "digits").step == 10
    assert client.get("/api/runs/digits/chosen").values == answer
    assert client.post("/api/runs/digits/chosen", {"step": None}).content == b"null"
    assert read_chosen(runs / "digits") is None


def test_blind_pairs(open_studio, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def draw(studio, folder: Path, run: str, sample: str, step: int) -> bytes:
        return f"{run} {sample} {step}".encode()

    monkeypatch.setattr(labels_api, "draw_named_sample", draw)
    client, lefts = open_studio(runs), set()
    for number in range(12):
        pair = client.get("/api/runs/digits/pair?a=5&b=10").values
        assert pair["sample"] == f"0/{number}"
        shown = {side: client.get(pair[side]).content.decode() for side in ("left", "right")}
        assert set(shown.values()) == {f"digits 0/{number} 5", f"digits 0/{number} 10"}
        public = json.dumps(pair).replace(pair["pair"], "")
        assert "10" not in public.replace(f"0/{number}", "").replace(f'"n": {number}', ""), (
            "the sides are not disclosed"
        )
        side = "left" if shown["left"].endswith(" 5") else "right"
        lefts.add(side)
        answer = client.post("/api/runs/digits/labels", {"kind": "pair", "pair": pair["pair"], "answer": side}).values
        assert {answer["left"], answer["right"]} == {5, 10}
        counts = client.get("/api/runs/digits/labels?a=5&b=10").values
        assert (counts["a"], counts["b"], counts["share_a"]) == (number + 1, 0, 1.0)
    assert lefts == {"left", "right"}
    assert client.get("/api/runs/digits/labels?a=10&b=5").values["b"] == 12
    result = client.get("/api/runs/digits/labels?a=5&b=10").values
    assert (result["words"], result["winner"], result["share"]) == ("Step 5 is better.", 5, 1.0)
    assert result["detail"].startswith("Step 5 won 12 of 12 (100 %), with 95 % confidence 76 % to 100 %.")
    assert all(isinstance(label, PairLabel) for label in read_labels(runs / "digits"))
    again = client.post("/api/runs/digits/labels", {"kind": "pair", "pair": pair["pair"], "answer": "neither"}).values
    assert again["neither"] == 1, "the latest answer counts"
    assert client.get("/api/runs/digits/pair?a=5&b=5").status == 422
