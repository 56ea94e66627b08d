"""Reading experiments from TOML files, JSON files and run folders."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from equipoise.core import catalog
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.settings import Experiment
from equipoise.runs.migration import describe_newer_format, migrate_experiment
from equipoise.runs.run import EXPERIMENT_FILE, Run


def parse_experiment(values: Mapping[str, object], source: str) -> Experiment:
    """Build an experiment from TOML or JSON values; keys of earlier formats are migrated.

    Raises UnknownNameError or SettingError, naming `source` and the key.
    """
    if problem := describe_newer_format(values, source):
        raise SettingError(problem)
    values = migrate_experiment(values)
    names = {field.name for field in dataclasses.fields(Experiment)}
    for name in values:
        if name not in names:
            raise UnknownNameError("setting", name, names, f"in {source}")
    experiment: Experiment = catalog.construct(Experiment, values, source, source=source)
    return experiment


def load_experiment(path: Path) -> Experiment:
    """Load an experiment from a TOML file, or from the experiment.json of a run.

    Raises SettingError if the file cannot be read, UnknownNameError for an unknown key.
    """
    is_json = path.suffix.lower() == ".json"
    try:
        text = path.read_text()
        values = json.loads(text) if is_json else tomllib.loads(text)
    except FileNotFoundError as error:
        raise SettingError(f"there is no file {path}; check the path") from error
    except IsADirectoryError as error:
        run = path / EXPERIMENT_FILE
        raise SettingError(f"{path} is a folder; give a file{f', such as {run}' if run.is_file() else ''}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SettingError(f"{path} cannot be read as {'JSON' if is_json else 'TOML'}: {error}") from error
    if not isinstance(values, dict):
        raise SettingError(f"{path} is not a table of settings; give a TOML file, or the experiment.json of a run")
    experiment = parse_experiment(values, str(path))
    for kind, spec in experiment.plugs().items():
        if spec.options and catalog.split_preset(spec.name)[0] in catalog.names(kind):
            catalog.build(kind, spec.name, spec.options, source=str(path))
    return experiment


def load_run_experiment(folder: Path) -> Experiment:
    """Load the experiment of a run folder. Raises RunError if the folder is not a run."""
    return parse_experiment(Run(folder).experiment(), str(folder / EXPERIMENT_FILE))
