"""Experiments: TOML, JSON and flags, completion, and error messages."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.cli import main as cli
from equipoise.cli.arguments import parse
from equipoise.cli.commands.train import experiment_of
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.completion import complete
from equipoise.experiment.files import load_experiment, parse_experiment
from equipoise.experiment.settings import Experiment, PlugSpec, build_data, build_recipe
from equipoise.policy.files import encode_policy
from equipoise.policy.kinds import untrained_policy
from equipoise.runs.folders import create_run

TOML = """
data = "digits"
steps = 40
batch_size = 16
image_size = 16
precision = "fp32"

[model]
name = "dcgan"
width = 8
loss = "hinge"

[controller]
name = "annealed"
schedules = { lr_g = "linear(0.001, 0)" }

[knobs]
lr_d = 0.0005
beta1 = 0.25
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(TOML)
    return path


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    return path


def experiment_from(*words: str) -> Experiment:
    """Complete the experiment of a command line."""
    return complete(experiment_of(parse(cli.parser("train"), words)))


def test_toml_to_json_and_back_gives_same_experiment(file: Path) -> None:
    experiment = complete(load_experiment(file))
    text = json.dumps(experiment.to_json(), allow_nan=False)
    again = parse_experiment(json.loads(text), "experiment.json")
    assert again == experiment
    assert json.dumps(again.to_json()) == text


def test_completion_is_idempotent(file: Path) -> None:
    experiment = complete(load_experiment(file))
    assert complete(experiment) == experiment


def test_metric_none_disables_evaluation() -> None:
    experiment = complete(Experiment(data=PlugSpec("digits"), metric=PlugSpec("none")))
    assert complete(experiment) == experiment
    assert experiment.training_metric is None
    assert complete(Experiment(data=PlugSpec("digits"))).training_metric == PlugSpec("kd_digits")


def test_plug_is_a_name_or_a_table(file: Path) -> None:
    result = load_experiment(file)
    assert result.data == PlugSpec("digits")
    assert result.model == PlugSpec("dcgan", {"width": 8, "loss": "hinge"})
    assert result.knobs == {"lr_d": 0.0005, "beta1": 0.25}


def test_only_data_is_required() -> None:
    experiment = complete(Experiment(data=PlugSpec("digits")))
    suggestion = build_data(experiment).suggestion
    assert experiment.model is not None
    assert (experiment.model.name, experiment.steps, experiment.batch_size) == (
        suggestion.model,
        suggestion.steps,
        suggestion.batch_size,
    )
    assert experiment.metric == PlugSpec("kd_digits", {})
    assert experiment.seed == 0
    assert all((experiment.sample_every, experiment.save_every))
    assert experiment.evaluate_every is None, "it is chosen at the start of the run"


def test_missing_data_is_reported_with_example() -> None:
    with pytest.raises(SettingError, match="equipoise train digits"):
        complete(Experiment())


@pytest.mark.parametrize("data", ["digits", "ring", "grid", "origin"])
def test_all_options_are_written_out(data: str) -> None:
    """A later version with other defaults runs the same."""
    experiment = complete(Experiment(data=PlugSpec(data)))
    for kind, choice in (
        ("data", experiment.data),
        ("models", experiment.model),
        ("controllers", experiment.controller),
    ):
        assert choice is not None
        built = {"data": build_data, "models": build_recipe}.get(kind, lambda _: None)(experiment)
        fields = {field.name for field in dataclasses.fields(built)} if built is not None else choice.options.keys()
        assert choice.options.keys() == fields
    assert {"python", "equipoise", "torch", "numpy"} <= (experiment.versions or {}).keys()


def test_options_override_preset() -> None:
    experiment = complete(
        Experiment(data=PlugSpec("digits"), model=PlugSpec("dcgan:lab32", {"width": 6}), loss="hinge")
    )
    assert experiment.model is not None
    assert experiment.model.name == "dcgan:lab32"
    options = experiment.model.options
    assert (options["width"], options["loss"], options["discriminator_norm"]) == (6, "hinge", "batch")
    assert options["knobs"] == {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999}
    assert build_recipe(parse_experiment(experiment.to_json(), "experiment.json")) == build_recipe(experiment)


def test_loss_constraint_and_size_become_options(file: Path) -> None:
    experiment = complete(dataclasses.replace(load_experiment(file), constraint="spectral_norm"))
    assert (experiment.loss, experiment.constraint, experiment.image_size) == (None, None, None)
    assert experiment.model is not None
    assert (experiment.model.options["loss"], experiment.model.options["constraint"]) == ("hinge", "spectral_norm")
    assert experiment.data == PlugSpec("digits", {"image_size": 16, "training_images": None, "balance": False})


def test_flags_take_precedence_over_file(file: Path) -> None:
    words = ("--experiment", str(file), "--steps", "7", "--loss", "minimax", "--set", "beta1=0.5", "augment_p=0.1")
    result = experiment_from(*words, "--option", "width=12", "latent_dim=9", "--seed", "3")
    assert (result.steps, result.seed, result.batch_size) == (7, 3, 16)
    assert result.model is not None
    assert [result.model.options[name] for name in ("width", "latent_dim", "loss")] == [12, 9, "minimax"]
    assert result.knobs == {"lr_d": 0.0005, "beta1": 0.5, "augment_p": 0.1}


def test_schedule_is_added_to_those_of_the_file(file: Path) -> None:
    result = experiment_from("--experiment", str(file), "--set", "augment_p=linear(0, 0.5)")
    assert result.controller is not None
    assert result.controller.options["schedules"] == {"lr_g": "linear(0.001, 0)", "augment_p": "linear(0, 0.5)"}


def test_data_argument_takes_precedence_over_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'data = "grid"\nsteps = 9')
    result = experiment_from("ring", "--experiment", str(path))
    assert result.data is not None
    assert (result.data.name, result.steps) == ("ring", 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "digits"\nstpes = 5', "setting 'stpes' in .*wrong.toml; did you mean 'steps'?"),
        ('dtaa = "digits"', "'dtaa' in .*; did you mean 'data'?"),
        (
            'data = "digits"\n[model]\nname = "dcgan"\nwidht = 3',
            "option 'widht' of model 'dcgan'; did you mean 'width'?",
        ),
        ('data = "digits"\n[model]\nname = "dcgan"\nloss = "hing"', "'hing'; did you mean 'hinge'?"),
        ('data = "digitz"', "data set 'digitz' .*; did you mean 'digits'?"),
        ('data = "digits"\nmodel = "dcgan:lab23"', "preset 'lab23' of model 'dcgan'; did you mean 'lab32'?"),
    ],
)
def test_unknown_names_suggest_similar_ones(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UnknownNameError, match=words.replace("?", r"\?")):
        complete(load_experiment(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "digits"\nsteps = "many"', "steps = 'many': it must be a whole number, not a string"),
        ('data = "digits"\nsteps = 2.5', "steps = 2.5: it must be a whole number, not a decimal number"),
        ("data = 3", "data = 3: "),
        ('data = "digits"\n[knobs]\nlr_g = "fast"', "lr_g = 'fast': it must be a number, or a schedule"),
        (
            'data = "digits"\n[model]\nname = "dcgan"\nwidth = "wide"',
            "width = 'wide': it must be a whole number, not a string",
        ),
        ('data = "digits"\nsteps = 0', "steps = 0: it must be at least 1"),
        ('data = "digits"\nbatch_size = -4', "batch_size = -4: it must be at least 1"),
        ('data = "digits', "wrong.toml cannot be read as TOML"),
        ("format = 99", "format 99, newer than this version reads"),
    ],
)
def test_invalid_value_is_reported_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        complete(load_experiment(write(tmp_path, text)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no file .*none\.toml"):
        load_experiment(tmp_path / "none.toml")


def test_overlaid_merges_knobs_and_replaces_other_settings() -> None:
    one = Experiment(data=PlugSpec("digits"), steps=5, seed=1, knobs={"lr_g": 1e-3, "beta1": 0.1})
    other = Experiment(steps=9, knobs={"beta1": 0.9})
    assert one.merge(other) == Experiment(data=PlugSpec("digits"), steps=9, seed=1, knobs={"lr_g": 1e-3, "beta1": 0.9})
    assert other.merge(Experiment()) == other


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "experiments").glob("*.toml")), ids=lambda path: path.stem
)
def test_committed_experiments_are_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(40):  # instead of the files of scripts/make_bursts.py
        (tmp_path / "bursts" / "type_3").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bursts" / "type_3" / f"{number}.csv").write_text(f"0,{number}\n1,2\n")
    assert complete(load_experiment(path)).steps


def test_policy_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, other = tmp_path / "mine.safetensors", tmp_path / "other"
    file.write_bytes(encode_policy(untrained_policy("residual")))
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    plain = complete(
        Experiment(data=PlugSpec("ring"), controller=PlugSpec("learnable", {"policy": "mine.safetensors"}))
    )
    chain = {"of": ["rank", "learnable"], "settings": {"learnable": {"policy": "mine.safetensors"}}}
    chained = complete(Experiment(data=PlugSpec("ring"), controller=PlugSpec("chain", chain)))
    shipped = complete(Experiment(data=PlugSpec("ring"), controller=PlugSpec("learnable:residual")))
    monkeypatch.chdir(other)
    assert plain.controller is not None
    assert plain.controller.options["policy"] == str(file)
    assert chained.controller is not None
    assert chained.controller.options["settings"]["learnable"]["policy"] == str(file)
    assert shipped.controller is not None
    assert shipped.controller.options["policy"] == "residual"
    assert [complete(one) for one in (plain, chained, shipped)] == [plain, chained, shipped]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('repair = "yes"', "repair = 'yes': it must be true or false, not a string"),
        ("repair = 1", "repair = 1: it must be true or false, not a whole number"),
        ('seed = "0"', "seed = '0': it must be a whole number, not a string"),
        ("steps = true", "steps = True: it must be a whole number, not true or false"),
        ("steps = 3.0", "steps = 3.0: it must be a whole number, not a decimal number"),
        ("seconds = inf", "seconds = inf: it must be a finite number"),
        ("seconds = nan", "seconds = nan: it must be a finite number"),
        ('freeze = "lr_g"', "freeze = 'lr_g': it must be a list, not a string"),
        ("freeze = [1]", "freeze = 1: it must be a string, not a whole number"),
        ('model = { name = "dcgan", width = "8" }', "width = '8': it must be a whole number, not a string"),
        ('model = { name = "dcgan:lab32", bias = "no" }', "bias = 'no': it must be true or false, not a string"),
        ("knobs = { lr_g = true }", "knobs.lr_g = True: it must be a number or a string, not true or false"),
    ],
)
def test_values_of_files_are_not_converted(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        complete(load_experiment(write(tmp_path, f'data = "digits"\n{text}')))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": "3"}, "steps = '3': it must be a whole number, not a string"),
        ({"repair": "yes"}, "repair = 'yes': it must be true or false"),
        ({"knobs": 3}, "knobs = 3: it must be a table"),
        ({"data": torch.zeros(2, 2)}, "data must be a string, not Tensor; save an array as a .npy file"),
        ({"data": np.zeros((2, 2))}, "data must be a string, not ndarray"),
        ({"model": 3}, "model must be a string, not int"),
    ],
)
def test_wrong_types_in_python_name_the_setting(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        Experiment(**settings)
    assert words in str(caught.value)


def test_paths_and_numbers_of_numpy_are_accepted(tmp_path: Path) -> None:
    experiment = Experiment(data=tmp_path, steps=np.int64(3), seconds=np.float32(2), freeze=["lr_g"])  # type: ignore[arg-type]
    assert experiment == Experiment(data=PlugSpec(str(tmp_path)), steps=3, seconds=2.0, freeze=("lr_g",))
    assert json.loads(json.dumps(experiment.to_json()))["steps"] == 3


def test_schedules_in_a_file_are_those_of_the_command_line(tmp_path: Path) -> None:
    text = 'data = "ring"\ncontroller = "annealed"\n[knobs]\nlr_d = "linear(0.001, 0)"\nlr_g = 0.002'
    experiment = complete(load_experiment(write(tmp_path, text)))
    words = ("ring", "--controller", "annealed", "--set", "lr_d=linear(0.001, 0)", "lr_g=0.002")
    assert experiment == experiment_from(*words)
    assert experiment.knobs == {"lr_g": 0.002}
    assert experiment.controller is not None
    assert experiment.controller.options["schedules"] == {"lr_d": "linear(0.001, 0)"}
    with pytest.raises(SettingError, match="is a schedule, which needs --controller annealed"):
        complete(load_experiment(write(tmp_path, text.replace("annealed", "fixed"))))


def test_schedules_and_translation_are_annealed_without_a_controller() -> None:
    """The suggested controller of this data is another one."""
    suggested = experiment_from("openmoji").controller
    assert suggested is not None
    assert suggested.name == "learnable:suite"
    translating = experiment_from("openmoji", "--model", "pix2pix:cpu32").controller
    assert translating is not None
    assert translating.name == "annealed"
    scheduled = experiment_from("openmoji", "--set", "augment_p=linear(0, 0.5)").controller
    assert scheduled is not None
    assert scheduled.name == "annealed"
    assert scheduled.options["schedules"] == {"augment_p": "linear(0, 0.5)"}


@pytest.mark.parametrize("flag", ["--set", "--option"])
def test_two_values_of_a_name_are_refused(flag: str) -> None:
    with pytest.raises(SettingError, match=f"{flag} sets lr_d twice, to 1e-3 and to 2e-3"):
        experiment_from("ring", flag, "lr_d=1e-3", "beta1=0", flag, "lr_d=2e-3")
    experiment_from("ring", "--set", "lr_d=1e-3", "--set", "lr_d=1e-3")


def test_infinite_option_is_refused() -> None:
    with pytest.raises(SettingError, match=r"model\.clip = inf: it must be a finite number"):
        complete(Experiment(data=PlugSpec("digits"), model=PlugSpec("wgan", {"clip": math.inf})))


def test_json_files_have_no_infinity(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"model\.options\.clip is not a finite number, which experiment\.json"):
        create_run(tmp_path / "run", {"model": {"name": "wgan", "options": {"clip": math.inf}}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [10**22, 10**400, 10**5000, -(10**400)], ids=range(4))
def test_whole_numbers_beyond_any_float_are_refused(number: int) -> None:
    with pytest.raises(SettingError, match=r"steps = .*: it must be at (least 1|most 2\^63 - 1)$"):
        complete(Experiment(data="ring", steps=number))


def test_whole_numbers_of_knobs_are_written_without_warning() -> None:
    """The type of a knob is a number or a schedule; 0 is the number 0.0."""
    values = Experiment(knobs={"r1_gamma": 0, "lr_d": "linear(0.001, 0)"}).to_json()["knobs"]
    assert values == {"r1_gamma": 0.0, "lr_d": "linear(0.001, 0)"}
