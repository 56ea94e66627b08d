"""What several tests need: one tiny run, trained once, and copies of it to spoil."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = (
    *("digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16", "--steps", "12"),
    *("--batch-size", "8", "--evaluate-every", "1000", "--sample-every", "6", "--save-every", "5"),
    *("--precision", "fp32", "--threads", "1"),
)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The words after `train` for a run of a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps with checkpoints after 5, 10 and 12. Not to be changed: copy it."""
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete

    folder = tmp_path_factory.mktemp("trained") / "run"
    for _ in launch.start(complete(experiment_of(parse(cli.parser("train"), TINY))), folder):
        pass
    return folder


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def cut_off(run_folder: Path) -> Path:
    """The same run as a kill after step 10 leaves it: no weights, no last checkpoint, no last events."""
    shutil.rmtree(run_folder / "checkpoints" / "step-00000012")
    for name in ("generator", "discriminator"):
        (run_folder / f"{name}.safetensors").unlink()
    lines = (run_folder / "events.jsonl").read_text().splitlines(keepends=True)
    (run_folder / "events.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 10))
    return run_folder


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Every file under a folder and its bytes, and every folder; nothing if it is not there."""

    def taken(folder: Path) -> dict[str, bytes]:
        paths = sorted(folder.rglob("*"))
        return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in paths}

    return taken
