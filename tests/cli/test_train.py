"""The commands `train` and `resume`: what they print, write and return."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import equipoise
from equipoise.core.observations import Finding, Health
from equipoise.experiment.estimates import RunEstimate
from equipoise.experiment.files import parse_experiment
from equipoise.pilot import step
from equipoise.runs.run import Run


@pytest.fixture
def no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the estimate of a dry run, which trains some steps."""
    monkeypatch.setattr(
        "equipoise.experiment.estimates.estimate", lambda experiment, **_: RunEstimate(1.0, 2**30, experiment)
    )


def without(words: list[str], *flags: str) -> list[str]:
    """Remove flags and their values from arguments."""
    result, skipping = [], False
    for word in words:
        skipping = word in flags or (skipping and not word.startswith("--"))
        result += [] if skipping else [word]
    return result


@pytest.fixture(scope="module")
def run_by_command(tiny: list[str], tmp_path_factory: pytest.TempPathFactory):
    """A run trained by the command in another process, and its output."""
    folder = tmp_path_factory.mktemp("run_by_command") / "run"
    words = [sys.executable, "-m", "equipoise", "train", *tiny, "--seed", "5", "--out", str(folder)]
    return folder, subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_run_prints_progress_and_paths(run_by_command) -> None:
    folder, ended = run_by_command
    assert ended.returncode == 0, ended.stderr
    film = folder / "film" / "training_progress.mp4"
    assert ended.stdout.splitlines()[:2] == [f"film: {film}", f"report: {folder / 'report.html'}"]
    assert "equipoise sample" in ended.stdout.splitlines()[2]
    assert "12 steps, batch size 8, fp32" in ended.stderr
    assert "kd_digits" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_run_folder_has_all_files(run_by_command) -> None:
    folder, _ = run_by_command
    files = {path.name for path in folder.iterdir()}
    expected = {"experiment.json", "events.jsonl", "checkpoints", "samples", "figures", "film", "report.html"}
    assert expected | {"generator.safetensors", "discriminator.safetensors"} <= files
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        f"step-000000{step}" for step in ("05", "10", "12")
    ]
    assert [line["step"] for line in Run(folder).lines("sampled")] == [0, 6, 12]
    assert Run(folder).lines()[-1]["reason"] == "steps"


def test_experiment_file_reproduces_the_weights(run_by_command, call, working_directory: Path) -> None:
    """The same experiment file gives bit-exact weights, in another process too."""
    folder, _ = run_by_command
    settings = json.loads((folder / "experiment.json").read_text())
    *_, last = equipoise.start(parse_experiment(settings, "settings"), working_directory / "again")
    assert last.reason == "steps"
    for name in ("generator", "discriminator"):
        file = f"{name}.safetensors"
        assert (working_directory / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_train_prints_json(call, tiny: list[str], working_directory: Path) -> None:
    code, out, err = call("train", *tiny, "--out", "run", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["run"] == "run"
    assert (answer["step"], answer["images"], answer["reason"], answer["verdict"]) == (12, 96, "steps", "unknown")
    assert "at least" in answer["missing"]
    assert Path(answer["report"]).exists()


def test_run_folders_are_numbered(call, tiny: list[str], working_directory: Path) -> None:
    names = [json.loads(call("train", *tiny, "--steps", "2", "--json")[1])["run"] for _ in range(2)]
    assert names == ["runs/digits-dcgan-1", "runs/digits-dcgan-2"]


def test_dry_run_writes_nothing(call, tiny: list[str], working_directory: Path) -> None:
    code, out, _ = call("train", *tiny, "--dry-run")
    assert code == 0
    assert "runs/digits-dcgan-1" in out
    assert "width=4" in out
    assert list(working_directory.iterdir()) == []


def test_dry_run_prints_json(call, tiny: list[str], working_directory: Path) -> None:
    code, out, _ = call("train", *tiny, "--dry-run", "--json", "--out", "there")
    answer = json.loads(out)
    assert code == 0
    assert answer["out"] == "there"
    assert answer["seconds"] > 0
    assert answer["memory"] > 0
    assert answer["experiment"]["model"]["options"]["width"] == 4
    assert list(working_directory.iterdir()) == []


def dry_run(call, *words: str) -> dict:
    """Return the experiment of a dry run with these arguments."""
    code, out, err = call("train", *words, "--dry-run", "--json")
    assert code == 0, err
    return json.loads(out)["experiment"]


def test_set_takes_numbers_repeatedly(call, no_estimate, tiny: list[str]) -> None:
    result = dry_run(call, *tiny, "--set", "lr_g=1e-3", "augment_p=0.2", "--set", "lr_d=0.002")
    assert result["knobs"] == {"lr_g": 1e-3, "augment_p": 0.2, "lr_d": 0.002}


def test_set_takes_schedules(call, tiny: list[str], working_directory: Path) -> None:
    words = ("--controller", "annealed", "--set", "augment_p=linear(0.1, 0.5)", "lr_g=1e-3")
    result = dry_run(call, *tiny, *words)
    assert result["controller"]["options"]["schedules"] == {"augment_p": "linear(0.1, 0.5)"}
    assert result["knobs"] == {"lr_g": 1e-3}
    assert call("train", *tiny, *words, "--out", "run")[0] == 0
    turned = [line for line in Run(working_directory / "run").lines("turned") if line["knob"] == "augment_p"]
    assert turned[0]["from"] == 0.0
    assert turned[0]["to"] == 0.1
    assert turned[-1]["to"] == pytest.approx(0.5)
    assert turned[-1]["by"] == "annealed"


def test_set_applies_from_the_first_step(call, tiny: list[str], working_directory: Path) -> None:
    call("train", *tiny, "--steps", "1", "--controller", "fixed", "--set", "lr_g=1e-3", "--out", "run")
    assert Run(working_directory / "run").lines("started")[0]["knobs"]["lr_g"] == 1e-3


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        (["--loss", "hinge"], ("model", "options", "loss"), "hinge"),
        (["--constraint", "spectral_norm"], ("model", "options", "constraint"), "spectral_norm"),
        (["--model", "wgan_gp"], ("model", "name"), "wgan_gp"),
        (["--model", "dcgan:lab32"], ("model", "options", "discriminator_norm"), "batch"),
        (["--controller", "fixed"], ("controller", "name"), "fixed"),
        (["--seed", "9"], ("seed",), 9),
        (["--images", "64"], ("images",), 64),
        (["--seconds", "1.5"], ("seconds",), 1.5),
        (["--stop-at-equilibrium"], ("stop_at_equilibrium",), True),
        (["--device", "cpu"], ("device",), "cpu"),
        (["--threads", "1"], ("threads",), 1),
        (["--precision", "bf16"], ("precision",), "bf16"),
        (["--option", "fakes=fresh"], ("model", "options", "fakes"), "fresh"),
    ],
)
def test_flags_reach_the_experiment(
    call, no_estimate, tiny: list[str], words: list[str], where: tuple, value: object
) -> None:
    result = dry_run(call, *tiny, *words)
    for key in where:
        result = result[key]
    assert result == value


def test_options_apply_to_the_suggested_model(call, no_estimate, tiny: list[str]) -> None:
    assert dry_run(call, *without(tiny, "--model"))["model"]["options"]["width"] == 4


def test_flags_override_the_experiment_file(call, no_estimate, tiny: list[str], working_directory: Path) -> None:
    (working_directory / "lab.toml").write_text(
        'data = "digits"\nimage_size = 16\nsteps = 99\n[model]\nname = "sngan"\nwidth = 4\n'
    )
    result = dry_run(call, "--experiment", "lab.toml", "--steps", "4", "--threads", "1", "--batch-size", "8")
    assert (result["model"]["name"], result["steps"], result["data"]["name"]) == ("sngan", 4, "digits")


@pytest.mark.parametrize(
    ("rule", "reason", "steps"), [(["--images", "40"], "images", 5), (["--seconds", "0.001"], "seconds", 1)]
)
def test_limits_of_images_and_seconds(call, tiny: list[str], rule: list[str], reason: str, steps: int) -> None:
    code, out, _ = call("train", *tiny, *rule, "--out", "run", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["reason"], answer["step"]) == (reason, steps)


def test_from_starts_with_the_weights_of_another_run(
    call, tiny: list[str], trained: Path, working_directory: Path
) -> None:
    """After one step with a tiny learning rate, the averaged weights are nearly those of the other run."""
    still = ("--controller", "fixed", "--set", "lr_g=1e-6", "lr_d=1e-6", "--steps", "1")
    code, _, err = call("train", *tiny, *still, "--from", trained, "--out", "next")
    assert code == 0, err
    new, source = (equipoise.load(folder).networks["generator"] for folder in ("next", trained))
    weight = dict(source.named_parameters())
    for name, value in new.named_parameters():
        torch.testing.assert_close(value, weight[name], atol=1e-2, rtol=0)
    assert json.loads((working_directory / "next" / "experiment.json").read_text())["start_from"] == str(
        trained.resolve() / "checkpoints" / "step-00000012"
    )


def test_resume_continues_from_last_checkpoint(call, cut_off: Path, trained: Path) -> None:
    code, out, err = call("resume", cut_off)
    assert code == 0
    assert out.splitlines()[0].endswith("report.html")
    assert "resuming from step 10" in err
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_resume_extends_a_run(call, run_folder: Path) -> None:
    code, out, _ = call("resume", run_folder, "--steps", "15", "--json")
    answer = json.loads(out)
    assert (code, answer["step"], answer["reason"]) == (0, 15, "steps")
    assert json.loads((run_folder / "experiment.json").read_text())["steps"] == 15


def test_resume_of_a_finished_run_keeps_its_weights(call, run_folder: Path, trained: Path) -> None:
    assert call("resume", run_folder)[0] == 0
    assert (run_folder / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_unhealthy_run_has_exit_code_3(call, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = Finding("mode_collapse", 0.9, {"diversity": 0.1}, since=3)
    monkeypatch.setattr(step, "diagnose", lambda history, *_: (Health((result,)), history))
    code, out, _ = call("train", *tiny, "--no-repair", "--out", "sick")
    assert code == 3
    assert "mode collapse" in out.splitlines()[-1]
    assert "equipoise diagnose sick" in out.splitlines()[-1]


def test_remedy_is_printed(call, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = Finding("mode_collapse", 0.9, {"diversity": 0.1}, since=3)
    healths = iter([Health()] * 4 + [Health((result,))])
    monkeypatch.setattr(step, "diagnose", lambda history, *_: (next(healths, Health()), history))
    code, _, err = call("train", *tiny, "--set", "lr_d=1e-2", "--out", "repaired")
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("step 5: mode collapse: "))
    assert "lr_d 0.01 → 0.002" in line
    assert line.endswith(" until step 12")
