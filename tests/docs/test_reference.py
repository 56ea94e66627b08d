"""Generated parts of the docs are up to date, and everything that can be configured is documented."""

import dataclasses
import re
from pathlib import Path
from types import ModuleType

import pytest

import equipoise
from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Signals
from equipoise.core.requests import RunRequest
from equipoise.diagnosis.adjustments import adjust_knobs
from equipoise.diagnosis.symptoms import repair_of
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.requests import write_request

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(DOCS.rglob("*.md"))
KNOBS = [*AdversarialKnobs.ranges()]
NAME_IN_COMMAND = {
    **{"image_folder": "photographs", "csv_windows": "windows", "paired_folder": "pairs", "unpaired_folders": "apart"},
    **{"text_lines": "my.txt", "audio_folder": "sounds", "image_shards": '"data/train-{0000..0099}.tar"'},
}
"""Data sets of the user's files: the folder or file that the command of their page names."""


def page_id(page: Path) -> str:
    return str(page.relative_to(DOCS).with_suffix(""))


@pytest.fixture(scope="module")
def all_text() -> str:
    return "".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])


def handwritten(page: str, reference: ModuleType) -> str:
    """Return a page of the reference without its generated parts."""
    return str(reference.PART.sub("", (REFERENCE / page).read_text()))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_generated_parts_are_up_to_date(page: Path, reference: ModuleType) -> None:
    text = page.read_text()
    assert reference.rebuild(text) == text, "out of date: run scripts/build_reference.py"


def test_every_generated_part_is_on_a_page(all_text: str, reference: ModuleType) -> None:
    assert [part for part in reference.PARTS if f"<!-- generated: {part}" not in all_text] == []
    count = all_text.count("<!-- generated: ")
    assert count == len(reference.PART.findall(all_text)), "a marker without an end, or misspelt"


@pytest.mark.parametrize("model", catalog.names("models"))
def test_every_model_has_a_page_with_its_tables(model: str) -> None:
    text = (REFERENCE / "models" / f"{model}.md").read_text()
    assert all(f"<!-- generated: {part} {model} -->" in text for part in ("options", "acting", "presets"))
    headings = ("## Command", "## Options", "## What differs from the paper", "## What is logged")
    positions = [text.find(heading) for heading in headings]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize("data", catalog.names("data"))
def test_every_data_set_has_a_page_with_its_origin_and_options(data: str) -> None:
    text = (REFERENCE / "data" / f"{data}.md").read_text()
    assert text.startswith(f"# {data}\n")
    parts = (f"<!-- generated: about {data} -->", "## Command", "## Options", f"<!-- generated: fields {data} -->")
    positions = [text.find(part) for part in parts]
    assert -1 not in positions
    assert positions == sorted(positions)
    name = NAME_IN_COMMAND.get(data, data)
    assert f"\nequipoise train {name}\n" in text or f"\nequipoise train {name} --" in text


def test_facts_of_data_sets(reference: ModuleType) -> None:
    about = reference.PARTS["about"]
    digits = about("digits")
    assert "BSD-3-Clause" in digits
    assert "| 1 × 32 × 32 |" in digits
    assert "| 4,000 |" in digits
    assert "| 1,000 |" in digits
    assert "Raises" not in digits
    assert "| unlimited |" in about("ring")
    assert "| shape |" not in about("image_folder"), "the shape depends on the files"
    assert reference.PARTS["fields"]("origin") == "No options.\n"
    assert "| `window` | – | numbers |" in reference.PARTS["fields"]("csv_windows")


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_has_a_section_with_its_range_and_a_description(knob: str, reference: ModuleType) -> None:
    section = (REFERENCE / "knobs.md").read_text().partition(f"\n### {knob}\n")[2].partition("\n#")[0]
    assert f"<!-- generated: knob {knob} -->" in section
    assert str(AdversarialKnobs.ranges()[knob]) in section
    assert reference.PART.sub("", section).strip(), "a description in words"


def test_section_of_a_knob_names_models_controllers_and_repairs(reference: ModuleType) -> None:
    weight, rate = reference.PARTS["knob"]("gp_weight"), reference.PARTS["knob"]("lr_d")
    models = next(line for line in weight.splitlines() if "Initial value" in line)
    assert "[wgan_gp](models/wgan_gp.md) 10." in models
    assert "no effect in acgan, biggan, cgan, cyclegan, dcgan, ddgan, ddpm, diffusion_gan, dirac" in models
    assert "Repair does not change it." in weight
    controllers = next(line for line in rate.splitlines() if line.startswith("- Changed by "))
    assert "[annealed](controllers/annealed.md)" in controllers
    assert "Repair does not" not in controllers


def test_table_of_repairs_agrees_with_the_ladders(reference: ModuleType) -> None:
    rate = reference.PARTS["knob"]("lr_d")
    knobs = AdversarialKnobs(lr_d=4e-4)
    for text, factor in (("× 0.25", 0.25), ("× 2", 2.0)):
        (row,) = [line for line in rate.splitlines() if line.startswith(f"| {text} |")]
        for symptom, numbers in re.findall(r"`(\w+)` ([\d, ]+)", row):
            for number in map(int, numbers.split(",")):
                assert knobs_after_rung(symptom, number, knobs)["lr_d"] == pytest.approx(4e-4 * factor)


def knobs_after_rung(symptom: str, number: int, knobs: AdversarialKnobs) -> dict[str, float]:
    """Return the knobs after a rung, counted from 1. Adjustments of one knob are applied in order."""
    repair = repair_of(symptom)
    assert repair is not None
    for adjustment in repair.ladder[number - 1]:
        knobs = knobs.with_values(adjust_knobs((adjustment,), knobs, frozenset(KNOBS)))
    return knobs.values()


@pytest.mark.parametrize("controller", catalog.names("controllers"))
def test_every_controller_has_a_page(controller: str) -> None:
    assert f"# {controller}\n" in (REFERENCE / "controllers" / f"{controller}.md").read_text()


def test_every_data_set_metric_and_signal_is_explained(reference: ModuleType) -> None:
    for page, names in (
        ("data.md", catalog.names("data")),
        ("metrics.md", catalog.names("metrics")),
        ("signals.md", [field.name for field in dataclasses.fields(Signals)]),
    ):
        text = handwritten(page, reference)
        assert [name for name in names if f"`{name}`" not in text] == []


def test_every_command_and_flag_is_documented(all_text: str) -> None:
    for name in cli.command_modules():
        assert f"equipoise {name}" in all_text
        for action in cli.parser(name)._actions:
            flags = [flag for flag in action.option_strings if flag.startswith("--") and flag not in all_text]
            assert flags in ([], ["--help"]), name


def test_every_public_name_is_in_the_python_api() -> None:
    text = (REFERENCE / "python.md").read_text()
    assert [name for name in equipoise.__all__ if f"\n## {name}\n" not in text] == []


def test_run_folder_has_the_documented_files_and_events(reference: ModuleType, tmp_path: Path) -> None:
    text, folder = (REFERENCE / "run-folder.md").read_text(), tmp_path / "run"
    steps: list[int] = []
    experiment = Experiment(data=PlugSpec("ring"), controller=PlugSpec("annealed"), steps=4, batch_size=8)
    for event in equipoise.start(experiment, folder, interrupted=lambda: 2 in steps):
        if not steps:
            write_request(folder, RunRequest("save"))
        steps.append(event.step)
    for _ in equipoise.resume(folder):
        pass
    overflowing = PlugSpec("ring", {"radius": 1e38})  # too large for float32: it diverges, and repair fails
    for _ in equipoise.start(dataclasses.replace(experiment, data=overflowing), tmp_path / "diverged"):
        pass
    kinds = {cls.__name__.lower(): cls for cls in reference.program.logged_events()}
    lines = [line for name in ("run", "diverged") for line in equipoise.Run(tmp_path / name)._all_lines()]
    assert {line["event"] for line in lines} == kinds.keys() - {"skipped"}, "no file of these data is damaged"
    for line in lines:
        fields = {"event", "step", "images", *reference.program.event_fields(kinds[line["event"]])}
        assert set(line) | ({"held"} & fields) == fields, line["event"]  # nobody holds a knob here
    assert all(f"`{name}`" in text for name in kinds)
    assert [path.name for path in folder.iterdir() if path.name not in text] == []
    assert [path.name for path in (folder / "checkpoints" / "step-00000004").iterdir() if path.name not in text] == []
    assert [line["event"] for line in equipoise.Run(folder).lines()].count("finished") == 1
