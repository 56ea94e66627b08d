"""The command line of an experiment whose settings were chosen on a page: only those that are set."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from equipoise.experiment.settings import Experiment, PlugSpec, setting_specs

PATHS = ("folder", "file")
"""Options with the location of the user's data."""
OWNERS = {"model": "", "data": "data.", "controller": "controller.", "metric": "metric."}
"""Setting with a plug -> what precedes its options on the command line."""


def train_command(experiment: Experiment, out: Path | None = None) -> str:
    """Return the `equipoise train` command of an experiment, quoted for a shell. `out`: the folder of the run.

    Options that are tables or long lists have no flag, and are left out: a duplicate of a run keeps those of its model.
    """
    words = ["equipoise", "train", *_data_words(experiment.data)]
    options = list(_option_pairs(experiment))
    for name, spec in setting_specs().items():
        value = getattr(experiment, name)
        if value is None or value in ({}, ()) or not spec.flags or name == "options":
            continue
        flag = spec.flags[0]
        if isinstance(value, PlugSpec):
            words += [flag, value.name]
        elif isinstance(value, bool):
            words += [flag] if value is not flag.startswith("--no-") else []
        elif isinstance(value, Mapping):
            words += [flag, *(f"{key}={item}" for key, item in value.items())]
        elif isinstance(value, tuple):
            words += [flag, *value]
        else:
            words += [flag, str(value)]
    words += ["--out", str(out)] if out is not None else []
    return shlex.join([*words, *(["--option", *options] if options else [])])


def _data_words(data: PlugSpec | None) -> list[str]:
    if data is None:
        return []
    path = next((str(data.options[name]) for name in PATHS if isinstance(data.options.get(name), str)), None)
    return [data.name] if path is None else [path, "--data", data.name]


def _option_pairs(experiment: Experiment) -> Iterator[str]:
    """Yield NAME=VALUE for the options of all plugs that a command line can hold."""
    yield from _pairs(experiment.options or {}, "")
    for name, owner in OWNERS.items():
        plug: PlugSpec | None = getattr(experiment, name)
        if plug is not None:
            yield from _pairs({key: item for key, item in plug.options.items() if key not in PATHS}, owner)


def _pairs(options: Mapping[str, object], owner: str) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, bool):
            yield f"{owner}{name}={str(value).lower()}"
        elif isinstance(value, str | int | float):
            yield f"{owner}{name}={value}"
