"""Text models from the command line: train, kill, resume, sample, interpolate, evaluate and report."""

import dataclasses
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from rich.console import Console

from equipoise.cli import arguments, terminal
from equipoise.cli import main as cli
from equipoise.cli.commands.train import experiment_of
from equipoise.data.sentences import Sentences
from equipoise.errors import SettingError
from equipoise.evaluation.description import OTHER_DATA_NOTE, format_notes
from equipoise.evaluation.subject import EvaluationRequest, gather_data, open_request
from equipoise.experiment import launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment
from equipoise.inference.generator import load
from equipoise.report import film_frames, film_samples
from equipoise.report.run_history import read_history
from equipoise.report.samples import last_samples
from equipoise.runs.run import Run

STEPS = 24
SHARED_OPTIONS = (
    *("--steps", str(STEPS), "--batch-size", "8", "--sample-every", "12", "--evaluate-every", "12"),
    *("--save-every", "4", "--threads", "1"),
)
MODEL_OPTIONS = {
    "seqgan": (
        "--option",
        "likelihood_steps=10",
        "discriminator_pretraining_steps=4",
        "hidden=8",
        "widths=1,2",
        "maps=4,4",
        "rollouts=2",
    ),
    "textgan": ("--option", "autoencoding_steps=8", "swapping_steps=4", "hidden=8", "widths=1,2", "maps=4,4"),
}


def arguments_of(model: str, folder: Path, data: str = "sentences") -> list[str]:
    return ["train", data, "--model", model, *SHARED_OPTIONS, *MODEL_OPTIONS[model], "--out", str(folder)]


def train_without_report(args: list[str]) -> None:
    """Train with the arguments of a command line, but write no report."""
    for _ in launch.start(complete(experiment_of(arguments.parse(cli.parser("train"), args[1:]))), Path(args[-1])):
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of seqgan with its report."""
    folder = tmp_path_factory.mktemp("text") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equipoise.report.film.film_steps", lambda run: iter(()))  # it takes most of the time
        assert cli.run(arguments_of("seqgan", folder)) in (0, 3)
    return folder


@pytest.mark.parametrize("model", MODEL_OPTIONS)
def test_killed_text_run_resumes_to_the_same_bytes(
    model: str, run: Path, tmp_path: Path, kill_after_second_checkpoint, final_bytes
) -> None:
    """Killed after its second checkpoint: during pre-training or early in adversarial training."""
    uninterrupted = run
    if model != "seqgan":
        uninterrupted = tmp_path / "whole"
        train_without_report(arguments_of(model, uninterrupted))
    folder = tmp_path / "killed"
    kill_after_second_checkpoint(folder, *arguments_of(model, folder)[:-2])
    torch.manual_seed(99)
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    result, expected = final_bytes(folder), final_bytes(uninterrupted)
    assert result.keys() == expected.keys()
    assert [name for name in expected if result[name] != expected[name]] == []


@pytest.mark.parametrize(("model", "adversarial_start"), [("seqgan", 14), ("textgan", 12)])
def test_run_that_ends_during_pretraining_is_reported(model: str, adversarial_start: int, tmp_path: Path) -> None:
    outputs = []
    for steps in (adversarial_start, adversarial_start + 1):
        args = ["train", "sentences", "--model", model, *SHARED_OPTIONS, *MODEL_OPTIONS[model], "--steps", str(steps)]
        experiment = complete(experiment_of(arguments.parse(cli.parser("train"), args[1:])))
        console = Console(file=io.StringIO())
        terminal._ProgressLines(console).show(next(launch.start(experiment, tmp_path / str(steps))))
        outputs.append(console.file.getvalue())
    assert f"after step {adversarial_start}" in outputs[0]
    assert "--steps" in outputs[0]
    assert "adversarial" not in outputs[1]


def test_samples_are_written_as_lines_and_in_the_report(run: Path) -> None:
    files = sorted((run / "samples").iterdir())
    assert [file.name for file in files] == [f"step-{step:08d}.txt" for step in (0, 12, 24)]
    lines = files[-1].read_text().splitlines()
    assert len(lines) == 64
    generator = load(run)
    words = set(generator.spec.vocabulary.words)
    assert all(word in words for line in lines for word in line.split())
    assert last_samples(read_history(Run(run))).texts == tuple(lines)
    page = (run / "report.html").read_text()
    assert lines[0] in page
    assert lines[-1] not in page.replace(lines[0], "") or lines[-1] in lines[:32], "the page shows the first ones"
    count = f"{STEPS * 8} sentences"
    assert f"for {STEPS} steps ({count}, " in page
    assert last_samples(read_history(Run(run))).description == f"step {STEPS}, {count} seen"
    with Image.open(run / "figures" / "training_progress.png") as figure:
        bottom = np.asarray(figure.convert("L"))[-400:]
    assert (bottom < 100).mean() > 0.005, "the samples are drawn as text"


def test_a_film_has_room_for_sentences(run: Path) -> None:
    """The last frame, drawn without encoding: text at the left, and the other parts in the same place."""
    history = read_history(Run(run))
    last = last_samples(history)
    assert last is not None
    scene = film_frames.film_renderer(history, film_samples.sample_area([last]))
    (empty,) = scene.frames([(24.0, dataclasses.replace(last, texts=(" ",) * 64))])
    (frame,) = scene.frames([(24.0, last)])
    change = np.asarray(ImageChops.difference(empty, frame).convert("L"))
    assert (change[:, :700] > 100).mean() > 0.005
    assert not change[:, 700:].any()


def test_sentences_are_sampled_as_text(run: Path, tmp_path: Path, call) -> None:
    out = tmp_path / "new" / "some.txt"
    assert call("sample", run, "--count", "20", "--seed", "3", "--out", out)[0] == 0
    generator = load(run)
    samples = generator.sample(20, seed=3)
    assert samples.dtype == torch.float32
    assert out.read_text().splitlines() == [generator.spec.vocabulary.decode(row) for row in samples.tolist()]
    assert call("sample", run, "--count", "4", "--out", tmp_path / "folder")[0] == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["sentences.txt"]
    assert call("sample", run, "--count", "4", "--out", tmp_path / "some.npy")[0] == 0
    assert np.load(tmp_path / "some.npy").shape == (4, 7)


def test_small_truncation_gives_most_likely_sentence(run: Path) -> None:
    generator = load(run)
    greedy = generator.sample(10, truncation=1e-6)
    assert len(greedy.unique(dim=0)) == 1
    words = generator.networks["generator"](greedy[:1].long())[0].argmax(dim=1).tolist()
    text = generator.spec.vocabulary.decode
    assert text(words) == text(greedy[0].tolist())


def test_unsuitable_output_formats_are_refused(run: Path, error_line, tmp_path: Path) -> None:
    assert ".txt or .npy" in error_line("sample", run, "--out", tmp_path / "grid.png")
    line = error_line("sample", run, "--out", tmp_path / "folder", "--format", "csv")
    assert "these samples are sentences; use --format txt or npy" in line
    assert ".txt or .npy" in error_line("interpolate", run, "--out", tmp_path / "walk.mp4")


def test_interpolation_between_sentences_is_text(run: Path, tmp_path: Path, call) -> None:
    out = tmp_path / "walk.txt"
    assert call("interpolate", run, "--rows", "2", "--steps", "4", "--out", out)[0] == 0
    assert len(out.read_text().splitlines()) == 8


def test_all_suitable_metrics_are_evaluated(run: Path, call) -> None:
    code, out, _ = call("evaluate", run, "--count", 200, "--json")
    assert code == 0
    rows = {row["metric"]: row for row in json.loads(out)["metrics"]}
    likelihoods = ("nll_gen", "sentence_mass", "sentence_forward_kl", "sentence_reverse_kl", "sentence_entropy")
    assert list(rows) == ["validity", "bleu", "self_bleu", "copy_rate", "novelty", *likelihoods]
    assert rows["sentence_entropy"]["value"] <= np.log(10_000) + 1e-6
    assert rows["bleu"]["floor"]["value"] > rows["bleu"]["value"]


def test_other_vocabulary_is_refused(run: Path, error_line) -> None:
    options = ("--option", "data.words=43", "data.length=7", "data.train=100", "--count", "10")
    assert "different vocabularies" in error_line("evaluate", run, "--against", "oracle", *options)


def test_text_file_is_evaluated_against_data(tmp_path: Path, call, error_line) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("the cat sat on the mat\na cat sat on the mat\n")
    _, out, _ = call("evaluate", file, "--against", "sentences", "--metrics", "validity", "--json")
    assert json.loads(out)["metrics"][0]["value"] == 0.5
    file.write_bytes(b"\xef\xbb\xbfthe cat sat on the mat\r\na bird sat on the mat\r\n")
    _, out, _ = call("evaluate", file, "--against", "sentences", "--metrics", "validity", "--json")
    assert json.loads(out)["metrics"][0]["value"] == 1
    file.write_text("the cat sat on the mat\na frog sat on the mat\n")
    line = error_line("evaluate", file, "--against", "sentences")
    assert "mine.txt, line 2: 'frog' is not one of the 43 words of the vocabulary" in line
    assert "the reals are not text" in error_line("evaluate", file, "--against", "digits")
    line = error_line("evaluate", file.with_name("other.txt"), "--against", "sentences")
    assert "does not exist" in line


def test_likelihood_metric_needs_a_generator(tmp_path: Path, error_line) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("the cat sat on the mat\n" * 3)
    line = error_line("evaluate", file, "--against", "sentences", "--metrics", "nll_gen")
    assert "nll_gen needs a generator" in line
    line = error_line("train", "sentences", "--metric", "nll_gen", "--out", tmp_path / "run")
    assert "'nll_gen' cannot be computed during training" in line
    assert not (tmp_path / "run").exists()


def test_text_file_is_training_data(working_directory: Path, call, error_line) -> None:
    """The file name suffices; a run knows its words without the file, and unknown words are refused by their line."""
    Path("my.txt").write_text("\n".join(f"word{number % 7} and word{number % 11}" for number in range(200)))
    train_without_report(arguments_of("seqgan", Path("run"), "my.txt"))
    options = json.loads(Path("run/experiment.json").read_text())["data"]
    assert options["name"] == "text_lines"
    assert options["options"]["file"] == str(working_directory / "my.txt")
    Path("other.txt").write_text("word1 and word2\nword1 and zebra\n")
    assert "other.txt, line 2: 'zebra' is not one of" in error_line(
        "evaluate", "run", "--against", "other.txt", "--count", "10"
    )
    Path("my.txt").unlink()
    assert call("sample", "run", "--count", "3", "--out", "some.txt")[0] == 0
    assert len(Path("some.txt").read_text().splitlines()) == 3


def test_own_text_is_compared_with_held_out_lines_and_other_text_with_all(working_directory: Path, call) -> None:
    source = random.Random(0)
    lines = sorted({" ".join(source.choices("abcdefgh", k=6)) for _ in range(1000)})[:900]
    Path("my.txt").write_text("\n".join(lines))
    train_without_report(arguments_of("seqgan", Path("run"), "my.txt"))
    own = gather_data(open_request(EvaluationRequest(samples=Path("run"), count=20)))
    same = gather_data(open_request(EvaluationRequest(samples=Path("run"), against="my.txt", count=20)))
    everything = gather_data(open_request(EvaluationRequest(samples=Path("run"), against="my.txt", count=900)))
    assert torch.equal(same.reals.real, own.reals.real)
    assert (len(everything.reals), len(everything.train), everything.split) == (90, 810, "held_out")
    reals, train = ({tuple(row) for row in rows.real.tolist()} for rows in (everything.reals, everything.train))
    assert not reals & train
    Path("other.txt").write_text("\n".join(line[::-1] for line in lines[:70]))
    other = gather_data(open_request(EvaluationRequest(samples=Path("run"), against="other.txt", count=900)))
    assert (len(other.reals), len(other.train)) == (70, 810), "all of its lines, and the training data of the run"
    assert {tuple(row) for row in other.train.real.tolist()} == train
    assert OTHER_DATA_NOTE in format_notes(other)
    command = ("evaluate", "run", "--against", "other.txt", "--metrics", "copy_rate,bleu,self_bleu", "--json")
    code, out, _ = call(*command, "--count", 100)
    assert code == 0
    assert [row["floor"]["count"] for row in json.loads(out)["metrics"]] == [35, 35, 35], (
        "one half of the reals against the other"
    )


def test_no_metric_without_held_out_data(working_directory: Path) -> None:
    Path("my.txt").write_text("\n".join(f"word{number % 7} and word{number % 11}" for number in range(200)))
    args = [*arguments_of("seqgan", Path("run"), "my.txt")[:-2], "data.held_out=0", "--out", "run"]
    train_without_report(args)
    assert not Run(Path("run")).lines("evaluated")
    with pytest.raises(SettingError, match="'bleu' needs held-out data"):
        train_without_report([*args[:-1], "other", "--metric", "bleu", "--out", "other"])


def test_copy_rate_compares_with_all_training_sentences(tmp_path: Path) -> None:
    """Of 2,000 sentences 1,812 differ; a comparison with only 1,000 would miss half of the copies."""
    experiment = complete(Experiment(data="sentences", model="seqgan", metric="copy_rate", steps=1))
    result = assemble(experiment, None).evaluation
    train = Sentences().stream("train", 2000, 0).batch(0).real
    assert result.metric.value(result.statistics, train) == 1


def test_oracle_of_another_seed_can_be_evaluated(working_directory: Path, error_line) -> None:
    data = ["data.words=20", "data.length=5", "data.size=4", "data.train=300"]
    train_without_report([*arguments_of("seqgan", Path("run"), "oracle")[:-2], *data, "--out", "run"])
    request = EvaluationRequest(samples=Path("run"), options={"data": {"seed": "3"}}, metrics=("nll_oracle",), count=20)
    own = open_request(EvaluationRequest(samples=Path("run"), metrics=("nll_oracle",)))
    assert open_request(request).data.digest not in (None, own.data.digest)
    line = error_line("evaluate", "run", "--option", "data.seed=3", f"data.digest={own.data.digest}")
    assert "words = 20, size = 4 and seed = 3 do not give the oracle of this digest" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file ./my.txt"),
        (b"", "my.txt is empty"),
        (bytes(range(256)), "not UTF-8 text"),
        (b"the cat sat on the mat", "contains only one distinct line"),
        (("\n".join(f"w{n}" for n in range(10_001))).encode(), "has 10,001 different words"),
    ],
)
def test_invalid_text_files_are_refused(
    working_directory: Path, error_line, content: bytes | None, message: str
) -> None:
    if content is not None:
        Path("my.txt").write_bytes(content)
    assert message in error_line("train", "./my.txt", "--out", "run")
    assert not Path("run").exists()


def test_image_knobs_do_not_exist_for_text(error_line, tmp_path: Path) -> None:
    for knob in ("augment_p", "instance_noise", "r1_gamma"):
        line = error_line("train", "sentences", "--set", f"{knob}=0.1", "--out", tmp_path / "run")
        assert f"there is no knob '{knob}'" in line
    assert "generates images, not sentences; use --model seqgan" in error_line("train", "sentences", "--model", "dcgan")


def test_text_model_is_exported_as_weights_only(run: Path, tmp_path: Path, call, error_line) -> None:
    assert call("export", run, "--format", "safetensors", "--out", tmp_path / "weights")[0] == 0
    about = json.loads((tmp_path / "weights" / "model.json").read_text())["outputs"]["samples"]
    assert (about["words"][:3], about["separator"]) == (["<end>", "a", "bird"], " ")
    assert "use --format torch or safetensors" in error_line(
        "export", run, "--format", "onnx", "--out", tmp_path / "graph"
    )
    assert not (tmp_path / "graph").exists()
