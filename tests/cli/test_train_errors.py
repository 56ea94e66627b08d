"""Errors of `train`: one line that names the problem and the remedy, exit code 2, and no file written."""

import json
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment

WRONG_NAMES = [
    ("--model dcgam", "model 'dcgam'", "'dcgan'"),
    ("--model dcgan:lab23", "'lab23'", "'lab32'"),
    ("--controller annealde", "controller 'annealde'", "'annealed'"),
    ("--metric kd_digit", "metric 'kd_digit'", "'kd_digits'"),
    ("--loss hing", "'hing'", "'hinge'"),
    ("--constraint spectral_nrom", "'spectral_nrom'", "'spectral_norm'"),
    ("--option widht=4", "'widht'", "'width'"),
    ("--option fakes=shred", "'shred'", "'shared'"),
    ("--set lr_gen=0.1", "knob 'lr_gen'", "'lr_g'"),
    ("--set augment_q=linear(0,0.5)", "knob 'augment_q'", "'augment_p'"),
    ("--set augment_p=linaer(0,0.5)", "schedule 'linaer'", "'linear'"),
    ("--stpes 5", "'--stpes'", "'--steps'"),
    ("--batchsize=5", "'--batchsize=5'", "'--batch-size'"),
    ("--precision fp17", "precision 'fp17'", "'fp16'"),
    ("--device cudaa", "device 'cudaa'", "--device cpu"),
    ("--model no_such_lab.gan", "'no_such_lab.gan'", "module"),
]


@pytest.mark.parametrize(("words", "named", "offered"), WRONG_NAMES, ids=[words for words, _, _ in WRONG_NAMES])
def test_unknown_names_suggest_the_nearest(training_error, words: str, named: str, offered: str) -> None:
    line = training_error("--controller", "annealed", *words.split(" "))
    assert named in line
    assert offered in line


def test_unknown_data_set(error_line, working_directory: Path) -> None:
    line = error_line("train", "digist")
    assert "data set 'digist'" in line
    assert "'digits'" in line
    assert list(working_directory.iterdir()) == []


def test_missing_data(error_line) -> None:
    assert "equipoise train digits" in error_line("train")


@pytest.mark.parametrize(
    ("text", "named", "offered"),
    [
        ('data = "digits"\nstpes = 5', "'stpes'", "'steps'"),
        ('data = "digits"\n[knobs]\nlr_q = 0.1', "'lr_q'", "'lr_"),
        ('data = "digits"\n[model]\nname = "dcgan"\nwidht = 5', "'widht'", "'width'"),
        ('data = "digits"\nsteps = "many"', "steps", "whole number"),
        ("data = ", "lab.toml", "TOML"),
    ],
)
def test_invalid_experiment_file(error_line, working_directory: Path, text: str, named: str, offered: str) -> None:
    (working_directory / "lab.toml").write_text(text)
    line = error_line("train", "--experiment", "lab.toml")
    assert named in line
    assert offered in line
    assert [path.name for path in working_directory.iterdir()] == ["lab.toml"]


def test_missing_experiment_file(training_error) -> None:
    assert "none.toml" in training_error("--experiment", "none.toml")


@pytest.mark.parametrize("value", ["0.5", "constant(0.5)"])
def test_knob_without_effect_in_the_model(training_error, value: str) -> None:
    line = training_error("--controller", "annealed", "--set", f"gp_weight={value}")
    assert "gp_weight has no effect in dcgan" in line
    assert "r1_gamma" in line


def test_frozen_knob_of_the_controller(training_error) -> None:
    line = training_error("--controller", "annealed", "--freeze", "beta2", "lr_g")
    assert "lr_g" in line
    assert "beta2" not in line
    assert "did you mean 'lr_g'" in training_error("--freeze", "lr_gg")


INVALID_VALUES = [
    ("--set lr_g=5", "lr_g = 5 is outside its range: 1e-06 to 0.01"),
    ("--set augment_p=-0.1", "augment_p = -0.1 is outside its range: 0 to 0.8"),
    ("--set r1_gamma=1e-9", "r1_gamma = 1e-09 is outside its range: 0 (off) or 0.0001 to 1000"),
    ("--set discriminator_steps=1.5", "discriminator_steps = 1.5 is outside its range"),
    ("--set lr_g=nan", "lr_g = nan is outside its range"),
    ("--set lr_g=fast", "lr_g = 'fast': it must be a number"),
    ("--set lr_g", "--set takes name=value, not 'lr_g'"),
    ("--set =3", "--set takes name=value, not '=3'"),
    ("--set lr_g=linear(1)", "linear(start: float, end: float)"),
    ("--steps many", "--steps"),
    ("--steps 1e3", "'1e3'"),
    ("--steps 0", "steps = 0: it must be at least 1"),
    ("--images 0", "images = 0: it must be at least 1"),
    ("--batch-size 0", "batch_size = 0: it must be at least 1"),
    ("--save-every -1", "save_every = -1: it must be at least 1"),
    ("--sense-every 0", "sense_every = 0: it must be at least 1"),
    ("--threads 0", "threads = 0: it must be at least 1"),
    ("--threads -2", "threads = -2: it must be at least 1"),
    ("--seconds 0", "seconds = 0: it must be above 0"),
    ("--seconds nan", "seconds = nan: it must be a finite number"),
    ("--seed -1", "seed = -1: it must be at least 0"),
    ("--option width=0", "width = 0: it must be at least 1"),
    ("--option latent_dim=-3", "latent_dim = -3: it must be at least 1"),
    ("--option width=wide", "width = 'wide'"),
    ("--option penalty_interval=0", "penalty_interval = 0: it must be at least 1"),
    ("--option clip=0", "clip = 0: it must be above 0"),
    ("--device cuda:99", "device 'cuda:99'"),
    ("--model mlp --option width=4", "--model dcgan"),
    ("--metric mixture_modes", "'mixture_modes'"),
]


@pytest.mark.parametrize(("words", "message"), INVALID_VALUES, ids=[words for words, _ in INVALID_VALUES])
def test_invalid_value(training_error, words: str, message: str) -> None:
    assert message in training_error("--controller", "annealed", *words.split(" "))


def test_batch_larger_than_the_data(training_error) -> None:
    line = training_error("--batch-size", "4001")
    assert all(word in line for word in ("'train'", "4000 images", "--batch-size 4000"))


@pytest.mark.parametrize("size", [0, 17, 48, 4096])
def test_unsupported_image_size(training_error, size: int) -> None:
    line = training_error("--image-size", size)
    assert f"image_size = {size}" in line
    assert "16, 32, 64 or 128" in line


@pytest.mark.parametrize("model", ["dcgan", "sngan"])
def test_image_model_for_points(error_line, working_directory: Path, model: str) -> None:
    assert "--model mlp" in error_line("train", "ring", "--model", model)
    assert list(working_directory.iterdir()) == []


def test_existing_run_folder(error_without_changes, tiny: list[str], run_folder: Path) -> None:
    line = error_without_changes(run_folder, "train", *tiny, "--out", run_folder)
    assert f"{run_folder} exists already" in line
    assert f"equipoise resume {run_folder}" in line
    assert "--out" in line


def test_folder_with_other_files(error_without_changes, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    line = error_without_changes(tmp_path, "train", *tiny, "--out", tmp_path)
    assert f"{tmp_path} exists already" in line
    assert "--out" in line
    assert "resume" not in line


def test_file_in_place_of_the_run_folder(error_without_changes, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    assert "exists already" in error_without_changes(tmp_path, "train", *tiny, "--out", tmp_path / "run")
    assert "cannot write to" in error_without_changes(tmp_path, "train", *tiny, "--out", tmp_path / "run" / "below")


def test_missing_run_to_start_from(training_error) -> None:
    assert "nowhere does not exist; give the folder of a run" in training_error("--from", "nowhere")


def test_run_to_start_from_with_other_shapes(training_error, trained: Path) -> None:
    line = training_error("--from", trained, "--option", "width=8")
    assert all(word in line for word in ("step-00000012", "1% of the generator", "0% of the discriminator"))


DIVERGING = """
data = "digits"
image_size = 16
steps = 60
batch_size = 8
precision = "fp32"
threads = 1
controller = "fixed"

[model]
name = "dcgan"
width = 4
loss = "wasserstein"
optimizer = "sgd"
knobs = { lr_g = 0.01, lr_d = 0.01, beta1 = 0.95, discriminator_steps = 10 }
"""
"""A critic that nothing holds, with momentum and ten updates a step: its weights outgrow any number in no time."""


def test_diverged_run(working_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (working_directory / "absurd.toml").write_text(DIVERGING)
    assert cli.run(["train", "--experiment", "absurd.toml", "--no-repair", "--out", "run"]) == 3
    out, err = capsys.readouterr()
    assert "the run diverged at step" in out
    assert "lr_d and lr_g" in out
    assert "Traceback" not in err
    last = json.loads((working_directory / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["reason"], last["verdict"]) == ("finished", "diverged", "diverged")
    assert last["step"] < 60
    assert not (working_directory / "run" / "generator.safetensors").exists()


TINY_RING = ("ring", "--model", "mlp", "--option", "width=4", "--steps", "2", "--batch-size", "8", "--metric", "none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--threads 9999999999", "it must be at most 1024"),
        ("--seed 99999999999999999999999", "2^63"),
        ("--controller random --option controller.warm_up=nan", "warm_up = nan: it must be from 0 to 1"),
        ("--controller random --option controller.pace=1e-9", "pace = 1e-09: it must be from 0.0001 to 1"),
    ],
)
def test_number_out_of_range(error_line, working_directory: Path, words: str, message: str) -> None:
    assert message in error_line("train", *TINY_RING, *words.split(" "))
    assert list(working_directory.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = {name = 3}", "data = {'name': 3}: its name must be a string"),
        ('data = {name = "ring", options = 3}', "data = {'name': 'ring', 'options': 3}: its options must be a table"),
    ],
)
def test_experiment_file_with_an_invalid_plug(error_line, working_directory: Path, text: str, message: str) -> None:
    (working_directory / "lab.toml").write_text(text)
    assert message in error_line("train", "--experiment", "lab.toml")
    with pytest.raises(SettingError, match=r"data = .*: its name must be a string"):
        Experiment(data={"name": 3})  # type: ignore[arg-type]
