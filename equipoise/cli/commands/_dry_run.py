"""What a run would do: the page of `train --dry-run`."""

import dataclasses
import math
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.output import print_result
from equipoise.core import catalog
from equipoise.errors import shell_path

if TYPE_CHECKING:
    from equipoise.core.data import DataSet
    from equipoise.experiment.estimates import RunEstimate
    from equipoise.experiment.settings import Experiment, PlugSpec

MAX_CLASSES = 12
"""Largest number of classes that are listed by name."""
MAX_OPTIONS = 100
"""Largest number of characters of an option; longer ones are omitted, and are part of the JSON result."""
INTERNAL_OPTIONS = ("cache", "digest", "assignment", "full_scale")
"""Options that the program fills in."""
FLAGS_OF_DRY_RUN = ("--dry-run", "--json", "--quiet", "--verbose")


def show_dry_run(
    experiment: "Experiment", folder: Path, notes: Sequence[str], words: Sequence[str], as_json: bool
) -> int:
    """Print what a run would do, how long it would take, and the command that starts it; nothing is written.

    `notes`: on the data. `words`: the words after `equipoise train`. Raises RunError if the run folder is not free.
    """
    from equipoise.experiment.assembly import select_device
    from equipoise.experiment.completion import SAMPLES_PER_RUN
    from equipoise.experiment.estimates import estimate
    from equipoise.experiment.settings import build_data
    from equipoise.experiment.suggested import suggestion_reason
    from equipoise.report.steps import estimate_seconds
    from equipoise.runs.folders import require_free

    require_free(folder)
    film = "--no-film" not in words
    cost = estimate(experiment, reserved=estimate_seconds(SAMPLES_PER_RUN, film=film))
    experiment = cost.experiment
    data = build_data(experiment).resolve()
    steps, device = experiment.steps or 0, select_device(experiment.device or "auto")
    report_seconds = estimate_seconds(steps // (experiment.sample_every or 1) + 1, film=film)
    command = shlex.join(["equipoise", "train", *(word for word in words if word not in FLAGS_OF_DRY_RUN)])
    result: dict[str, object] = {
        "experiment": experiment.to_json(),
        "out": str(folder),
        "seconds": cost.seconds,
        "report_seconds": report_seconds,
        "memory": cost.memory,
        "parameters": dict(cost.parameters),
        "data": {**_data_facts(data), "notes": list(notes)},
        "command": command,
    }
    sections = {
        "data": [*_data_lines(experiment, data, notes), *notes],
        "model": [*_model_lines(experiment, cost), *suggestion_reason(experiment, data, device)],
        "length": _length_lines(experiment, data),
        "control": _control_lines(experiment),
        "metric": _metric_lines(experiment),
        "cost": _cost_lines(experiment, cost, report_seconds),
        "run folder": [str(folder)],
    }
    print_result(as_json, result, _format_page(sections, command))
    return 0


def _data_facts(data: "DataSet") -> dict[str, object]:
    return {
        "shape": list(data.spec.shape),
        "train": data.count("train"),
        "held_out": data.count("held_out"),
        "classes": list(data.spec.class_names) or data.spec.classes,
    }


def _format_page(sections: Mapping[str, Sequence[str]], command: str) -> str:
    width = max(map(len, sections)) + 2
    room = max(shutil.get_terminal_size().columns - width, width) if sys.stdout.isatty() else None
    lines = []
    for title, texts in sections.items():
        rows = [row for text in texts for line in text.splitlines() for row in _wrap(line, room)]
        lines += [f"{title if not index else '':{width}}{row}" for index, row in enumerate(rows)]
    return "\n".join((*lines, "", "Nothing was started or written. Start the run with:", f"  {command}"))


def _wrap(line: str, width: int | None) -> list[str]:
    """Divide a line at spaces into rows of this width, those after the first indented; None: no division."""
    if width is None:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _data_lines(experiment: "Experiment", data: "DataSet", notes: Sequence[str]) -> list[str]:
    spec, counts = data.spec, {split: data.count(split) for split in ("train", "held_out")}
    train = "unlimited training samples" if counts["train"] is None else f"{counts['train']:,} training samples"
    held_out = "" if counts["held_out"] is None else f", {counts['held_out']:,} held out"
    lines = [_plug_text("data", experiment.data), f"{train}{held_out}; each {_shape_text(spec.shape, spec.vocabulary)}"]
    if spec.classes and not any(note.startswith(f"{spec.classes:,} class") for note in notes):
        names = f": {', '.join(spec.class_names)}" if 0 < len(spec.class_names) <= MAX_CLASSES else ""
        lines.append(f"{spec.classes:,} classes{names}")
    if spec.unit is not None:
        lines.append("the values are scaled to -1 to 1 for the model; samples are written in the unit of the data")
    return lines


def _shape_text(shape: Sequence[int], vocabulary: object) -> str:
    size = " × ".join(map(str, shape))
    if vocabulary is not None:
        return f"{size} tokens"
    kinds = {1: "numbers", 2: "channels × length", 3: "channels × height × width"}
    return f"{size} ({kinds.get(len(shape), 'numbers')})"


def _model_lines(experiment: "Experiment", cost: "RunEstimate") -> list[str]:
    networks = ", ".join(f"{name} {count:,} weights" for name, count in cost.parameters.items())
    start = [f"starts with the weights of {experiment.start_from}"] if experiment.start_from else []
    return [_plug_text("models", experiment.model), *([networks] if networks else []), *start]


def _length_lines(experiment: "Experiment", data: "DataSet") -> list[str]:
    steps, batch_size = experiment.steps or 0, experiment.step_images
    samples, count = steps * batch_size, data.count("train")
    passes = f", {_format_number(samples / count)} passes through the data" if count else ""
    limits = [
        f"at most {getattr(experiment, name):,g} {name}" for name in ("images", "seconds") if getattr(experiment, name)
    ]
    every = [f"samples every {_count_steps(experiment.sample_every)}", f"checkpoints every {experiment.save_every}"]
    return [
        "; ".join((f"{steps:,} steps of {batch_size} samples: {samples:,} samples{passes}", *limits)),
        ", ".join(every),
    ]


def _format_number(value: float) -> str:
    """Format a number with at least two digits, never with an exponent."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.001 else "under 0.001"


def _count_steps(number: int | None) -> str:
    return "step" if number == 1 else f"{number} steps"


def _control_lines(experiment: "Experiment") -> list[str]:
    repair = "unhealthy runs are repaired" if experiment.repair is not False else "without repair"
    knobs = [
        f"{name} = {value:g}" for name, value in (experiment.knobs or {}).items() if isinstance(value, int | float)
    ]
    return [
        f"{_plug_text('controllers', experiment.controller)}; {repair}",
        *([f"initial values: {', '.join(knobs)}"] if knobs else []),
    ]


def _metric_lines(experiment: "Experiment") -> list[str]:
    if experiment.training_metric is None:
        return ["none during training; afterwards: equipoise evaluate"]
    every = f"every {_count_steps(experiment.evaluate_every)}" if experiment.evaluate_every else "up to ten times"
    return [f"{_plug_text('metrics', experiment.training_metric)}, on held-out data, {every}"]


def _cost_lines(experiment: "Experiment", cost: "RunEstimate", report_seconds: float) -> list[str]:
    from equipoise.experiment.assembly import available_cores
    from equipoise.report.formatting import format_duration

    threads = (
        f", CPU threads: {min(experiment.threads or 1, available_cores())}"
        if experiment.device in ("cpu", "auto", None)
        else ""
    )
    duration = format_duration(cost.seconds) if math.isfinite(cost.seconds) else "unknown"
    return [
        f"about {duration} of training, then {format_duration(report_seconds)} for the report; "
        f"{cost.memory / 2**30:.1f} GiB of memory",
        f"device {experiment.device}, precision {experiment.precision}{threads}; seed {experiment.seed}",
    ]


def _plug_text(kind: catalog.PlugKind, plug: "PlugSpec | None") -> str:
    """Format a plug with those options that are short and differ from their defaults."""
    if plug is None:
        return "none"
    defaults = default_options(catalog.load(kind, plug.name))
    options = [
        f"{name}={value}"
        for name, value in plug.options.items()
        if name not in INTERNAL_OPTIONS and value != defaults.get(name) and _is_short(value)
    ]
    name = shell_path(Path(plug.name)) if catalog.is_file(plug.name) else plug.name
    return f"{name} ({', '.join(options)})" if options else name


def default_options(plug: type[object]) -> dict[str, object]:
    """Return the default of each option of a plug that has one, as JSON values where they are numbers or texts."""
    fields = dataclasses.fields(plug) if dataclasses.is_dataclass(plug) else ()
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def _is_short(value: object) -> bool:
    return value not in (None, "", [], {}, ()) and not isinstance(value, Mapping) and len(str(value)) <= MAX_OPTIONS
