"""Commands without reports, in an empty folder, and untrained generators."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from equipoise.cli.commands import _follow_run
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.inference.generator import Generator
from equipoise.report.steps import ReportFiles


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
