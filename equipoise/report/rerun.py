"""The command line that would run an experiment again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from equipoise.report.history import table

COUNTS = ("steps", "images", "seconds", "batch_size", "seed", "precision", "device", "threads")
SHORTHANDS = ("loss", "constraint")
"""Options of a GAN that have a flag of their own."""
RHYTHMS = ("sample_every", "evaluate_every", "save_every")


def command(experiment: Mapping[str, Any]) -> str:
    """`equipoise train` with everything of an experiment that has a flag, quoted for a shell, a line a theme.

    Options of the data set, the controller and the metric have none, but for image_size and schedules; neither has
    the table of knobs in the options of a GAN. Whatever differs from its default there is in experiment.json only.
    """
    gan, data = _plug(experiment, "gan"), _plug(experiment, "data")
    schedules = table(_plug(experiment, "controller")[1].get("schedules"))
    plugs = [_flag(name, _plug(experiment, name)[0]) for name in ("gan", "controller", "metric")]
    stop = ["--stop-at-equilibrium"] if experiment.get("stop_at_equilibrium") is True else []
    start = ["--from", str(experiment["start_from"])] if experiment.get("start_from") else []
    lines = [
        ["equipoise", "train", data[0] or "DATA", *_flag("image_size", data[1].get("image_size"))],
        [word for words in plugs for word in words],
        [word for name in SHORTHANDS for word in _flag(name, gan[1].get(name))],
        _table("--option", {name: value for name, value in gan[1].items() if name not in SHORTHANDS}),
        _table("--set", {**table(experiment.get("knobs")), **schedules}),
        [word for name in COUNTS for word in _flag(name, experiment.get(name))] + stop + start,
        [word for name in RHYTHMS for word in _flag(name, experiment.get(name))],
    ]
    return " \\\n  ".join(shlex.join(line) for line in lines if line)


def _plug(experiment: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    value = experiment.get(name)
    if isinstance(value, Mapping):
        return str(value.get("name", "")), table(value.get("options"))
    return ("" if value is None else str(value)), {}


def _flag(name: str, value: Any) -> list[str]:
    is_said = isinstance(value, str | int | float) and not isinstance(value, bool) and value not in ("", "auto")
    return [f"--{name.replace('_', '-')}", str(value)] if is_said else []


def _table(flag: str, values: Mapping[str, Any]) -> list[str]:
    words = list(_pairs(values))
    return [flag, *words] if words else []


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, str | int | float):
            yield f"{name}={str(value).lower() if isinstance(value, bool) else value}"
