"""A process next to the studio that answers one question about a run before it is started, and ends: it imports torch.

    python -m equipoise.studio.start_process catalog
    python -m equipoise.studio.start_process preview [--trust-code] < settings.json

An answer is a line of JSON on standard output; a preview has two of them. The process may be killed at any time. Its
priority is that of a run, because it measures how long one takes.
"""

import base64
import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from equipoise.core import catalog
from equipoise.errors import EquipoiseError

if TYPE_CHECKING:
    from equipoise.core.data import DataSet

TRUST_FLAG = "--trust-code"
THUMBNAILS = 24
"""Largest number of training images that are shown."""
THUMBNAIL_SIDE = 128
"""Larger images are reduced to this width and height in pixels."""
MAX_SKIPPED = 200
"""Largest number of files that are listed as left out."""
KINDS: Mapping[str, catalog.PlugKind] = {
    "models": "models",
    "data": "data",
    "controllers": "controllers",
    "metrics": "metrics",
}
MAX_HELP = 120
"""Largest number of characters of the help of a preset."""


def describe_plugs() -> dict[str, object]:
    """Return name, help and presets of all plugs of all kinds. A plug that cannot be imported is left out."""
    return {key: [plug for name in catalog.names(kind) if (plug := _plug(kind, name))] for key, kind in KINDS.items()}


def _plug(kind: catalog.PlugKind, name: str) -> dict[str, object] | None:
    try:
        presets = catalog.presets(kind, name)
        help = catalog.summary(kind, name)
    except EquipoiseError:
        return None
    return {
        "name": name,
        "help": help,
        "presets": [{"name": preset, "help": _options_text(options)} for preset, options in sorted(presets.items())],
    }


def _options_text(options: Mapping[str, object]) -> str:
    text = ", ".join(f"{name} = {value}" for name, value in options.items())
    return text if len(text) <= MAX_HELP else f"{text[: MAX_HELP - 1]}…"


def preview(values: Mapping[str, object], *, trust_code: bool = False) -> Iterator[dict[str, object]]:
    """Yield what a run with these settings would do: first the data and samples of them, then also what it costs.

    The cost, time, memory and numbers of weights, is measured: a few steps are trained in memory. Raises EquipoiseError
    for settings that a run would refuse.
    """
    from equipoise.core.printing import printable
    from equipoise.experiment.completion import SAMPLES_PER_RUN, complete, prepare_data
    from equipoise.experiment.estimates import estimate
    from equipoise.experiment.files import parse_experiment
    from equipoise.experiment.settings import build_data
    from equipoise.report.steps import estimate_seconds
    from equipoise.studio.launch import check_own_code

    experiment = parse_experiment(values, "the form")
    if not trust_code:
        check_own_code(experiment)
    notes = [printable(step.note) for step in prepare_data(experiment) if step.note]
    experiment = complete(experiment)
    facts = {**_describe_data(build_data(experiment).resolve()), "notes": list(dict.fromkeys(notes))}
    yield facts
    cost = estimate(experiment, reserved=estimate_seconds(SAMPLES_PER_RUN, film=True))
    samples = (cost.experiment.steps or 0) // (cost.experiment.sample_every or 1) + 1
    yield {
        **facts,
        "experiment": cost.experiment.to_json(),
        "seconds": cost.seconds,
        "report_seconds": estimate_seconds(samples, film=True),
        "memory": cost.memory,
        "parameters": dict(cost.parameters),
    }


def _describe_data(data: "DataSet") -> dict[str, object]:
    from equipoise.core.printing import printable
    from equipoise.experiment.data_record import skipped_files

    spec, skipped = data.spec, skipped_files(data)
    return {
        "shape": list(spec.shape),
        "train": data.count("train"),
        "held_out": data.count("held_out"),
        "classes": [printable(name) for name in spec.class_names] or spec.classes,
        "skipped": [f"{printable(path)}: {printable(why)}" for path, why in sorted(skipped.items())[:MAX_SKIPPED]],
        "skipped_count": len(skipped),
        "thumbnails": _thumbnails(data),
    }


def _thumbnails(data: "DataSet") -> list[str]:
    """Return training images as PNG in data URLs; none for other data."""
    from equipoise.runs.artifacts import encode_png, make_grid

    if not data.spec.is_image:
        return []
    count = min(THUMBNAILS, data.count("train") or THUMBNAILS)
    images = data.stream("train", count, 0).batch(0).real.numpy()
    result = []
    for image in images:
        picture = make_grid(image[None], 1)
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        result.append(f"data:image/png;base64,{base64.b64encode(encode_png(picture)).decode('ascii')}")
    return result


def main(words: Sequence[str]) -> None:
    """Answer the question that the words of the command line name."""
    output, sys.stdout = sys.stdout, sys.stderr  # nothing but answers is printed there
    try:
        for answer in _answers(words):
            print(json.dumps(answer), file=output, flush=True)
    except EquipoiseError as error:
        print(json.dumps({"error": " ".join(str(error).split())}), file=output, flush=True)


def _answers(words: Sequence[str]) -> Iterator[dict[str, object]]:
    if words[:1] == ["catalog"]:
        yield describe_plugs()
        return
    importlib.import_module("equipoise.experiment.estimates")  # imports torch, while nobody waits
    if text := sys.stdin.read():  # otherwise the studio has ended
        yield from preview(json.loads(text), trust_code=TRUST_FLAG in words)


if __name__ == "__main__":
    main(sys.argv[1:])
