"""The JSON schema of experiment files: complete, and committed."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.experiment.completion import complete
from equipoise.experiment.schema import experiment_schema
from equipoise.experiment.settings import Experiment, PlugSpec, setting_specs

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    schema = experiment_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_committed_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0
    committed = (EXPERIMENTS / "experiment.schema.json").read_text()
    assert committed == capsys.readouterr().out, "run: equipoise schema > experiments/experiment.schema.json"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_committed_experiments_are_valid(validator: jsonschema.Draft7Validator, path: Path) -> None:
    assert [error.message for error in validator.iter_errors(tomllib.loads(path.read_text()))] == []


@pytest.mark.parametrize("data", ["digits", "ring", "sentences"])
def test_completed_experiments_are_valid(validator: jsonschema.Draft7Validator, data: str) -> None:
    values = complete(Experiment(data=PlugSpec(data), freeze=("lr_d",), knobs={"lr_g": 1e-3})).to_json()
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(values)))] == []


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"seconds": 0},
        {"stpes": 3},
        {"model": "dcgn"},
        {"model": "dcgan:lab23"},
        {"model": {"width": 3}},
        {"model": {"name": "dcgan", "widht": 3}},
        {"model": {"name": "dcgan", "loss": "hing"}},
        {"knobs": {"lr_g": 5}},
        {"knobs": {"lr": 1e-3}},
        {"precision": "fp8"},
        {"track": "mlflow"},
        {"freeze": ["lr"]},
    ],
)
def test_invalid_values_are_detected(validator: jsonschema.Draft7Validator, values: dict[str, Any]) -> None:
    assert not validator.is_valid(values)


@pytest.mark.parametrize(
    "values",
    [
        {"model": "mylab.my_model"},
        {"model": "./my_model.py:large"},
        {"model": {"name": "mylab.my_model", "anything": 3}},
        {"model": {"name": "dcgan:lab32", "width": 8}},
        {"data": "photographs"},
        {"metric": "kd_digits"},
        {"knobs": {"r1_gamma": 0}},
        {"seed": 0},
    ],
)
def test_valid_values_are_accepted(validator: jsonschema.Draft7Validator, values: dict[str, Any]) -> None:
    assert [error.message for error in validator.iter_errors(values)] == []


def test_every_setting_is_declared_once_and_described(validator: jsonschema.Draft7Validator) -> None:
    properties = validator.schema["properties"]
    assert list(properties) == [field.name for field in dataclasses.fields(Experiment)]
    assert all(properties[name]["description"].startswith(spec.help) for name, spec in setting_specs().items())
    flags = {flag for action in cli.parser("train")._actions for flag in action.option_strings}
    assert {flag for spec in setting_specs().values() for flag in spec.flags} <= flags


def test_every_plug_has_a_definition(validator: jsonschema.Draft7Validator) -> None:
    names = {f"{kind}.{name}" for kind in ("models", "data", "controllers", "metrics") for name in catalog.names(kind)}
    assert names <= validator.schema["definitions"].keys()
