"""`equipoise evaluate`: what it reads, what it prints, and each thing that can be wrong, in a line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.cli import main as cli
from equipoise.core.metric import check_independent
from equipoise.data.digits import Digits
from equipoise.data.ring import Ring
from equipoise.errors import DataError, SettingError
from equipoise.evaluation import evaluate as evaluation
from equipoise.evaluation import subject as judged
from equipoise.evaluation.evaluate import evaluate, metrics_used_for_control
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.metrics._features_digits import DigitFeatures
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """One command in this process: exit code, standard output, standard error."""

    def called(*words: object) -> tuple[int, str, str]:
        code = cli.run(["evaluate", *(str(word) for word in words)])
        return code, *capsys.readouterr()

    return called


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path, images: torch.Tensor) -> Path:
    """Images (N, 1, H, W) in [-1, 1] as a folder of PNGs."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        write_bytes(folder / f"{number:04d}.png", encode_png(make_grid(image[None].numpy())))
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 training digits of 16 x 16 pixels as a folder of images."""
    return written(tmp_path_factory.mktemp("digits") / "images", Digits(16).stream("train", 120, 5).batch(0).real)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 points of the ring as an array."""
    path = tmp_path_factory.mktemp("points") / "points.npy"
    np.save(path, Ring().stream("train", 500, 5).batch(0).real.numpy())
    return path


@pytest.mark.parametrize("few", [False, True])
def test_reals_are_never_compared_with_themselves(
    few: bool, points: Path, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the split to train on was asked for, or stands in for too few that are held out."""
    if few:
        monkeypatch.setattr(judged, "FEW_HELD_OUT", 10**9)
    split = () if few else ("--split", "train")
    code, out, _ = call(
        points, "--against", "ring", *split, "--count", 400, "--metrics", "reverse_kl,density", "--json"
    )
    told = json.loads(out)
    assert code == 0
    assert told["protocol"]["floor"]["of"] == "one half of the reals"
    assert [row["floor"]["count"] for row in told["metrics"]] == [200, 200]
    assert told["metrics"][1]["floor"]["value"] < 1.3, "5 of them would be within reach of each if it were itself"


def test_a_run_is_judged_by_what_suits_its_data(call, trained: Path) -> None:
    code, out, err = call(trained, "--count", 150, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    rows = {row["metric"]: row for row in told["metrics"]}
    assert list(rows) == ["fd_digits", "kd_digits", "precision", "recall", "density", "coverage"]
    assert told["protocol"]["samples"] == {
        "run": str(trained),
        "step": 12,
        "weights": "averaged",
        "labels": "as those of the reals",
        "count": 150,
    }
    reals = told["protocol"]["reals"]
    assert (reals["data"], reals["split"], reals["count"]) == ("digits", "held_out", 150)
    assert reals["options"]["image_size"] == 16
    for row in rows.values():
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
        assert (row["samples"], row["reals"], row["floor"]["count"]) == (150, 150, 150)
        assert row["features"] == DigitFeatures.digest
    assert rows["fd_digits"]["value"] > 5 * rows["fd_digits"]["floor"]["value"], "twelve steps make no digits"
    assert told["protocol"]["interval"] == {"level": 0.95, "draws": 200, "by": "bootstrap"}
    assert set(told["protocol"]["versions"]) >= {"torch", "equipoise"}


def test_the_same_seed_gives_the_same_figures(trained: Path) -> None:
    def figures(seed: int) -> list[tuple[object, ...]]:
        result = evaluate(EvaluationRequest(samples=trained, metrics=("kd_digits", "recall"), count=60, seed=seed)).rows
        return [(row.value, row.interval, row.floor) for row in result]

    assert figures(1) == figures(1) != figures(2)


def test_the_table_says_what_stands_beside_what(call, digits: Path) -> None:
    code, out, _ = call(
        digits, "--against", "digits", "--option", "data.image_size=16", "--metrics", "kd_digits,recall"
    )
    assert code == 0
    head, first, second, blank, shared, beware = out.splitlines()
    assert head.split() == ["metric", "value", "95", "%", "interval", "reals", "get", "samples", "reals", "features"]
    assert first.startswith("kd_digits ↓")
    assert first.endswith("120  1,000  e30bfb54")
    assert second.startswith("recall ↑")
    assert blank == ""
    assert shared == f"120 samples of {digits}, seed 0, beside 1,000 held_out reals of digits"
    assert beware == "recall: 120 samples beside 1,000 reals: compare it at the same two counts only"


def test_an_array_of_points_is_judged_by_modes(call, points: Path) -> None:
    told = json.loads(call(points, "--against", "ring", "--json")[1])
    values = {row["metric"]: row["value"] for row in told["metrics"]}
    assert values.keys() == {"modes", "high_quality", "reverse_kl"}
    assert values["modes"] == 8
    assert values["high_quality"] == pytest.approx(0.989, abs=0.02)
    assert values["reverse_kl"] < 0.05
    chosen = json.loads(call(points, "--against", "ring", "--metrics", "precision", "--json")[1])["metrics"][0]
    assert chosen["features"] is None, "points are compared as they are"


def test_a_network_looks_once_whoever_asks(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    looked = DigitFeatures.__call__

    def counted(self: DigitFeatures, samples: torch.Tensor) -> torch.Tensor:
        seen.append(len(samples))
        return looked(self, samples)

    monkeypatch.setattr(DigitFeatures, "__call__", counted)
    monkeypatch.setattr(judged, "TRAINED", 200)
    options = {"data": {"image_size": "16"}}
    names = ("kd_digits", "recall", "auth_pct")
    rows = evaluate(EvaluationRequest(samples=digits, against="digits", metrics=names, options=options, count=90)).rows
    assert seen == [90, 90, 90, 200], "reals, samples, as many training reals, and all of them for copies"
    assert rows[-1].warnings == ("copies are looked for among 200 of 4,000 training reals",)
    assert rows[0].warnings == ()


def test_labels_are_drawn_as_the_reals_have_them(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.evaluation.samples import generate_samples
    from equipoise.inference.generator import load_generator

    generator = load_generator(trained)
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(type(generator), "make", lambda self, latents, labels: asked.append(labels) or latents)
    object.__setattr__(generator.model, "num_classes", 10)
    labels = torch.tensor([3, 3, 3, 7])
    generate_samples(trained, generator, 2000, 0, labels)
    assert set(asked[0].tolist()) == {3, 7}
    assert (asked[0] == 3).float().mean() == pytest.approx(0.75, abs=0.05)
    with pytest.raises(DataError, match="takes labels, and these reals have none"):
        generate_samples(trained, generator, 10, 0, None)


def test_copies_are_found_and_shown(call, trained: Path, tmp_path: Path) -> None:
    copies = written(tmp_path / "copies", Digits(16).stream("train", 200, 0).batch(0).real)
    words = ("--against", "digits", "--option", "data.image_size=16", "--metrics", "auth_pct,c_t")
    code, out, _ = call(copies, *words, "--count", 500, "--neighbours", "made/pairs.png", "--json")
    told = json.loads(out)
    assert code == 0
    values = {row["metric"]: row for row in told["metrics"]}
    assert values["auth_pct"]["value"] < 5 < 40 < values["auth_pct"]["floor"]["value"]
    assert values["c_t"]["value"] < -5 < values["c_t"]["floor"]["value"]
    assert told["neighbours"] == "made/pairs.png"
    with Image.open("made/pairs.png") as picture:
        assert picture.size == (6 * 18 - 2, 12 * 18 - 2)
        sheet = np.asarray(picture).astype(int)
    assert abs(sheet[:16, :16] - sheet[:16, 18:34]).max() <= 1, "a copy and its original side by side"


def test_path_length_needs_a_run(trained: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PATHS", 6)
    (row,) = evaluate(EvaluationRequest(samples=trained, metrics=("ppl",), count=60)).rows
    assert row.value > 0
    assert (row.samples, row.reals, row.floor) == (6, 0, None)
    options = {"data": {"image_size": "16"}}
    with pytest.raises(SettingError, match="ppl needs a generator: give a run, not a folder"):
        evaluate(EvaluationRequest(samples=digits, against="digits", metrics=("ppl",), options=options))


def test_with_few_held_out_reals_training_ones_stand_in(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "FEW_HELD_OUT", 2000)
    options = {"data": {"image_size": "16"}}
    result = evaluate(EvaluationRequest(samples=digits, against="digits", metrics=("kd_digits",), options=options, count=90))
    assert result.protocol["reals"]["split"] == "train"
    assert result.protocol["notes"] == [
        "held-out reals are too few (1000): training reals stand in for them, so that copies look good"
    ]


def test_a_few_samples_of_many_features_are_doubted(call, digits: Path) -> None:
    _, out, _ = call(digits, "--against", "digits", "--option", "data.image_size=16", "--metrics", "fd_pixels")
    assert out.splitlines()[-1] == (
        "fd_pixels: 120 samples are no more than the 256 features, so it is mostly bias: trust kd_efficientnet_lite0"
    )


def steered(folder: Path) -> None:
    """A line as a controller writes it that looked at the metric."""
    line = {
        "event": "turned",
        "step": 9,
        "images": 72,
        "knob": "lr_g",
        "from": 1,
        "to": 2,
        "by": "x",
        "why": "kd_digits fell",
    }
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join((*lines[:-1], json.dumps(line) + "\n", lines[-1])))


def test_what_steered_a_run_does_not_report_it(call, run_folder: Path) -> None:
    from equipoise.experiment.files import load_run_experiment

    assert metrics_used_for_control(run_folder, load_run_experiment(run_folder)) == {}
    steered(run_folder)
    assert metrics_used_for_control(run_folder, load_run_experiment(run_folder)) == {"kd_digits": DigitFeatures.digest}
    code, _, err = call(run_folder, "--metrics", "fd_digits", "--count", 60)
    assert (code, err) == (
        2,
        "equipoise: the run was steered by kd_digits, which looks through the same features as fd_digits; "
        "report it by other features\n",
    )
    assert call(run_folder, "--metrics", "fd_pixels", "--count", 60)[0] == 0


def test_features_are_told_apart_by_their_digests() -> None:
    check_independent({"kd_digits": "ab"}, {"fid": "cd", "fd_pixels": None})
    check_independent({"modes": None}, {"fd_pixels": None})
    check_independent({}, {"fid": "cd"})
    with pytest.raises(SettingError, match="steered by kd_digits, which looks through the same features as recall"):
        check_independent({"kd_digits": "ab"}, {"fid": "cd", "recall": "ab"})
    with pytest.raises(SettingError, match="steered by modes"):
        check_independent({"modes": None}, {"modes": None})


def spoilt_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere is no run; say by --against what its samples are to be compared with"),
        (["nowhere", "--against", "digits"], "nowhere is neither a run, nor a folder of images, nor an array (.npy)"),
        (
            ["one", "--against", "digits"],
            "there is 1 sample in one; a metric compares many: give it a thousand or more",
        ),
        (["empty", "--against", "digits"], "there is no image in empty; images end in .png"),
        (["mixed", "--against", "digits"], "0.png is 16 x 16 pixels, 1.png 20 x 16; metrics need images of one size"),
        (["small", "--against", "digits"], "the samples in small are 1 x 16 x 16, the reals 1 x 32 x 32; bring them"),
        (["broken", "--against", "digits"], "0.png cannot be read as an image; delete it"),
        (["small", "--against", "ring"], "the reals are points, no images; give an array (.npy) of points"),
        (["pickle.npy", "--against", "ring"], "pickle.npy holds no array of numbers; write it by numpy.save"),
        (["whole.npy", "--against", "ring"], "whole.npy holds int64 of shape (5, 2); give floats"),
        (["far.npy", "--against", "digits"], "far.npy holds images that reach beyond [-1, 1]; scale them to it"),
        (["small", "--against", "digts"], "there is no data set 'digts'; did you mean 'digits'?"),
        (["small", "--against", "digits", "--metrics", "fidd"], "there is no metric 'fidd'; did you mean 'fid'?"),
        (["small", "--against", "digits", "--metrics", "modes"], "the metric 'modes' does not suit this data"),
        (["small", "--against", "digits", "--split", "test"], "there is no split 'test'"),
        (["small", "--against", "digits", "--count", "1"], "count = 1: it must be at least 2"),
        (["small", "--against", "digits", "--option", "weights=x"], "--option takes the owner of an option, too"),
        (["small", "--against", "digits", "--option", "fid.weights=x"], "--option fid.… is of a metric that is not"),
        (["points.npy", "--against", "ring", "--neighbours", "a.png"], "neighbours are shown of images"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(call, words: list[str], line: str, tmp_path: Path) -> None:
    for name, sizes in {"one": [(16, 16)], "small": [(16, 16)] * 3, "mixed": [(16, 16), (20, 16)], "empty": []}.items():
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            Image.new("L", size).save(tmp_path / name / f"{number}.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    spoilt_array(tmp_path / "pickle.npy")
    np.save(tmp_path / "whole.npy", np.zeros((5, 2), dtype=np.int64))
    np.save(tmp_path / "far.npy", np.full((5, 1, 32, 32), 2.0))
    np.save(tmp_path / "points.npy", Ring().stream("train", 60, 0).batch(0).real.numpy())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    assert line in err
    assert {path: path.read_bytes() for path in before} == before


def test_other_reals_than_a_run_was_made_for_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this run makes samples of 1 x 16 x 16, the reals are 2;"):
        evaluate(EvaluationRequest(samples=trained, against="ring"))


def test_a_run_without_weights_is_told(call, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "checkpoints")
    (run_folder / "generator.safetensors").unlink()
    code, _, err = call(run_folder)
    assert code == 2
    assert "has no weights yet" in err
