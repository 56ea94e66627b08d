"""Summary of a run in one sentence, and the command that runs it again."""

import shlex
from collections.abc import Iterator, Mapping

from equipoise.core.printing import printable
from equipoise.report.formatting import format_count, format_duration, format_number, one_line
from equipoise.report.run_history import JsonObject, MetricHistory, RunHistory, to_mapping, to_number

ENDINGS: Mapping[str, str] = {
    "steps": "it completed all steps and ended {verdict}",
    "images": "it stopped at its limit of images and ended {verdict}",
    "seconds": "it stopped at its time limit and ended {verdict}",
    "equilibrium": "it stopped at equilibrium, {verdict}: the discriminator could no longer tell real from fake",
    "interrupted": "it was interrupted while {verdict} and can be resumed",
    "diverged": "it was stopped because it diverged",
}
"""Reason for the end of a run -> text; {verdict} is replaced by the verdict."""
UNKNOWN_ENDINGS: Mapping[str, str] = {
    "steps": "it completed all steps; whether it is healthy is unknown",
    "images": "it stopped at its limit of images; whether it is healthy is unknown",
    "seconds": "it stopped at its time limit; whether it is healthy is unknown",
    "equilibrium": "it stopped at equilibrium: the discriminator could no longer tell real from fake; whether it is "
    "healthy is unknown",
    "interrupted": "it was interrupted and can be resumed; whether it is healthy is unknown",
}
"""The same for the verdict `unknown`."""
UNFINISHED = "it has not finished: it is still running or was terminated"


def plug_name(experiment: Mapping[str, object], key: str) -> str | None:
    """Return the name of an experiment's data, model or controller, stored as a string or as a table with a name."""
    value = experiment.get(key)
    name = to_mapping(value).get("name", to_mapping(value).get(key)) if isinstance(value, Mapping) else value
    return one_line(name) if isinstance(name, str) and name.strip() else None


def format_length(history: RunHistory) -> str:
    """Format the steps done, with the total if the run is not complete: 300 of 1,000 steps."""
    total = to_number(history.started.get("steps"), 0)
    done = format_count(history.step)
    return f"{done} of {format_count(total)} steps" if total > history.step else f"{done} steps"


def run_state(history: RunHistory) -> str:
    """Return the verdict of a finished run, "health unknown" without one; "unfinished" for any other run."""
    finished = history.finished
    if not finished:
        return "unfinished"
    verdict = one_line(finished.get("verdict", "finished"))
    return "health unknown" if verdict == "unknown" else verdict


def summarise_run(history: RunHistory) -> str:
    """Describe model, data, controller, duration, ending and best metric value of a run in one sentence."""
    model, data, controller = (plug_name(history.experiment, key) for key in ("model", "data", "controller"))
    subject = f"The model {model}" if model else "A model"
    on_data = f" on {data}" if data else ""
    with_controller = f" with the {controller} controller" if controller else ""
    amount = f"{format_count(history.images)} {history.sample_noun}, {format_duration(history.seconds)}"
    trained = f"{subject} was trained{on_data}{with_controller} for {format_length(history)} ({amount})"
    held = dict.fromkeys(one_line(period.knob) for period in history.hold_periods())
    manual = f" under manual control of {', '.join(held)}" if held else ""
    best = next((text for text in map(format_best, history.metrics()) if text), None)
    return f"{trained}{manual}; {_ending(history)}" + (f"; {best}." if best else ".")


def format_best(metric: MetricHistory) -> str | None:
    """Format the best value of a metric; None if no value is finite."""
    if metric.best_index is None:
        return None
    value, step = metric.values[metric.best_index], metric.steps[metric.best_index]
    return f"its best {one_line(metric.name)} was {format_number(value)}, after step {format_count(step)}"


def _ending(history: RunHistory) -> str:
    finished = history.finished
    if finished is None:
        return UNFINISHED
    reason = str(finished.get("reason", ""))
    if finished.get("verdict") == "unknown" and reason in UNKNOWN_ENDINGS:
        return UNKNOWN_ENDINGS[reason]
    ending = ENDINGS.get(reason, f"it ended {{verdict}} ({one_line(reason)})")
    return ending.replace("{verdict}", run_state(history))


LIMIT_FLAGS = ("steps", "images", "seconds", "batch_size", "seed", "precision", "device", "threads", "track")
SINGLE = ("accumulate",)
"""Settings of which 1 has the same effect as no flag."""
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
    start_from += ["--manual", str(experiment["manual"])] if experiment.get("manual") else []
    frozen = experiment.get("freeze") or experiment.get("untouched")
    lines = [
        ["equipoise", "train", *_source(data, data_options), *_flag("image_size", data_options.get("image_size"))],
        _pair_flag("--option", _prefixed("data.", data_options, omit=("image_size", *_path_option(data_options)))),
        [*_flag("model", model), *_flag("controller", controller), *_flag("metric", metric)],
        [word for name in MODEL_FLAGS for word in _flag(name, model_options.get(name))],
        _pair_flag("--option", _prefixed("", model_options, omit=MODEL_FLAGS)),
        _pair_flag("--option", _prefixed("controller.", controller_options) | _prefixed("metric.", metric_options)),
        _pair_flag("--set", {**to_mapping(experiment.get("knobs")), **schedules}),
        ["--freeze", *map(str, frozen)] if isinstance(frozen, list) and frozen else [],
        [word for name in LIMIT_FLAGS for word in _flag(name, experiment.get(name))]
        + [word for name in SINGLE if experiment.get(name) != 1 for word in _flag(name, experiment.get(name))]
        + _switches(experiment)
        + start_from,
        [word for name in INTERVAL_FLAGS for word in _flag(name, experiment.get(name))],
    ]
    return " \\\n  ".join(" ".join(map(quote_word, line)) for line in lines if line)


def quote_word(word: str) -> str:
    """Quote a word for a shell; words with control characters or bytes that are not UTF-8 as bash writes them."""
    if printable(word) == word:
        return shlex.quote(word)
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(quoted)}'"


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
    names = ("stop_at_equilibrium", "compile")
    switches = [f"--{name.replace('_', '-')}" for name in names if experiment.get(name) is True]
    return switches + (["--no-repair"] if experiment.get("repair") is False else [])


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
