"""Evaluate the samples of a run, or those in a folder or file, with metrics."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, parse_pairs
from equipoise.cli.commands._sampling import add_sampling_flags, sampling_of
from equipoise.cli.commands._trained_run import add_force_flag, step_of
from equipoise.cli.output import print_result
from equipoise.core import validation
from equipoise.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from equipoise.evaluation.evaluate import EvaluationResult, MetricRow

ORDER = 30
EXAMPLES = (
    "equipoise evaluate runs/digits-dcgan-1",
    "equipoise evaluate generated --against photographs",
    "equipoise evaluate runs/digits-dcgan-1 --metrics precision,recall --count 1000",
)
JSON_KEYS: dict[str, str] = {
    "metrics": "a list with a table per metric, with values by class",
    "protocol": "what was compared: samples, reals, seed, notes; seconds per 1,000 samples",
    "neighbours": "path of the sheet, with --neighbours",
}
SPLITS = ("held_out", "train", "valid", "test")
MAX_CLASSES = 20
"""Largest number of classes in the table."""
COLUMNS = ("metric", "value", "95 % interval", "real-vs-real", "samples", "reals", "features")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `evaluate`."""
    _add_inputs(parser)
    parser.add_argument(
        "--step",
        metavar="best|last|chosen|N",
        help="step of the run; default: its final weights, the best by its metric",
    )
    add_sampling_flags(parser)
    parser.add_argument(
        "--image-size",
        metavar="N",
        help="side in pixels, or width x height, at which images are compared, if not of a run",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed; the same seed gives the same result; default: 0"
    )
    parser.add_argument(
        "--option",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME.OPTION=VALUE",
        help="option of a metric, or of the data on both sides: fid.weights=PATH, data.fit=pad",
    )
    parser.add_argument(
        "--neighbours",
        metavar="OUT.png",
        help="write the samples most similar to training images, next to those images",
    )
    add_force_flag(parser)
    add_json_flag(parser)


def _add_inputs(parser: Parser) -> None:
    """Add the arguments that select samples, reals and metrics."""
    parser.add_argument(
        "samples",
        metavar="RUN|PATH",
        help="a run or one of its checkpoints, or samples: a folder, an archive, an array, a table or a text",
    )
    parser.add_argument(
        "--against",
        metavar="DATA|PATH",
        help="reals: a data set, or a folder or file, of which every item is used; default: the held-out data of the "
        "run",
    )
    parser.add_argument(
        "--metrics", metavar="NAME,…", help="metrics; default: those that suit the data; see equipoise list metrics"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="number of samples; default: 10,000 of a run, all of a folder"
    )
    parser.add_argument(
        "--split",
        default="held_out",
        metavar="NAME",
        help="split of the reals: held_out or train; of a folder with such subfolders train, valid or test; default: "
        "held_out, or all of a folder",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate samples and print a row per metric."""
    if args.split not in SPLITS:
        raise UnknownNameError("split", args.split, SPLITS)
    validation.check_seeds(seed=args.seed)
    from equipoise.evaluation.evaluate import compute_metrics
    from equipoise.evaluation.neighbours import write_neighbour_grid
    from equipoise.evaluation.samples import check_finite
    from equipoise.evaluation.selection import select_metrics
    from equipoise.evaluation.subject import EvaluationRequest, gather_data, open_request
    from equipoise.runs.artifacts import check_overwrite

    neighbours = Path(args.neighbours).expanduser() if args.neighbours else None
    if neighbours is not None:
        check_overwrite([neighbours], force=args.force, flag="--neighbours")
    context = open_request(
        EvaluationRequest(
            samples=Path(args.samples).expanduser(),
            against=args.against,
            metrics=tuple(filter(None, (args.metrics or "").split(","))),
            options=_options(args),
            count=args.count,
            split=args.split,
            seed=args.seed,
            step=step_of(args),
            sampling=sampling_of(args),
        )
    )
    metrics = select_metrics(context)
    data = gather_data(context)
    check_finite(data.sample_set.samples)
    evaluated = compute_metrics(metrics, data)
    result: dict[str, object] = {
        "metrics": [asdict(row) for row in evaluated.rows],
        "protocol": dict(evaluated.protocol),
    }
    text = _format_result(evaluated)
    if neighbours is not None:
        path = write_neighbour_grid(data, neighbours)
        result["neighbours"], text = str(path), f"{text}\nneighbours: {path}"
    print_result(args.json, result, text)
    return 0


def _options(args: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Return the options of metrics and data, by owner; --image-size is one of the data."""
    options = _parse_options(args.option)
    if args.image_size is not None:
        options["data"] = {**options.get("data", {}), "image_size": str(args.image_size)}
    return options


def _parse_options(words: list[str]) -> dict[str, dict[str, str]]:
    """Parse OWNER.OPTION=VALUE words: owner -> option -> value."""
    options: dict[str, dict[str, str]] = {}
    for name, value in parse_pairs(words, "--option").items():
        owner, dot, option = name.partition(".")
        if not dot:
            raise SettingError(f"--option needs the name of a metric or 'data' before the option: fid.{name}={value}")
        options.setdefault(owner, {})[option] = value
    return options


def _format_result(result: "EvaluationResult") -> str:
    """Format a table with a row per metric, one with a row per class, then the protocol, then warnings."""
    lines = [COLUMNS, *(_cells(row) for row in result.rows)]
    tables = (*_format_table(lines), "", *_format_classes(result))
    return "\n".join((*tables, *_format_protocol(result), *_format_warnings(result)))


def _format_table(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Align the cells of lines: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(_align(line, widths)).rstrip() for line in lines]


def _format_classes(result: "EvaluationResult") -> list[str]:
    """Format a table with a row per class and a column per metric that has values by class.

    Only MAX_CLASSES of many classes, those with the lowest value of the last of these metrics, lowest first.
    """
    rows = [row for row in result.rows if row.classes]
    if not rows:
        return []
    last, note = rows[-1], [""]
    numbers = list(range(len(last.classes)))
    if len(numbers) > MAX_CLASSES:
        values = {number: last.classes[number].value for number in numbers}
        lowest = sorted(numbers, key=lambda number: -1.0 if (value := values[number]) is None else value)
        note = [f"{MAX_CLASSES} of {len(numbers):,} classes, those with the lowest {last.metric}; all: --json", ""]
        numbers = lowest[:MAX_CLASSES]
    head = ("class", *(row.metric for row in rows), "samples", "reals")
    lines = [
        (
            last.classes[number].name,
            *(_format_value(row.classes[number].value) for row in rows),
            f"{last.classes[number].samples:,}",
            f"{last.classes[number].reals:,}",
        )
        for number in numbers
    ]
    return [*_format_table([head, *lines]), *note]


def _format_value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _format_warnings(result: "EvaluationResult") -> list[str]:
    """Format each reason and each warning once, after the metrics that it concerns."""
    metrics: dict[str, list[str]] = {}
    for row in result.rows:
        for warning in (*([row.reason] if row.reason else []), *row.warnings):
            metrics.setdefault(warning, []).append(row.metric)
    return [
        warning if warning.startswith(f"{names[0]} ") else f"{', '.join(names)}: {warning}"
        for warning, names in metrics.items()
    ]


def _align(line: tuple[str, ...], widths: list[int]) -> list[str]:
    """Pad cells: the name to the left, numbers to the right."""
    return [
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _cells(row: "MetricRow") -> tuple[str, ...]:
    name = f"{row.metric} {'↓' if row.better == 'lower' else '↑'}"
    interval = f"{row.interval[0]:.4g} to {row.interval[1]:.4g}" if row.interval else "–"
    floor = f"{row.floor.value:.4g}" if row.floor else "–"
    floor_count = f" ({row.floor.count:,})" if row.floor and row.floor.count != row.samples else ""
    counts = f"{row.samples:,}", f"{row.reals:,}"
    return (
        name,
        _format_value(row.value),
        interval,
        floor + floor_count,
        *counts,
        (row.features or "–")[:8],
    )


def _format_reals(reals: Mapping[str, object]) -> str:
    """Format the reals: their number, their split, and where they are from."""
    if reals["split"] == "all":
        return f"all {reals['count']:,} reals of {reals['path']}"
    return f"{reals['count']:,} {reals['split']} reals of {reals['path'] or reals['data']}"


def _format_protocol(result: "EvaluationResult") -> list[str]:
    reals, samples = result.protocol["reals"], result.protocol["samples"]
    source = f"{samples['run']}, step {samples['step']}," if "run" in samples else f"{samples['files']},"
    source += "".join(f" {name} {value}," for name, value in samples.get("sampling", {}).items())
    return [
        f"{samples['count']:,} samples of {source} seed {result.protocol['seed']}, against {_format_reals(reals)}",
        *([str(result.cost)] if result.cost else []),
        *result.protocol["notes"],
    ]
