"""Experiments: from TOML to JSON and back, flags over files, and one line for each mistake."""

import dataclasses
import json
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.cli.arguments import parse
from equipoise.cli.commands.train import experiment_of
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.settings import Experiment, PlugSpec, complete, data_of, from_values, read_toml, recipe_of
from equipoise.policy.blank import blank
from equipoise.policy.files import encoded

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


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    return path


def asked(*words: str) -> Experiment:
    """What the command line makes of words."""
    return complete(experiment_of(parse(cli.parser("train"), words)))


def test_toml_to_json_and_back_is_the_same_experiment(file: Path) -> None:
    whole = complete(read_toml(file))
    text = json.dumps(whole.to_json(), allow_nan=False)
    again = from_values(json.loads(text), "experiment.json")
    assert again == whole
    assert json.dumps(again.to_json()) == text


def test_what_is_complete_stays_as_it_is(file: Path) -> None:
    whole = complete(read_toml(file))
    assert complete(whole) == whole


def test_nothing_is_measured_where_nothing_is_asked_for() -> None:
    asked = complete(Experiment(data=PlugSpec("digits"), metric=PlugSpec("none")))
    assert complete(asked) == asked, "what is complete asks for nothing still"
    assert asked.measured is None
    assert complete(Experiment(data=PlugSpec("digits"))).measured == PlugSpec("kd_digits")


def test_a_plug_is_a_name_or_a_table(file: Path) -> None:
    result = read_toml(file)
    assert result.data == PlugSpec("digits")
    assert result.model == PlugSpec("dcgan", {"width": 8, "loss": "hinge"})
    assert result.knobs == {"lr_d": 0.0005, "beta1": 0.25}


def test_nothing_but_the_data_need_be_said() -> None:
    whole = complete(Experiment(data=PlugSpec("digits")))
    suits = data_of(whole).suggestion
    assert whole.model is not None
    assert (whole.model.name, whole.steps, whole.batch_size) == (suits.model, suits.steps, suits.batch_size)
    assert whole.metric == PlugSpec("kd_digits", {})
    assert whole.seed == 0
    assert all((whole.sample_every, whole.save_every))
    assert whole.evaluate_every is None, "that is priced at the start of the run"


def test_without_data_it_says_what_to_type() -> None:
    with pytest.raises(SettingError, match="equipoise train digits"):
        complete(Experiment())


@pytest.mark.parametrize("data", ["digits", "ring", "grid", "origin"])
def test_options_are_written_out_in_full(data: str) -> None:
    """A later version with other defaults runs the same."""
    whole = complete(Experiment(data=PlugSpec(data)))
    for kind, choice in (("data", whole.data), ("models", whole.model), ("controllers", whole.controller)):
        assert choice is not None
        built = {"data": data_of, "models": recipe_of}.get(kind, lambda _: None)(whole)
        fields = {field.name for field in dataclasses.fields(built)} if built is not None else choice.options.keys()
        assert choice.options.keys() == fields
    assert {"python", "equipoise", "torch", "numpy"} <= (whole.versions or {}).keys()


def test_a_preset_and_what_differs_from_it() -> None:
    whole = complete(Experiment(data=PlugSpec("digits"), model=PlugSpec("dcgan:lab32", {"width": 6}), loss="hinge"))
    assert whole.model is not None
    assert whole.model.name == "dcgan:lab32"
    options = whole.model.options
    assert (options["width"], options["loss"], options["discriminator_norm"]) == (6, "hinge", "batch")
    assert options["knobs"] == {"lr_g": 2e-4, "lr_d": 2e-4, "beta1": 0.5, "beta2": 0.999}
    assert recipe_of(from_values(whole.to_json(), "experiment.json")) == recipe_of(whole)


def test_loss_constraint_and_size_become_options(file: Path) -> None:
    whole = complete(dataclasses.replace(read_toml(file), constraint="spectral_norm"))
    assert (whole.loss, whole.constraint, whole.image_size) == (None, None, None)
    assert whole.model is not None
    assert (whole.model.options["loss"], whole.model.options["constraint"]) == ("hinge", "spectral_norm")
    assert whole.data == PlugSpec("digits", {"image_size": 16, "training_images": None})


def test_flags_win_over_the_file(file: Path) -> None:
    words = ("--experiment", str(file), "--steps", "7", "--loss", "minimax", "--set", "beta1=0.5", "augment_p=0.1")
    result = asked(*words, "--option", "width=12", "latent_dim=9", "--seed", "3")
    assert (result.steps, result.seed, result.batch_size) == (7, 3, 16)
    assert result.model is not None
    assert [result.model.options[name] for name in ("width", "latent_dim", "loss")] == [12, 9, "minimax"]
    assert result.knobs == {"lr_d": 0.0005, "beta1": 0.5, "augment_p": 0.1}


def test_a_schedule_joins_those_of_the_file(file: Path) -> None:
    result = asked("--experiment", str(file), "--set", "augment_p=linear(0, 0.5)")
    assert result.controller is not None
    assert result.controller.options["schedules"] == {"lr_g": "linear(0.001, 0)", "augment_p": "linear(0, 0.5)"}


def test_data_on_the_command_line_wins(tmp_path: Path) -> None:
    path = written(tmp_path, 'data = "grid"\nsteps = 9')
    result = asked("ring", "--experiment", str(path))
    assert result.data is not None
    assert (result.data.name, result.steps) == ("ring", 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "digits"\nstpes = 5', "setting in .*wrong.toml 'stpes'; did you mean 'steps'?"),
        ('dtaa = "digits"', "'dtaa'; did you mean 'data'?"),
        ('data = "digits"\n[model]\nname = "dcgan"\nwidht = 3', "option of GAN 'dcgan' 'widht'; did you mean 'width'?"),
        ('data = "digits"\n[model]\nname = "dcgan"\nloss = "hing"', "'hing'; did you mean 'hinge'?"),
        ('data = "digitz"', "data set 'digitz'; did you mean 'digits'?"),
        ('data = "digits"\nmodel = "dcgan:lab23"', "preset of GAN 'dcgan' 'lab23'; did you mean 'lab32'?"),
    ],
)
def test_the_nearest_right_key_is_offered(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UnknownNameError, match=words.replace("?", r"\?")):
        complete(read_toml(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('data = "digits"\nsteps = "many"', "steps = 'many': input should be a valid integer"),
        ('data = "digits"\nsteps = 2.5', "steps = 2.5: input should be a valid integer"),
        ("data = 3", "data = 3: "),
        ('data = "digits"\n[knobs]\nlr_g = "fast"', "knobs.lr_g = 'fast': input should be a valid number"),
        ('data = "digits"\n[model]\nname = "dcgan"\nwidth = "wide"', "width = 'wide': input should be a valid integer"),
        ('data = "digits"\nsteps = 0', "steps = 0: it must be at least 1"),
        ('data = "digits"\nbatch_size = -4', "batch_size = -4: it must be at least 1"),
        ('data = "digits', "wrong.toml cannot be read as TOML"),
        ("format = 99", "format 99, newer than this version reads"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        complete(read_toml(written(tmp_path, text)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"there is no file .*none\.toml"):
        read_toml(tmp_path / "none.toml")


def test_tables_of_knobs_are_merged_other_settings_replaced() -> None:
    one = Experiment(data=PlugSpec("digits"), steps=5, seed=1, knobs={"lr_g": 1e-3, "beta1": 0.1})
    other = Experiment(steps=9, knobs={"beta1": 0.9})
    assert one.overlaid(other) == Experiment(
        data=PlugSpec("digits"), steps=9, seed=1, knobs={"lr_g": 1e-3, "beta1": 0.9}
    )
    assert other.overlaid(Experiment()) == other


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "experiments").glob("*.toml")), ids=lambda path: path.stem
)
def test_committed_experiments_can_be_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(40):  # in the place of what scripts/make_bursts.py writes
        (tmp_path / "bursts" / "type_3").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bursts" / "type_3" / f"{number}.csv").write_text(f"0,{number}\n1,2\n")
    assert complete(read_toml(path)).steps


def test_a_run_that_follows_a_policy_of_ones_own_goes_on_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, elsewhere = tmp_path / "mine.safetensors", tmp_path / "elsewhere"
    file.write_bytes(encoded(blank("residual")))
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    plain = complete(
        Experiment(data=PlugSpec("ring"), controller=PlugSpec("learnable", {"policy": "mine.safetensors"}))
    )
    chain = {"of": ["rank", "learnable"], "settings": {"learnable": {"policy": "mine.safetensors"}}}
    chained = complete(Experiment(data=PlugSpec("ring"), controller=PlugSpec("chain", chain)))
    shipped = complete(Experiment(data=PlugSpec("ring"), controller=PlugSpec("learnable:residual")))
    monkeypatch.chdir(elsewhere)
    assert plain.controller is not None
    assert plain.controller.options["policy"] == str(file)
    assert chained.controller is not None
    assert chained.controller.options["settings"]["learnable"]["policy"] == str(file)
    assert shipped.controller is not None
    assert shipped.controller.options["policy"] == "residual"
    assert [complete(one) for one in (plain, chained, shipped)] == [plain, chained, shipped]
