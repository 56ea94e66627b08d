"""Commands without reports, in an empty folder, and untrained generators."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from equipoise.cli.commands import _follow_run
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.generator import Generator
from equipoise.report.steps import ReportFiles
from equipoise.runs.folders import create_run
from equipoise.runs.run import CHECKPOINTS_FOLDER
from equipoise.training import checkpoint


@pytest.fixture
def call(call: Callable[..., tuple[int, str, str]], working_directory: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs a command without a report: exit code, standard output, standard error."""
    monkeypatch.setattr(_follow_run, "write_report_files", lambda folder, **_: ReportFiles(folder / "report.html"))
    return call


@pytest.fixture(scope="session")
def generator() -> Callable[..., Generator]:
    """Return a function that creates an untrained generator."""

    def create(model: str = "mlp", spec: DataSpec | None = None, **options: object) -> Generator:
        spec = spec or DataSpec((2,))
        built = catalog.build("models", model, options).build(spec, torch.Generator().manual_seed(1))
        return Generator(built, {name: network.eval() for name, network in built.networks.items()}, spec, 0)

    return create


@pytest.fixture(scope="session")
def styled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model with styles, for 16 x 16 digits with labels, with one checkpoint and no training. Read only."""
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
