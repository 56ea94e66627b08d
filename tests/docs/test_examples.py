"""The examples on the pages run.

Python blocks run as they are, all blocks of a page in one namespace. A block whose first line is `# folder/file.py` (or
.toml) is written to that file instead. Commands run in the same directory, training with fewer steps and smaller
networks. A block marked `skip` is not run.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from equipoise.cli import main as cli
from equipoise.cli.commands import _follow_run
from equipoise.experiment import assembly
from equipoise.report.steps import ReportFiles

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "decisions" not in page.parts)
BLOCK = re.compile(r"^```(\w+)( skip)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\n")
SMALL_RUN = {
    **{"--steps": "6", "--batch-size": "8", "--threads": "1"},
    **{"--sample-every": "100", "--evaluate-every": "100", "--save-every": "3"},
}


class Block(NamedTuple):
    language: str
    line: int
    text: str


def code_blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, without those marked `skip`."""
    text = page.read_text()
    matches = [(match, text[: match.start()].count("\n") + 2) for match in BLOCK.finditer(text) if not match[2]]
    return [Block(match[1], line, match[3]) for match, line in matches]


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every `equipoise` command in a block, without redirections."""
    lines = [line.partition(" > ")[0] for line in text.replace("\\\n", " ").splitlines()]
    commands = [
        shlex.split(line, comments=True) for line in lines if line.startswith(("equipoise ", "python -m equipoise "))
    ]
    return [args[1:] if args[0] == "equipoise" else args[3:] for args in commands]


def reduce(args: list[str]) -> list[str]:
    """Return a command with less work: of a flag that is given twice the last value is used."""
    if args[0] == "resume":
        return [*args[:2], "--steps", "9"]
    if args[0] != "train":
        return args
    text = " ".join(args) + "".join(Path(word).read_text() for word in args if word.endswith(".toml"))
    size = ("--image-size", "16") if any(name in text for name in ("digits", "openmoji")) else ()
    is_text = any(name in text for name in ("sentences", "oracle", "my.txt"))
    option = "" if any(name in text for name in ("origin", "distill")) else "hidden=8" if is_text else "width=4"
    width = ("--option", option) if option and option.split("=")[0] + "=" not in " ".join(args) else ()
    return [*args, *(word for pair in SMALL_RUN.items() for word in pair), *size, *width]


def run_block(page: Path, block: Block, names: dict[str, object]) -> None:
    if file := FILE.match(block.text):
        Path(file[1]).parent.mkdir(exist_ok=True)
        Path(file[1]).write_text(block.text)
    elif block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    elif block.language == "sh":
        for args in commands(block.text):
            assert run_command(args) == 0, f"{page.name}, line {block.line}: {' '.join(args)}"


def run_command(args: list[str]) -> int:
    """Run a command and return its exit code, with few samples for metrics, and a report only from `report`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "EVALUATION_SAMPLES", 250)
        if args[0] != "report":
            patch.setattr(_follow_run, "write_report_files", lambda folder, **_: ReportFiles(folder / "report.html"))
        return cli.run(reduce(args))


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs").with_suffix(""))


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page)], ids=page_id)
def test_examples_run(page: Path, working_directory: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for block in code_blocks(page):
        run_block(page, block, names)
