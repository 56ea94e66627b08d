"""Run folders of format 1 still open, resume, report, sample, diagnose and evaluate."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from equipoise.cli import main as cli
from equipoise.errors import SettingError
from equipoise.experiment.files import load_experiment, load_run_experiment, parse_experiment
from equipoise.inference.generator import load
from equipoise.runs.migration import FORMAT, migrate_checkpoint, migrate_event, migrate_experiment, rename_keys
from equipoise.runs.run import Run, summarize_run
from equipoise.training import checkpoint

pytestmark = pytest.mark.usefixtures("no_film")

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "format_1_ring"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A copy of a run of format 1."""
    return Path(shutil.copytree(FORMAT_1, tmp_path / "run"))


def test_the_fixture_has_format_1() -> None:
    values = json.loads((FORMAT_1 / "experiment.json").read_text())
    assert values["format"] == 1
    assert {"gan", "untouched"} <= values.keys()
    assert "taken_over" in (FORMAT_1 / "events.jsonl").read_text()


def test_experiment_of_format_1_is_read() -> None:
    experiment = load_run_experiment(FORMAT_1)
    assert experiment.model is not None
    assert (experiment.model.name, experiment.freeze, experiment.format) == ("mlp", ("beta2",), FORMAT)
    assert load_experiment(FORMAT_1 / "experiment.json") == experiment
    assert summarize_run(Run(FORMAT_1)).model == "mlp"


def test_log_of_format_1_is_read() -> None:
    (started,) = Run(FORMAT_1).lines("started")
    assert (started["transferred"], started["adversarial_start"]) == ({}, 0)
    assert not {"taken_over", "begins"} & started.keys()


def test_run_of_format_1_is_resumed_to_a_greater_length(old_run: Path) -> None:
    assert cli.run(["resume", str(old_run), "--steps", "60"]) == 0
    last = Run(old_run).lines()[-1]
    assert (last["event"], last["step"], last["reason"]) == ("finished", 60, "steps")
    values = json.loads((old_run / "experiment.json").read_text())
    assert (values["format"], values["freeze"], values["steps"]) == (FORMAT, ["beta2"], 60)
    assert "gan" not in values
    assert checkpoint.read(old_run / "checkpoints" / "step-00000060").values["format"] == checkpoint.FORMAT
    assert (old_run / "report.html").exists()


def test_interrupted_run_of_format_1_resumes_from_its_checkpoint(old_run: Path) -> None:
    """It ends with the weights of the run that was not interrupted, up to differences between machines."""
    shutil.rmtree(old_run / "checkpoints" / "step-00000040")
    for name in ("generator", "discriminator"):
        (old_run / f"{name}.safetensors").unlink()
    assert cli.run(["resume", str(old_run)]) == 0
    for name in ("generator", "discriminator"):
        expected = load_file(FORMAT_1 / f"{name}.safetensors")
        torch.testing.assert_close(load_file(old_run / f"{name}.safetensors"), expected, rtol=1e-3, atol=1e-4)
    (resumed,) = Run(old_run).lines("resumed")
    assert resumed["step"] == 20
    assert json.loads((old_run / "experiment.json").read_text())["format"] == 1, "files are not rewritten"


def test_weights_of_format_1_start_another_run(old_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "next"
    words = ["--from", str(old_run), "--steps", "2", "--batch-size", "8", "--metric", "none", "--out", str(out)]
    assert cli.run(["train", "ring", *words]) == 0
    (started,) = Run(out).lines("started")
    assert started["transferred"] == {"generator": 1.0, "discriminator": 1.0}


def test_run_of_format_1_is_reported(old_run: Path) -> None:
    assert cli.run(["report", str(old_run), "--no-film"]) == 0
    assert "mlp" in (old_run / "report.html").read_text()
    assert (old_run / "figures" / "training_progress.png").stat().st_size > 1000


def test_run_of_format_1_is_sampled(old_run: Path, tmp_path: Path) -> None:
    assert load(old_run).sample(5).shape == (5, 2)
    assert cli.run(["sample", str(old_run), "--count", "4", "--out", str(tmp_path / "points.npy")]) == 0
    shutil.rmtree(old_run / "checkpoints")
    assert load(old_run).sample(5).shape == (5, 2)


def test_run_of_format_1_is_diagnosed(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["diagnose", str(old_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_run_of_format_1_is_evaluated(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", str(old_run), "--metrics", "mixture_modes", "--count", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"][0]["metric"] == "mixture_modes"


def test_run_of_format_1_is_listed(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["runs", str(old_run.parent), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["model"], row["step"]) == ("run", "mlp", 40)


def test_options_of_plugs_are_renamed_wherever_they_are() -> None:
    renamed = {"max_grad_norm": 5, "hidden": 8}
    for model in ({"name": "seqgan", "options": {"longest": 5, "hidden": 8}}, {"name": "seqgan:x", "longest": 5}):
        result = migrate_experiment({"gan": model})["model"]
        assert isinstance(result, dict)
        assert {**result, **result.get("options", {})}["max_grad_norm"] == renamed["max_grad_norm"]
    assert migrate_experiment({"model": {"name": "mylab.seqgan", "longest": 5}})["model"]["longest"] == 5  # type: ignore[index]


def test_verdict_and_nested_keys_are_renamed() -> None:
    assert migrate_event({"event": "finished", "verdict": "ailing"})["verdict"] == "unhealthy"
    history = {"measured": {}, "levels": {"loss_d": 1.0, "overwhelmed_since": 5}}
    result = migrate_checkpoint({"unlearnt": 4, "sound": [20], "verdict": "ailing", "pilot": {"history": history}})
    assert (result["rolled_back_images"], result["healthy_steps"], result["verdict"]) == (4, [20], "unhealthy")
    levels = {"loss_d": 1.0, "discriminator_won_since": 5}
    assert result["pilot"] == {"history": {"metrics": {}, "levels": levels}}


def test_migration_is_idempotent_and_changes_no_argument() -> None:
    for file, migrate in (
        (FORMAT_1 / "experiment.json", migrate_experiment),
        (FORMAT_1 / "checkpoints" / "step-00000040" / "state.json", migrate_checkpoint),
    ):
        text = file.read_text()
        values = json.loads(text)
        result = migrate(values)
        assert values == json.loads(text)
        assert migrate(result) == result != values


def test_old_and_new_key_together_are_reported() -> None:
    assert rename_keys({"gan": 1, "model": 2}, {"gan": "model"}) == {"gan": 1, "model": 2}
    with pytest.raises(Exception, match="'gan'"):
        parse_experiment({"data": "ring", "gan": "mlp", "model": "mlp"}, "both.toml")


def test_old_keys_are_accepted_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('data = "ring"\ngan = "mlp"\nuntouched = ["beta2"]\n')
    experiment = load_experiment(path)
    assert experiment.model is not None
    assert (experiment.model.name, experiment.freeze) == ("mlp", ("beta2",))


def test_newer_format_is_refused() -> None:
    with pytest.raises(SettingError, match=f"format {FORMAT + 1}, newer than this version reads"):
        parse_experiment({"format": FORMAT + 1}, "newer.json")
