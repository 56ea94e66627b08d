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
from equipoise import catalog, cli, launch
from equipoise.commands import _reporting
from equipoise.experiment import Choice, Experiment
from equipoise.knobs import AdversarialKnobs
from equipoise.observations import Signals

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "decisions" not in page.parts)
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
    found = [(block, text[: block.start()].count("\n") + 2) for block in BLOCK.finditer(text) if not block[2]]
    return [Block(block[1], line, block[3]) for block, line in found]


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
    size = ("--image-size", "16") if "digits" in said else ()
    width = () if "origin" in said else ("--option", "width=4")
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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
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
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
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
    return str(reference.PART.sub("", (DOCS / page).read_text()))


@pytest.mark.parametrize("gan", catalog.names("zoo"))
def test_every_gan_has_a_page_with_its_tables(gan: str) -> None:
    text = (DOCS / "gans" / f"{gan}.md").read_text()
    assert all(f"<!-- generated: {part} {gan} -->" in text for part in ("options", "acting", "presets"))
    headings = ("## Command", "## Options", "## What differs from the paper", "## What is logged")
    places = [text.find(heading) for heading in headings]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("controller", catalog.names("controllers"))
def test_every_controller_has_a_page(controller: str) -> None:
    assert f"# {controller}\n" in (DOCS / "controllers" / f"{controller}.md").read_text()


def test_every_data_set_metric_signal_and_knob_is_explained(reference: ModuleType) -> None:
    data, signals, knobs = (by_hand(page, reference) for page in ("data.md", "signals.md", "knobs.md"))
    assert [name for name in catalog.names("data") if f"`{name}`" not in data] == []
    assert [name for name in catalog.names("metrics") if f"`{name}`" not in by_hand("metrics.md", reference)] == []
    assert [field.name for field in dataclasses.fields(Signals) if f"`{field.name}`" not in signals] == []
    assert knobs.count("**") // 2 >= 11, "a paragraph for each group of knobs"
    assert all(f"`{name}`" in (DOCS / "knobs.md").read_text() for name in AdversarialKnobs.ranges())


def test_every_command_and_flag_is_mentioned() -> None:
    text = everything()
    for name in cli.COMMANDS:
        assert f"equipoise {name}" in text
        for action in cli.parser(name)._actions:
            missing = [flag for flag in action.option_strings if flag.startswith("--") and flag not in text]
            assert missing in ([], ["--help"]), name


def test_a_run_folder_is_as_its_page_says(reference: ModuleType, tmp_path: Path) -> None:
    text, folder = (DOCS / "run-folder.md").read_text(), tmp_path / "run"
    steps: list[int] = []
    experiment = Experiment(data=Choice("ring"), controller=Choice("annealed"), steps=4, batch_size=8)
    for event in equipoise.start(experiment, folder, interrupted=lambda: 2 in steps):
        steps.append(event.step)
    for _ in equipoise.resume(folder):
        pass
    kinds = {cls.__name__.lower(): cls for cls in reference.logged()}
    lines = list(equipoise.Run(folder)._all_lines())
    assert {line["event"] for line in lines} == kinds.keys()
    for line in lines:
        assert set(line) == {"event", "step", "images", *reference.event_fields(kinds[line["event"]])}, line["event"]
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


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
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
