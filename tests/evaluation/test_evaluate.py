"""`equipoise evaluate`: input, output, and one-line errors."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.metric import check_independent
from equipoise.data.digits import Digits
from equipoise.data.ring import Ring
from equipoise.errors import DataError, SettingError
from equipoise.evaluation import evaluate as evaluation
from equipoise.evaluation import subject
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.selection import metrics_used_for_control
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.metrics._features_small import DigitFeatures
from equipoise.runs.artifacts import encode_png, make_grid, write_bytes
from equipoise.runs.run import Run

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture
def call(call: Callable[..., tuple[int, str, str]]):
    """Return a function that runs `evaluate`: exit code, standard output, standard error."""
    return functools.partial(call, "evaluate")


def write_images(folder: Path, images: torch.Tensor) -> Path:
    """Write images (N, 1, H, W) in [-1, 1] as a folder of PNG files."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        write_bytes(folder / f"{number:04d}.png", encode_png(make_grid(image[None].numpy())))
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 120 training digits of 16 × 16 pixels."""
    return write_images(tmp_path_factory.mktemp("digits") / "images", Digits(16).stream("train", 120, 5).batch(0).real)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Array file of 500 points of the ring."""
    path = tmp_path_factory.mktemp("points") / "points.npy"
    np.save(path, Ring().stream("train", 500, 5).batch(0).real.numpy())
    return path


@pytest.mark.parametrize("few", [False, True])
def test_reals_are_not_compared_with_themselves(few: bool, points: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --split train, and if training reals replace too few held-out ones."""
    if few:
        monkeypatch.setattr(subject, "MIN_HELD_OUT", 10**9)
    split = () if few else ("--split", "train")
    code, out, _ = call(
        points, "--against", "ring", *split, "--count", 400, "--metrics", "reverse_kl,density", "--json"
    )
    output = json.loads(out)
    assert code == 0
    assert output["protocol"]["floor"]["of"] == "one half of the reals"
    assert [row["floor"]["count"] for row in output["metrics"]] == [200, 200]
    assert output["metrics"][1]["floor"]["value"] < 1.3, "a real is not its own neighbour"


def test_run_is_evaluated_with_default_metrics(call, trained: Path) -> None:
    code, out, err = call(trained, "--count", 150, "--json")
    assert (code, err) == (0, "")
    output = json.loads(out)
    rows = {row["metric"]: row for row in output["metrics"]}
    assert list(rows) == ["fd_digits", "kd_digits", "precision", "recall", "density", "coverage"]
    assert output["protocol"]["samples"] == {
        "run": str(trained),
        "step": 12,
        "weights": "averaged",
        "labels": "as those of the reals",
        "count": 150,
    }
    reals = output["protocol"]["reals"]
    assert (reals["data"], reals["split"], reals["count"]) == ("digits", "held_out", 150)
    assert reals["options"]["image_size"] == 16
    for row in rows.values():
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
        assert (row["samples"], row["reals"], row["floor"]["count"]) == (150, 150, 150)
        assert row["features"] == DigitFeatures.digest
    assert rows["fd_digits"]["value"] > 5 * rows["fd_digits"]["floor"]["value"], "twelve steps do not train a generator"
    assert output["protocol"]["interval"] == {"level": 0.95, "draws": 200, "by": "bootstrap"}
    assert set(output["protocol"]["versions"]) >= {"torch", "equipoise"}
    cost = output["protocol"]["sampling"]
    assert cost["seconds_per_1000"] > 0
    assert cost["cpu_seconds_per_1000"] > 0
    assert (cost["count"], cost["batch_size"], cost["device"]) == (150, 16, "cpu")


def test_classes_of_a_run_are_reported(call, trained: Path) -> None:
    """A conditional generator of digits: recall by class within the samples of that class."""
    words = (trained, "--count", 300, "--metrics", "kd_digits,precision,recall")
    rows = {row["metric"]: row for row in json.loads(call(*words, "--json")[1])["metrics"]}
    assert rows["kd_digits"]["classes"] == []
    for name in ("precision", "recall"):
        classes = rows[name]["classes"]
        assert [value["name"] for value in classes] == [str(digit) for digit in range(10)]
        assert sum(value["samples"] for value in classes) == 300
        assert sum(value["reals"] for value in classes) == 300
        assert all(0 <= value["value"] <= 1 and value["floor"] > 0.3 for value in classes)
    lines = call(*words)[1].splitlines()
    table = lines[5:16]
    assert table[0].split() == ["class", "precision", "recall", "samples", "reals"]
    assert [line.split()[0] for line in table[1:]] == [str(digit) for digit in range(10)]
    assert lines[17].startswith("300 samples of ")
    assert "s per 1,000 samples (" in lines[18]
    assert lines[18].split(" s of CPU time), ")[1].startswith("16 at once on cpu, ")


def test_reals_of_samples_without_labels_have_classes(call, digits: Path) -> None:
    """120 training digits in files reach every class; they have no labels of their own, so precision has no classes."""
    words = ("--against", "digits", "--option", "data.image_size=16", "--metrics", "precision,recall", "--count", 120)
    output = json.loads(call(digits, *words, "--json")[1])
    precision, recall = output["metrics"]
    assert precision["classes"] == []
    assert {value["samples"] for value in recall["classes"]} == {120}
    share = sum(value["value"] * value["reals"] for value in recall["classes"]) / recall["reals"]
    assert share == pytest.approx(recall["value"])
    assert output["protocol"]["sampling"] is None


def test_many_classes_are_shortened(call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.cli.commands import evaluate as command

    monkeypatch.setattr(command, "MAX_CLASSES", 3)
    lines = call(trained, "--count", 300, "--metrics", "recall")[1].splitlines()
    values = [float(line.split()[1]) for line in lines[4:7]]
    assert values == sorted(values)
    assert lines[7] == "3 of 10 classes, those with the lowest recall; all: --json"


def test_same_seed_gives_same_values(trained: Path) -> None:
    def values(seed: int) -> list[tuple[object, ...]]:
        result = evaluate(EvaluationRequest(samples=trained, metrics=("kd_digits", "recall"), count=60, seed=seed)).rows
        return [(row.value, row.interval, row.floor) for row in result]

    assert values(1) == values(1) != values(2)


def test_table_of_text_output(call, digits: Path) -> None:
    code, out, _ = call(
        digits, "--against", "digits", "--option", "data.image_size=16", "--metrics", "kd_digits,recall"
    )
    assert code == 0
    head, first, second, *rest = out.splitlines()
    empty, (shared, *notes, beware) = rest[0], rest[rest.index("", 1) + 1 :]
    assert all(note.startswith("samples: ") for note in notes)
    assert head.split()[:5] == ["metric", "value", "95", "%", "interval"]
    assert head.split()[-3:] == ["samples", "reals", "features"]
    assert first.startswith("kd_digits ↓")
    assert first.endswith("120  1,000  e30bfb54")
    assert second.startswith("recall ↑")
    assert empty == ""
    assert all(words in shared for words in (f"120 samples of {digits}", "seed 0", "1,000 held_out reals of digits"))
    assert beware.startswith("recall: 120 samples, but 1,000 reals")


def test_array_of_points_is_evaluated_by_modes(call, points: Path) -> None:
    output = json.loads(call(points, "--against", "ring", "--json")[1])
    values = {row["metric"]: row["value"] for row in output["metrics"]}
    assert values.keys() == {"modes", "high_quality", "reverse_kl"}
    assert values["modes"] == 8
    assert values["high_quality"] == pytest.approx(0.989, abs=0.02)
    assert values["reverse_kl"] < 0.05
    row = json.loads(call(points, "--against", "ring", "--metrics", "precision", "--json")[1])["metrics"][0]
    assert row["features"] is None, "points need no feature network"


def test_features_are_extracted_once(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = DigitFeatures.__call__

    def count_calls(self: DigitFeatures, samples: torch.Tensor) -> torch.Tensor:
        sizes.append(len(samples))
        return original(self, samples)

    monkeypatch.setattr(DigitFeatures, "__call__", count_calls)
    monkeypatch.setattr(subject, "MAX_TRAIN_REALS", 200)
    options = {"data": {"image_size": "16"}}
    names = ("kd_digits", "recall", "auth_pct:digits")
    rows = evaluate(EvaluationRequest(samples=digits, against="digits", metrics=names, options=options, count=90)).rows
    assert sizes == [90, 90, 90, 200], "reals, samples, as many training reals, and all of them to search for copies"
    assert ["200 of 4,000 training reals" in warning for warning in rows[-1].warnings] == [True]
    assert rows[0].warnings == ()


def test_labels_are_sampled_from_those_of_the_reals(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.evaluation.samples import generate_samples
    from equipoise.inference.generator import load

    generator = load(trained)
    labels_used: list[torch.Tensor] = []
    monkeypatch.setattr(
        type(generator), "generate", lambda self, latents, labels, sampling: labels_used.append(labels) or latents
    )
    object.__setattr__(generator.model, "num_classes", 10)
    labels = torch.tensor([3, 3, 3, 7])
    generate_samples(trained, generator, 2000, 0, labels)
    assert set(labels_used[0].tolist()) == {3, 7}
    assert (labels_used[0] == 3).float().mean() == pytest.approx(0.75, abs=0.05)
    with pytest.raises(DataError, match="takes labels, but the reals have none"):
        generate_samples(trained, generator, 10, 0, None)


def test_copies_are_detected_and_shown(call, trained: Path, tmp_path: Path) -> None:
    copies = write_images(tmp_path / "copies", Digits(16).stream("train", 200, 0).batch(0).real)
    words = ("--against", "digits", "--option", "data.image_size=16", "--metrics", "auth_pct,c_t")
    code, out, _ = call(copies, *words, "--count", 500, "--neighbours", "made/pairs.png", "--json")
    output = json.loads(out)
    assert code == 0
    values = {row["metric"]: row for row in output["metrics"]}
    assert values["auth_pct"]["value"] < 5 < 40 < values["auth_pct"]["floor"]["value"]
    assert values["c_t"]["value"] < -5 < values["c_t"]["floor"]["value"]
    assert output["neighbours"] == "made/pairs.png"
    with Image.open("made/pairs.png") as picture:
        assert picture.size == (6 * 18 - 2, 12 * 18 - 2)
        sheet = np.asarray(picture).astype(int)
    assert abs(sheet[:16, :16] - sheet[:16, 18:34]).max() <= 1, "a copy and its original side by side"


def test_path_length_needs_a_run(trained: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_PATHS", 6)
    (row,) = evaluate(EvaluationRequest(samples=trained, metrics=("ppl",), count=60)).rows
    assert row.value > 0
    assert (row.samples, row.reals, row.floor) == (6, 0, None)
    with pytest.raises(SettingError, match="dcgan has no mapping network, so it has no path lengths in w"):
        evaluate(EvaluationRequest(samples=trained, metrics=("ppl:w_end",), count=60))
    options = {"data": {"image_size": "16"}}
    with pytest.raises(SettingError, match="ppl needs a generator; pass a run"):
        evaluate(EvaluationRequest(samples=digits, against="digits", metrics=("ppl",), options=options))


def test_few_held_out_reals_are_replaced_by_training_reals(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MIN_HELD_OUT", 2000)
    options = {"data": {"image_size": "16"}}
    result = evaluate(
        EvaluationRequest(samples=digits, against="digits", metrics=("kd_digits",), options=options, count=90)
    )
    assert result.protocol["reals"]["split"] == "train"
    assert any("only 1000 held-out reals" in note for note in result.protocol["notes"])


def test_few_samples_give_a_warning(call, digits: Path) -> None:
    _, out, _ = call(digits, "--against", "digits", "--option", "data.image_size=16", "--metrics", "fd_pixels")
    assert out.splitlines()[-1].startswith("fd_pixels: only 120 samples for 256 features")
    assert "use kd_efficientnet_lite0" in out.splitlines()[-1]


def log_metric_as_reason(folder: Path) -> None:
    """Insert an event of a controller whose reason is the metric."""
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


def test_metric_used_for_control_is_refused(call, run_folder: Path) -> None:
    from equipoise.experiment.files import load_run_experiment

    run, experiment = Run(run_folder), load_run_experiment(run_folder)
    assert metrics_used_for_control(run, experiment) == {}
    log_metric_as_reason(run_folder)
    assert metrics_used_for_control(run, experiment) == {"kd_digits": DigitFeatures.digest}
    code, _, err = call(run_folder, "--metrics", "fd_digits", "--count", 60)
    assert code == 2
    assert "fd_digits cannot be reported: the run was controlled by kd_digits" in err
    assert call(run_folder, "--metrics", "fd_pixels", "--count", 60)[0] == 0


def test_independence_is_checked_by_digest() -> None:
    check_independent({"kd_digits": "ab"}, {"fid": "cd", "fd_pixels": None})
    check_independent({"modes": None}, {"fd_pixels": None})
    check_independent({}, {"fid": "cd"})
    with pytest.raises(SettingError, match="recall cannot be reported: the run was controlled by kd_digits"):
        check_independent({"kd_digits": "ab"}, {"fid": "cd", "recall": "ab"})
    with pytest.raises(SettingError, match="controlled by modes"):
        check_independent({"modes": None}, {"modes": None})


def write_pickled_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere does not exist; give a run, or samples"),
        (["small"], "small is not a run; name the reals with --against"),
        (["nowhere", "--against", "digits"], "nowhere does not exist; give a run, or samples"),
        (
            ["one", "--against", "digits"],
            "one contains 1 sample",
        ),
        (["empty", "--against", "digits"], "empty contains no image"),
        (["broken", "--against", "digits"], "0.png (not an image in a known format)"),
        (["small", "--against", "ring"], "the reals are points with 2 coordinates; small cannot be compared with them"),
        (["pickle.npy", "--against", "ring"], "pickle.npy is not an array of numbers; write it with numpy.save"),
        (["whole.npy", "--against", "ring"], "whole.npy is int64 of shape (5, 2)"),
        (["points.npy", "--against", "small"], "have 2 values each, but the reals are grey images of 16 x 16 pixels"),
        (
            ["small", "--against", "digts"],
            "there is no data set 'digts' and no folder or file of that name; did you mean 'digits'?",
        ),
        (["small", "--against", "digits", "--metrics", "fidd"], "there is no metric 'fidd'; did you mean 'fid'?"),
        (
            ["small", "--against", "digits", "--metrics", "modes"],
            "it needs labelled points in the plane, these are grey images of 16 x 16 pixels; suitable: auth_pct, c_t",
        ),
        (["small", "--against", "digits", "--split", "tests"], "there is no split 'tests'"),
        (["small", "--against", "digits", "--count", "1"], "count = 1: it must be at least 2"),
        (["small", "--against", "digits", "--option", "weights=x"], "--option needs the name of a metric"),
        (
            ["small", "--against", "digits", "--option", "fid.weights=x"],
            "--option fid.… belongs to a metric that is not selected",
        ),
        (["points.npy", "--against", "ring", "--neighbours", "a.png"], "--neighbours needs image samples"),
    ],
)
def test_invalid_input_is_reported_in_one_line(call, words: list[str], line: str, tmp_path: Path) -> None:
    for name, sizes in {"one": [(16, 16)], "small": [(16, 16)] * 3, "mixed": [(16, 16), (20, 16)], "empty": []}.items():
        (tmp_path / name).mkdir()
        for number, size in enumerate(sizes):
            Image.new("L", size).save(tmp_path / name / f"{number}.png")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"no picture")
    write_pickled_array(tmp_path / "pickle.npy")
    np.save(tmp_path / "whole.npy", np.zeros((5, 2), dtype=np.int64))
    np.save(tmp_path / "points.npy", Ring().stream("train", 60, 0).batch(0).real.numpy())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    assert line in err
    assert {path: path.read_bytes() for path in before} == before


def test_reals_of_another_shape_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the run generates samples of 1 x 16 x 16, but the reals are 2;"):
        evaluate(EvaluationRequest(samples=trained, against="ring"))


def test_run_without_weights_is_refused(call, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "checkpoints")
    (run_folder / "generator.safetensors").unlink()
    code, _, err = call(run_folder)
    assert code == 2
    assert "generator.safetensors is missing" in err
