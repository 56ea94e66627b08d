"""The command line that would run an experiment again."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from equipoise.report.run_history import to_mapping

COUNTS = ("steps", "images", "seconds", "batch_size", "seed", "precision", "device", "threads", "track")
SHORTHANDS = ("loss", "constraint")
"""Options of a GAN that have a flag of their own."""
RHYTHMS = ("sense_every", "sample_every", "evaluate_every", "save_every")
PATHS = ("folder", "file")
"""Where data of one's own lie: if it is the first option of a data set, it is typed in place of its name."""
UNSAID = ("", "auto", "off")
"""Values that are the same as no flag."""
LONG = 32
"""Entries of a list that nobody types, such as all words of a text: they are found in the data again."""


def rerun_command(experiment: Mapping[str, Any]) -> str:
    """`equipoise train` with everything of an experiment that can be said by flags, quoted for a shell, a line a theme.

    What cannot: tables among the options, such as the knobs of a GAN's own recipe, and lists as long as a vocabulary.
    Where they differ from what the names stand for, experiment.json alone tells.
    """
    (data, of_data), (model, of_gan), (controller, of_controller), (metric, of_metric) = (
        _plug(experiment, name) for name in ("data", "model", "controller", "metric")
    )
    schedules = {name: text for name, text in to_mapping(of_controller.get("schedules")).items() if "(" in str(text)}
    start = ["--from", str(experiment["start_from"])] if experiment.get("start_from") else []
    lines = [
        ["equipoise", "train", *_source(data, of_data), *_flag("image_size", of_data.get("image_size"))],
        _table("--option", _named("data.", of_data, but=("image_size", *_path(of_data)))),
        [*_flag("model", model), *_flag("controller", controller), *_flag("metric", metric)],
        [word for name in SHORTHANDS for word in _flag(name, of_gan.get(name))],
        _table("--option", _named("", of_gan, but=SHORTHANDS)),
        _table("--option", _named("controller.", of_controller) | _named("metric.", of_metric)),
        _table("--set", {**to_mapping(experiment.get("knobs")), **schedules}),
        ["--untouched", *experiment["untouched"]] if experiment.get("untouched") else [],
        [word for name in COUNTS for word in _flag(name, experiment.get(name))] + _switches(experiment) + start,
        [word for name in RHYTHMS for word in _flag(name, experiment.get(name))],
    ]
    return " \\\n  ".join(shlex.join(line) for line in lines if line)


def _plug(experiment: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    value = experiment.get(name)
    if isinstance(value, Mapping):
        return str(value.get("name", "")), to_mapping(value.get("options"))
    return ("" if value is None else str(value)), {}


def _path(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The option that says where data of one's own lie, none of others."""
    first = next(iter(options), "")
    return (first,) if first in PATHS and isinstance(options[first], str) else ()


def _source(name: str, options: Mapping[str, Any]) -> list[str]:
    """What to train on: a name, or a path and who reads it."""
    return [str(options[path]) for path in _path(options)] + ["--data", name] if _path(options) else [name or "DATA"]


def _switches(experiment: Mapping[str, Any]) -> list[str]:
    stop = ["--stop-at-equilibrium"] if experiment.get("stop_at_equilibrium") is True else []
    return stop + (["--no-repair"] if experiment.get("repair") is False else [])


def _flag(name: str, value: Any) -> list[str]:
    is_said = isinstance(value, str | int | float) and not isinstance(value, bool) and value not in UNSAID
    return [f"--{name.replace('_', '-')}", str(value)] if is_said else []


def _named(owner: str, options: Mapping[str, Any], but: tuple[str, ...] = ()) -> dict[str, Any]:
    return {f"{owner}{name}": value for name, value in options.items() if name not in but}


def _table(flag: str, values: Mapping[str, Any]) -> list[str]:
    words = list(_pairs(values))
    return [flag, *words] if words else []


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, str | int | float):
            yield f"{name}={_word(value)}"
        elif isinstance(value, list | tuple) and len(value) <= LONG and (value or name.startswith("data.")):
            words = [_word(one) for one in value]
            if all(word == word.strip() != "" and "," not in word for word in words):
                yield f"{name}={','.join(words)}"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
