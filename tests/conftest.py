"""Fixtures of several folders: one tiny run, trained once, copies of it, and commands called in this process."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]

TINY = (
    *("digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16", "--steps", "12"),
    *("--batch-size", "8", "--evaluate-every", "1000", "--sample-every", "6", "--save-every", "5"),
    *("--precision", "fp32", "--threads", "1"),
)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Arguments of `train` for a run of a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 12 steps with checkpoints after 5, 10 and 12. Read only."""
    from equipoise.cli import main as cli
    from equipoise.cli.arguments import parse
    from equipoise.cli.commands.train import experiment_of
    from equipoise.experiment import launch
    from equipoise.experiment.completion import complete

    folder = tmp_path_factory.mktemp("trained") / "run"
    for _ in launch.start(complete(experiment_of(parse(cli.parser("train"), TINY))), folder):
        pass
    return folder


@pytest.fixture(scope="session")
def styled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model with styles, for 16 x 16 digits with labels, with one checkpoint and no training. Read only."""
    from equipoise.experiment.assembly import assemble
    from equipoise.experiment.completion import complete
    from equipoise.experiment.settings import Experiment, PlugSpec
    from equipoise.runs.folders import create_run
    from equipoise.runs.run import CHECKPOINTS_FOLDER
    from equipoise.training import checkpoint

    options = {"width": 4, "latent_dim": 8}
    experiment = complete(
        Experiment(data=PlugSpec("digits"), model=PlugSpec("stylegan2", options), image_size=16, batch_size=8, steps=1)
    )
    state = assemble(experiment, None).state
    tensors = state.tensors()
    tensors["averaged/generator/mapping.w_avg"].add_(0.1)
    folder = tmp_path_factory.mktemp("styled") / "run"
    create_run(folder, experiment.to_json())
    checkpoint.write(folder / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(0, tensors, state.values()))
    return folder


@pytest.fixture(scope="session")
def captioned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that takes captions, for 16 x 16 emoji, with one checkpoint and no training. Read only."""
    from equipoise.experiment.assembly import assemble
    from equipoise.experiment.completion import complete
    from equipoise.experiment.settings import Experiment, PlugSpec
    from equipoise.runs.folders import create_run
    from equipoise.runs.run import CHECKPOINTS_FOLDER
    from equipoise.training import checkpoint

    options = {"width": 4, "latent_dim": 8, "text_width": 8}
    model = PlugSpec("gigagan", options)
    experiment = complete(
        Experiment(
            data=PlugSpec("openmoji"), model=model, image_size=16, batch_size=8, steps=1, metric=PlugSpec("none")
        )
    )
    state = assemble(experiment, None).state
    folder = tmp_path_factory.mktemp("captioned") / "run"
    create_run(folder, experiment.to_json())
    checkpoint.write(folder / CHECKPOINTS_FOLDER, checkpoint.Checkpoint(0, state.tensors(), state.values()))
    return folder


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, which a test can change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def cut_off(run_folder: Path) -> Path:
    """The run as if killed after step 10: no final weights, no last checkpoint, no last events."""
    shutil.rmtree(run_folder / "checkpoints" / "step-00000012")
    for name in ("generator", "discriminator"):
        (run_folder / f"{name}.safetensors").unlink()
    lines = (run_folder / "events.jsonl").read_text().splitlines(keepends=True)
    (run_folder / "events.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 10))
    return run_folder


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Return a function from a folder to the bytes of every file in it, with subfolders; empty if it does not exist."""

    def read(folder: Path) -> dict[str, bytes]:
        paths = sorted(folder.rglob("*"))
        return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in paths}

    return read


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to the temporary folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_film(monkeypatch: pytest.MonkeyPatch) -> None:
    """Omit the film from reports, which takes longer than a short run."""
    monkeypatch.setattr("equipoise.report.film.film_steps", lambda run: iter(()))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command: exit code, standard output, standard error."""
    from equipoise.cli import main as cli

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run([str(arg) for arg in args])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def error_line(call: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """Return a function that runs a command that must fail with exit code 2, and returns its one line of error."""

    def run(*args: object) -> str:
        code, out, err = call(*args)
        assert (code, out) == (2, ""), err
        assert err.startswith("equipoise: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err.removeprefix("equipoise: ").rstrip("\n")

    return run


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Return a function that imports a script of scripts/ as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(ROOT / "scripts"))
            spec.loader.exec_module(module)
        return module

    return load
