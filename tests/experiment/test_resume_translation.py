"""Image-to-image runs resume to the same bytes: image pools, both pairs of networks, dropout."""

from pathlib import Path

import pytest

from equipoise.cli import arguments
from equipoise.cli import main as cli
from equipoise.cli.commands.train import experiment_of
from equipoise.experiment import launch
from equipoise.experiment.completion import complete

STEPS = 24
SHARED_OPTIONS = (
    *("openmoji", "--image-size", "16", "--steps", str(STEPS), "--batch-size", "4", "--precision", "bf16"),
    *("--threads", "1", "--sample-every", "8", "--evaluate-every", "12", "--save-every", "3"),
    *("--set", "augment_p=0.3", "--option", "width=2", "patch=16"),
)
MODELS = {"pix2pix": ("norm=batch", "dropout=0.5"), "cyclegan": ("blocks=1", "pool=6")}


def arguments_of(model: str) -> list[str]:
    return [*SHARED_OPTIONS, *MODELS[model], "--model", model]


@pytest.mark.parametrize("model", MODELS)
def test_killed_translation_run_resumes_to_the_same_bytes(
    model: str, tmp_path: Path, kill_after_second_checkpoint, assert_equal_runs, final_bytes
) -> None:
    uninterrupted, folder = tmp_path / "whole", tmp_path / "killed"
    *_, last = launch.start(
        complete(experiment_of(arguments.parse(cli.parser("train"), arguments_of(model)))), uninterrupted
    )
    assert (last.reason, last.step) == ("steps", STEPS)
    kill_after_second_checkpoint(folder, "train", *arguments_of(model))
    *_, last = launch.resume(folder)
    assert (last.reason, last.step) == ("steps", STEPS)
    assert_equal_runs(folder, uninterrupted)
    if model == "cyclegan":
        assert {f"memory/{name}" for name in ("pool", "pool_back")} <= final_bytes(uninterrupted).keys()
