"""The docs: every example runs, every generated part is fresh, nothing is left out, no link is dead.

Python blocks run as they stand, a page in one namespace. A block whose first line is `# folder/file.py` (or .toml) is
written to that file instead. Commands run in the same folder, training ones with fewer steps and smaller networks.
"""

import dataclasses
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import equipoise
from equipoise.cli import main as cli
from equipoise.cli.commands import _reporting
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Signals
from equipoise.diagnosis.ladders import LADDERS, moved
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "decisions" not in page.parts)
KNOBS = [*AdversarialKnobs.ranges()]
BLOCK = re.compile(r"^```(\w+)( skip)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\n")
SMALL = {
    **{"--steps": "6", "--batch-size": "8", "--threads": "1"},
    **{"--sample-every": "100", "--evaluate-every": "100", "--save-every": "3"},
}


class Block(NamedTuple):
    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    """What a page says in code, but for blocks that say that they are to be skipped."""
    text = page.read_text()
    result = [(block, text[: block.start()].count("\n") + 2) for block in BLOCK.finditer(text) if not block[2]]
    return [Block(block[1], line, block[3]) for block, line in result]


def commands(text: str) -> list[list[str]]:
    """The words of every command in a block, without the name of the program."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [
        shlex.split(line, comments=True) for line in lines if line.startswith(("equipoise ", "python -m equipoise "))
    ]
    return [line[1:] if line[0] == "equipoise" else line[3:] for line in words]


def small(words: list[str]) -> list[str]:
    """The same command with less to do: the last of two values of a flag wins."""
    if words[0] == "resume":
        return [*words[:2], "--steps", "9"]
    if words[0] != "train":
        return words
    said = " ".join(words) + "".join(Path(word).read_text() for word in words if word.endswith(".toml"))
    size = ("--image-size", "16") if any(name in said for name in ("digits", "openmoji")) else ()
    text = any(name in said for name in ("sentences", "oracle", "my.txt"))
    width = () if "origin" in said else ("--option", "hidden=8") if text else ("--option", "width=4")
    return [*words, *(word for pair in SMALL.items() for word in pair), *size, *width]


def run(page: Path, block: Block, names: dict[str, object]) -> None:
    if named := FILE.match(block.text):
        Path(named[1]).parent.mkdir(exist_ok=True)
        Path(named[1]).write_text(block.text)
    elif block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    elif block.language == "sh":
        for words in commands(block.text):
            assert called(words) == 0, f"{page.name}, line {block.line}: {' '.join(words)}"


def called(words: list[str]) -> int:
    """The exit code of a command. Metrics look at fewer samples; only `report` itself makes a report, of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "EVALUATED", 250)
        if words[0] != "report":
            patch.setattr(_reporting, "report", lambda folder: (folder / "report.html", None))
        return cli.run(small(words))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty folder to work in, where modules are found; they are forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


def placed(page: Path) -> str:
    """The name of a page below the folder of the docs, for the tests' own names."""
    return str(page.relative_to(ROOT).with_suffix("")).removeprefix("docs/")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=placed)
def test_examples_run(page: Path, elsewhere: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        run(page, block, names)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "scripts" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=placed)
def test_generated_parts_are_fresh(page: Path, reference: ModuleType) -> None:
    text = page.read_text()
    assert reference.renewed(text) == text, "stale: run scripts/build_reference.py"


def test_every_generated_part_is_on_a_page(reference: ModuleType) -> None:
    text = everything()
    assert all(f"<!-- generated: {part}" in text for part in reference.PARTS)
    assert text.count("<!-- generated: ") == len(reference.PART.findall(text)), "a marker without an end, or misspelt"


def everything() -> str:
    return "".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])


def by_hand(page: str, reference: ModuleType) -> str:
    """A page without its generated parts."""
    return str(reference.PART.sub("", (REFERENCE / page).read_text()))


@pytest.mark.parametrize("model", catalog.names("models"))
def test_every_gan_has_a_page_with_its_tables(model: str) -> None:
    text = (REFERENCE / "models" / f"{model}.md").read_text()
    assert all(f"<!-- generated: {part} {model} -->" in text for part in ("options", "acting", "presets"))
    headings = ("## Command", "## Options", "## What differs from the paper", "## What is logged")
    places = [text.find(heading) for heading in headings]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("data", catalog.names("data"))
def test_every_data_set_has_a_page_with_its_origin_and_options(data: str) -> None:
    text = (REFERENCE / "data" / f"{data}.md").read_text()
    assert text.startswith(f"# {data}\n")
    parts = (f"<!-- generated: about {data} -->", "## Command", "## Options", f"<!-- generated: fields {data} -->")
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    words = {
        "image_folder": "photographs",
        "csv_windows": "windows",
        "paired_folder": "pairs",
        "unpaired_folders": "apart",
    }
    words["text_lines"] = "my.txt"
    word = words.get(data, data)
    assert f"\nequipoise train {word}\n" in text or f"\nequipoise train {word} --" in text


def test_a_page_of_data_tells_shape_counts_and_choices(reference: ModuleType) -> None:
    made = reference.PARTS["about"]("digits")
    assert "BSD-3-Clause" in made
    assert all(line in made for line in ("| shape | 1 × 32 × 32 |", "| to train on | 4,000 |", "| held out | 1,000 |"))
    assert "Raises" not in made
    assert "| endless |" in reference.PARTS["about"]("ring")
    assert "| shape |" not in reference.PARTS["about"]("image_folder"), "of a folder nothing is known"
    assert reference.PARTS["fields"]("origin") == "No options.\n"
    assert "| `window` | – | numbers |" in reference.PARTS["fields"]("csv_windows")


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_has_a_section_with_its_range_and_its_source_or_sense(knob: str, reference: ModuleType) -> None:
    section = (REFERENCE / "knobs.md").read_text().partition(f"\n### {knob}\n")[2].partition("\n#")[0]
    assert f"<!-- generated: knob {knob} -->" in section
    assert str(AdversarialKnobs.ranges()[knob]) in section
    assert reference.PART.sub("", section).strip(), "what it does, in words"


def test_a_knob_is_said_to_act_where_it_does_and_to_be_repaired_as_it_is(reference: ModuleType) -> None:
    weight, rate = reference.PARTS["knob"]("gp_weight"), reference.PARTS["knob"]("lr_d")
    assert "starts at: [wgan_gp](models/wgan_gp.md) 10." in weight
    assert "Does not act for cyclegan, dcgan, dirac" in weight
    assert "Repair leaves it." in weight
    turned_by = next(line for line in rate.splitlines() if line.startswith("- Turned by "))
    assert "[annealed](controllers/annealed.md)" in turned_by
    assert turned_by.endswith(", unasked.")
    knobs = AdversarialKnobs(lr_d=4e-4)
    for text, factor in (("× 0.25", 0.25), ("× 2", 2.0)):
        (row,) = [line for line in rate.splitlines() if line.startswith(f"| {text} |")]
        for symptom, numbers in re.findall(r"`(\w+)` ([\d, ]+)", row):
            for number in map(int, numbers.split(",")):
                (lr_d,) = [value for name, value in turned(symptom, number, knobs).items() if name == "lr_d"]
                assert lr_d == pytest.approx(4e-4 * factor)


def turned(symptom: str, number: int, knobs: AdversarialKnobs) -> dict[str, float]:
    """What a rung, counted from 1, makes of these knobs; moves of one knob one after the other."""
    for move in LADDERS[symptom][number - 1]:
        knobs = knobs.with_values(moved((move,), knobs, frozenset(KNOBS)))
    return knobs.values()


@pytest.mark.parametrize("controller", catalog.names("controllers"))
def test_every_controller_has_a_page(controller: str) -> None:
    assert f"# {controller}\n" in (REFERENCE / "controllers" / f"{controller}.md").read_text()


def test_every_data_set_metric_and_signal_is_explained(reference: ModuleType) -> None:
    data, signals = (by_hand(page, reference) for page in ("data.md", "signals.md"))
    assert [name for name in catalog.names("data") if f"`{name}`" not in data] == []
    assert [name for name in catalog.names("metrics") if f"`{name}`" not in by_hand("metrics.md", reference)] == []
    assert [field.name for field in dataclasses.fields(Signals) if f"`{field.name}`" not in signals] == []


def test_every_command_and_flag_is_mentioned() -> None:
    text = everything()
    for name in cli.COMMANDS:
        assert f"equipoise {name}" in text
        for action in cli.parser(name)._actions:
            missing = [flag for flag in action.option_strings if flag.startswith("--") and flag not in text]
            assert missing in ([], ["--help"]), name


def test_a_run_folder_is_as_its_page_says(reference: ModuleType, tmp_path: Path) -> None:
    text, folder = (REFERENCE / "run-folder.md").read_text(), tmp_path / "run"
    steps: list[int] = []
    experiment = Experiment(data=PlugSpec("ring"), controller=PlugSpec("annealed"), steps=4, batch_size=8)
    for event in equipoise.start(experiment, folder, interrupted=lambda: 2 in steps):
        steps.append(event.step)
    for _ in equipoise.resume(folder):
        pass
    for _ in equipoise.start(
        dataclasses.replace(experiment, data=PlugSpec("ring", {"radius": 1e38})), tmp_path / "sick"
    ):
        pass  # numbers too large for float32: it diverges, and is repaired in vain
    kinds = {cls.__name__.lower(): cls for cls in reference.program.logged()}
    lines = [line for name in ("run", "sick") for line in equipoise.Run(tmp_path / name)._all_lines()]
    assert {line["event"] for line in lines} == kinds.keys()
    for line in lines:
        assert set(line) == {"event", "step", "images", *reference.program.event_fields(kinds[line["event"]])}, line[
            "event"
        ]
    assert all(f"`{name}`" in text for name in kinds)
    assert [path.name for path in folder.iterdir() if path.name not in text] == []
    assert [path.name for path in (folder / "checkpoints" / "step-00000004").iterdir() if path.name not in text] == []
    assert [line["event"] for line in equipoise.Run(folder).lines()].count("finished") == 1


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=placed)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_on_the_way_from_the_index() -> None:
    text = (DOCS / "index.md").read_text()
    assert [page for page in PAGES if page.name != "index.md" and f"({page.relative_to(DOCS)})" not in text] == []
