"""The commands of the README run in their order, from a folder with the files that it mentions."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .test_examples import ROOT, code_blocks, commands, run_command

README = ROOT / "README.md"
LOG = "".join(
    f"[{epoch}/4][0/9]\tLoss_D: {1.4 - epoch / 10:.4f}\tLoss_G: {0.7 + epoch / 10:.4f}\tD(x): 0.6\tD(G(z)): 0.4 / 0.3\n"
    for epoch in range(4)
)


@pytest.fixture
def files_of_the_reader(working_directory: Path) -> None:
    """The folders and the log that the README names, and the plans of the repository."""
    for name, size in (("photographs", 16), ("drawings", 32)):
        Path(name).mkdir()
        for number in range(24 if name == "photographs" else 2):
            pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert("L" if name == "drawings" else "RGB").save(f"{name}/{number}.png")
    Path("train.log").write_text(LOG)
    os.symlink(ROOT / "experiments", "experiments")


def test_readme_has_commands() -> None:
    assert len([args for block in code_blocks(README) for args in commands(block.text)]) >= 8


@pytest.mark.usefixtures("files_of_the_reader")
def test_commands_of_the_readme_run_in_order() -> None:
    for block in code_blocks(README):
        for args in commands(block.text):
            # A comparison would take minutes: its plan is checked, and the time of a run measured.
            assert run_command([*args, "--dry-run"] if args[0] == "compare" else args) == 0, " ".join(args)
