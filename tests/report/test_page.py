import base64
import io
import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equipoise.core.events import Evaluated, Finished
from equipoise.core.sampling_cost import SamplingCost
from equipoise.errors import RunError
from equipoise.report.page import write_page, write_report
from equipoise.report.run_summary import rerun_command
from equipoise.runs.run import Run

from .conftest import BATCH, EXPERIMENT, Maker, pictures, sensed, started, turned

HOSTILE: Any = "<script>alert('&\"')</script>"
VOID = {"meta", "img", "link", "br", "source"}


class Reader(HTMLParser):
    """Collect tags, texts and images, and check that every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.scripts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words += data
        elif "script" in self.open:
            self.scripts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_has_all_sections(reported: Path) -> None:
    page = Reader((reported / "report.html").read_text())
    text = " ".join(page.words.split())
    for words in (
        "The model dcgan:lab32 was trained on digits",
        "0.0625 at step 300",
        "0.1625",
        "25,600",
        "308.4 images/s",
        "0.25 s per 1,000 samples (0.5 s of CPU time), 250 at once on cpu, 2 threads",
        "143,841",
        "42,449",
        "bf16",
        "linear(0, 0.5) at 100%",
        "slider <b>",
        "discriminator overpowering",
        "rank_train_fake 0.97",
        "the run was resumed",
        "equipoise train digits --image-size 32",
        '"seed": 7',
        "2.14.1",
    ):
        assert words in text, words
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert {"main", "header", "footer", "figure", "table"} <= {tag for tag, _ in page.tags}


def test_page_is_one_file_without_external_resources(reported: Path) -> None:
    text = (reported / "report.html").read_text()
    page = Reader(text)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in page.tags}
    markup = re.sub(r"(?s)<script[^>]*>.*?</script>|(?:base64,|sha256-)[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"(?:https?:)?//\w|@import|url\(|\bon\w+=", markup)
    images = page.all("img")
    assert len(images) == 2
    assert all(image["alt"] for image in images)
    narrow = page.all("source")
    assert len(narrow) == 1
    for source in (*(image["src"] for image in images), narrow[0]["srcset"]):
        kind, _, content = (source or "").partition(",")
        assert kind == "data:image/png;base64"
        Image.open(io.BytesIO(base64.b64decode(content, validate=True))).load()
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width"):
        assert rule in text


def test_names_are_escaped(write_run: Maker) -> None:
    experiment = {
        "data": HOSTILE,
        "model": {"name": HOSTILE, "options": {HOSTILE: HOSTILE}},
        "controller": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
    }
    events = [
        started(),
        sensed(1),
        turned(1, HOSTILE, 0, 1, by=HOSTILE, why=HOSTILE),
        Evaluated(1, BATCH, HOSTILE, 1.0, HOSTILE, 9, 0.1, SamplingCost(9, 0.1, 0.1, 9, HOSTILE, 1)),
        Finished(1, BATCH, HOSTILE, HOSTILE, 1.0),
    ]
    text = write_report(write_run(events, "a&b<i>'\"", experiment)).read_text()
    page = Reader(text)
    assert "<script>alert" not in text
    assert text.count("<script") == 3
    assert "a&b<i>'\"" in page.words
    assert page.words.count(HOSTILE) >= 8
    assert not page.all("i")


def test_page_of_an_empty_run(write_run: Maker) -> None:
    for number, events in enumerate(([], [started()], [started(), sensed(1), sensed(2), sensed(3)])):
        page = Reader(write_report(write_run(events, f"run-{number}", {})).read_text())
        assert "it has not finished" in page.words
        assert "saved no samples" in page.words
        assert "no knob changed" in page.words


def test_damaged_sample_is_reported(write_run: Maker) -> None:
    run = write_run([started(), pictures(0), sensed(5), pictures(5)])
    (run.folder / "samples" / "step-00000005.png").write_bytes(b"\x89PNG")
    page = Reader(write_report(run).read_text())
    assert "samples/step-00000005.png is damaged" in page.words


def test_images_are_encoded_again(write_run: Maker) -> None:
    run = write_run([pictures(0)])
    path = run.folder / "samples" / "step-00000000.png"
    path.write_bytes(path.read_bytes() + b"<script>hidden text</script>")
    source = Reader(write_report(run).read_text()).all("img")[0]["src"] or ""
    content = base64.b64decode(source.partition(",")[2])
    assert b"hidden text" not in content
    with Image.open(path) as original, Image.open(io.BytesIO(content)) as embedded:
        assert np.array_equal(np.asarray(original), np.asarray(embedded))


def test_page_draws_a_missing_figure_and_embeds_an_existing_one(write_run: Maker) -> None:
    run = write_run([started(), sensed(1)])
    figure = run.folder / "figures" / "training_progress.png"
    write_page(run)
    assert figure.exists()
    Image.new("L", (9, 9)).save(figure)
    write_page(run)
    assert base64.b64encode(figure.read_bytes()).decode() in (run.folder / "report.html").read_text()


def test_missing_or_unwritable_run_raises(write_run: Maker) -> None:
    run = write_run([started()])
    with pytest.raises(RunError, match="not a run"):
        write_report(Run(run.folder / "none"))
    (run.folder / "report.html").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write_report(run)


def test_rerun_command_has_all_flags() -> None:
    parts = shlex.split(
        rerun_command({**EXPERIMENT, "stop_at_equilibrium": True, "device": "auto"}).replace("\\\n", "")
    )
    assert parts[:5] == ["equipoise", "train", "digits", "--image-size", "32"]
    assert parts[parts.index("--option") : parts.index("--option") + 3] == [
        "--option",
        "width=16",
        "conditional=false",
    ]
    assert parts[parts.index("--set") : parts.index("--set") + 3] == [
        "--set",
        "lr_g=0.0003",
        "augment_p=linear(0, 0.5)",
    ]
    assert parts[parts.index("--seed") + 1] == "7"
    assert "--stop-at-equilibrium" in parts
    assert "--device" not in parts
    assert rerun_command({}) == "equipoise train DATA"
    assert rerun_command({"freeze": 3}) == "equipoise train DATA"


TINY = ("digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16", "--steps", "12")
OWN = ("{photos}", "--model", "dcgan", "--batch-size", "8", "--option", "data.cache={cache}")
AGAIN = {
    "a schedule": (*TINY, "--controller", "annealed", "--set", "augment_p=linear(0, 0.5)", "beta1=0.25"),
    "a preset": (*TINY, "--controller", "annealed:cosine", "--loss", "hinge", "--stop-at-equilibrium"),
    "frozen knobs": (*TINY, "--controller", "rank", "--freeze", "augment_p", "ema_half_life"),
    "no repair": (*TINY, "--no-repair", "--track", "tensorboard", "--metric", "none"),
    "controller": (*TINY, "--controller", "random", "--option", "controller.pace=0.05", "controller.seed=3"),
    "chain": (*TINY, "--controller", "chain", "--option", "controller.of=annealed,random"),
    "metric": (*TINY, "--metric", "coverage:digits", "--option", "metric.neighbours=4", "data.training_images=500"),
    "points": ("ring", "--option", "data.modes=5", "depth=3"),
    "text": ("sentences", "--option", "data.drawn=300", "widths=1,2", "maps=8,8"),
    "a folder": (*OWN, "data.fit=pad", "data.held_out=0.3"),
    "a folder without classes": (*OWN, "data.classes="),
    "a folder with one class": (*OWN, "data.classes=cats"),
}


@pytest.mark.parametrize("words", AGAIN.values(), ids=AGAIN)
def test_rerun_command_gives_the_same_experiment(words: tuple[str, ...], tmp_path: Path) -> None:
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of
    from equipoise.experiment.completion import complete

    def completed(words: list[str]) -> dict[str, Any]:
        return complete(experiment_of(parse(cli.parser("train"), words))).to_json()

    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "dogs").mkdir()
    for number in range(20):
        shade = Image.new("RGB", (16, 16), (12 * number, 0, 90))
        shade.save(tmp_path / "photos" / ("cats", "dogs")[number % 2] / f"{number}.png")
    named = [word.format(photos=tmp_path / "photos", cache=tmp_path / "cache") for word in words]
    experiment = completed(named)
    parts = shlex.split(rerun_command(experiment).replace("\\\n", ""))
    assert completed(parts[2:]) == experiment
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    assert completed(["--experiment", str(tmp_path / "experiment.json")]) == experiment


def test_report_does_not_import_torch() -> None:
    script = (
        "import sys; import equipoise.report.page;"
        "print([name for name in ('torch', 'matplotlib', 'pydantic') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
