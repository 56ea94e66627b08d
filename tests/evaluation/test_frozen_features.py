"""Runs of a model with a frozen network: which metrics are computed, which are refused."""

import json
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.cli.arguments import parse
from equipoise.cli.commands.train import experiment_of
from equipoise.evaluation import selection
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment

ARGUMENTS = (
    *("openmoji", "--model", "projected", "--option", "width=1", "latent_dim=4", "feature_side=64"),
    *("--image-size", "16", "--steps", "2", "--batch-size", "2", "--evaluate-every", "1000", "--threads", "1"),
)


def experiment(*arguments: str) -> Experiment:
    return complete(experiment_of(parse(cli.parser("train"), (*ARGUMENTS, *arguments))))


@pytest.fixture(scope="module")
def projected_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps without a live metric."""
    folder = tmp_path_factory.mktemp("projected") / "run"
    for _ in launch.start(experiment("--metric", "none"), folder):
        pass
    return folder


def test_run_is_not_judged_by_its_own_features(projected_run: Path, error_line) -> None:
    for name in ("kd_efficientnet_lite0", "precision", "recall:efficientnet_lite0"):
        line = error_line("evaluate", projected_run, "--metrics", name, "--count", 20)
        assert line.startswith(f"{name} cannot be reported: projected was trained with its features")


def test_other_features_are_allowed(projected_run: Path, call) -> None:
    code, out, err = call("evaluate", projected_run, "--metrics", "precision:pixels", "--count", 20, "--json")
    assert code == 0, err
    (row,) = json.loads(out)["metrics"]
    assert row["features"] is None


def test_default_metrics_have_other_features(projected_run: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels if there is no other network."""
    monkeypatch.setattr(selection, "FEATURE_NETWORKS", ("efficientnet_lite0", "efficientnet_lite0"))
    code, out, err = call("evaluate", projected_run, "--count", 20, "--json")
    assert code == 0, err
    assert [row["metric"] for row in json.loads(out)["metrics"]] == list(selection.PIXELS)


def test_checkpoints_hold_no_frozen_weights(projected_run: Path) -> None:
    sizes = [path.stat().st_size for path in (projected_run / "checkpoints").rglob("*.safetensors")]
    assert sizes
    assert max(sizes) < 20e6
    assert not list(projected_run.glob("feature_network*"))


def test_another_live_metric_is_suggested(error_line) -> None:
    metric = experiment().training_metric
    assert metric is not None
    assert (metric.name, metric.options["side"]) == ("fd_pixels", 32)
    line = error_line("train", *ARGUMENTS, "--metric", "kd_efficientnet_lite0", "--dry-run")
    assert "kd_efficientnet_lite0 cannot be reported: projected was trained with its features" in line
