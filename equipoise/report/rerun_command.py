"""The command line that runs an experiment again."""

import shlex
from collections.abc import Iterator, Mapping

from equipoise.report.run_history import JsonObject, to_mapping

LIMIT_FLAGS = ("steps", "images", "seconds", "batch_size", "seed", "precision", "device", "threads", "track")
MODEL_FLAGS = ("loss", "constraint")
"""Options of a model that have their own flag."""
INTERVAL_FLAGS = ("sense_every", "sample_every", "evaluate_every", "save_every")
PATH_OPTIONS = ("folder", "file")
"""Options with the path of the user's data. If it is the first option of a data set, it replaces the name as DATA."""
DEFAULTS = ("", "auto", "off")
"""Values that have the same effect as no flag."""
MAX_LIST_LENGTH = 32
"""Longer lists, such as a vocabulary, are omitted: they are read from the data again."""


def rerun_command(experiment: JsonObject) -> str:
    """Compose the `equipoise train` command for an experiment, quoted for a shell, one line per group of flags.

    Not included, because they have no flag: tables among the options, such as the knobs of a custom model, and long
    lists such as a vocabulary. Where they differ from the defaults, use experiment.json.
    """
    (data, data_options), (model, model_options), (controller, controller_options), (metric, metric_options) = (
        _name_and_options(experiment, name) for name in ("data", "model", "controller", "metric")
    )
    schedules = {
        name: text for name, text in to_mapping(controller_options.get("schedules")).items() if "(" in str(text)
    }
    start_from = ["--from", str(experiment["start_from"])] if experiment.get("start_from") else []
    frozen = experiment.get("freeze") or experiment.get("untouched")
    lines = [
        ["equipoise", "train", *_source(data, data_options), *_flag("image_size", data_options.get("image_size"))],
        _pair_flag("--option", _prefixed("data.", data_options, omit=("image_size", *_path_option(data_options)))),
        [*_flag("model", model), *_flag("controller", controller), *_flag("metric", metric)],
        [word for name in MODEL_FLAGS for word in _flag(name, model_options.get(name))],
        _pair_flag("--option", _prefixed("", model_options, omit=MODEL_FLAGS)),
        _pair_flag("--option", _prefixed("controller.", controller_options) | _prefixed("metric.", metric_options)),
        _pair_flag("--set", {**to_mapping(experiment.get("knobs")), **schedules}),
        ["--freeze", *frozen] if frozen else [],
        [word for name in LIMIT_FLAGS for word in _flag(name, experiment.get(name))]
        + _switches(experiment)
        + start_from,
        [word for name in INTERVAL_FLAGS for word in _flag(name, experiment.get(name))],
    ]
    return " \\\n  ".join(shlex.join(line) for line in lines if line)


def _name_and_options(experiment: JsonObject, key: str) -> tuple[str, JsonObject]:
    value = experiment.get(key)
    if isinstance(value, Mapping):
        return str(value.get("name", "")), to_mapping(value.get("options"))
    return ("" if value is None else str(value)), {}


def _path_option(options: JsonObject) -> tuple[str, ...]:
    """Return the name of the option with the path of the user's data; empty for other data sets."""
    first = next(iter(options), "")
    return (first,) if first in PATH_OPTIONS and isinstance(options[first], str) else ()


def _source(name: str, options: JsonObject) -> list[str]:
    """Return the words for the data: a name, or a path and the data set that reads it."""
    path = [str(options[option]) for option in _path_option(options)]
    return [*path, "--data", name] if path else [name or "DATA"]


def _switches(experiment: JsonObject) -> list[str]:
    stop = ["--stop-at-equilibrium"] if experiment.get("stop_at_equilibrium") is True else []
    return stop + (["--no-repair"] if experiment.get("repair") is False else [])


def _flag(name: str, value: object) -> list[str]:
    is_set = isinstance(value, str | int | float) and not isinstance(value, bool) and value not in DEFAULTS
    return [f"--{name.replace('_', '-')}", str(value)] if is_set else []


def _prefixed(prefix: str, options: JsonObject, omit: tuple[str, ...] = ()) -> dict[str, object]:
    return {f"{prefix}{name}": value for name, value in options.items() if name not in omit}


def _pair_flag(flag: str, values: Mapping[str, object]) -> list[str]:
    pairs = list(_pairs(values))
    return [flag, *pairs] if pairs else []


def _pairs(values: Mapping[str, object]) -> Iterator[str]:
    """Format options as NAME=VALUE, lists with commas; values that cannot be written that way are omitted."""
    for name, value in values.items():
        if isinstance(value, str | int | float):
            yield f"{name}={_format_value(value)}"
        elif isinstance(value, list | tuple) and len(value) <= MAX_LIST_LENGTH and (value or name.startswith("data.")):
            words = [_format_value(item) for item in value]
            if all(word == word.strip() != "" and "," not in word for word in words):
                yield f"{name}={','.join(words)}"


def _format_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
