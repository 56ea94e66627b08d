"""Judge the samples of a run, or a folder of images, by metrics."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, parse_pairs
from equipoise.cli.commands._answer import answer
from equipoise.core import validation as bounds
from equipoise.errors import SettingError, UnknownNameError

if TYPE_CHECKING:
    from equipoise.evaluation.evaluate import MetricRow

SPLITS = ("held_out", "train")


def add_arguments(made: Parser) -> None:
    """The arguments of `evaluate`."""
    made.add_argument("samples", metavar="RUN|FOLDER|FILE.npy", help="a run, a folder of images, or an array")
    made.add_argument("--against", metavar="DATA|FOLDER", help="the reals; left out: what the run was trained on")
    made.add_argument(
        "--metrics", metavar="NAME,…", help="left out: those that suit the data; see equipoise list metrics"
    )
    made.add_argument("--count", type=int, metavar="N", help="samples; left out: 10,000 of a run, all of a folder")
    made.add_argument("--split", default="held_out", metavar="held_out|train", help="which reals")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same figures")
    made.add_argument(
        "--option",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME.OPTION=VALUE",
        help="an option of a metric, or of the data: fid.weights=PATH, data.image_size=64",
    )
    made.add_argument(
        "--neighbours", metavar="OUT.png", help="a picture of the samples most like training reals, beside those"
    )
    add_json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Judge samples, and print a row a metric."""
    if args.split not in SPLITS:
        raise UnknownNameError("split", args.split, SPLITS)
    bounds.seeds(seed=args.seed)
    from equipoise.evaluation.evaluate import check_finite, compute_metrics, default_features, select_metrics
    from equipoise.evaluation.neighbours import write_neighbour_grid
    from equipoise.evaluation.subject import EvaluationRequest, gather_data, open_request

    context = open_request(
        EvaluationRequest(
            samples=Path(args.samples),
            against=args.against,
            metrics=tuple(filter(None, (args.metrics or "").split(","))),
            options=_options(args.option),
            count=args.count,
            split=args.split,
            seed=args.seed,
        )
    )
    metrics = select_metrics(context)
    data = gather_data(context)
    check_finite(data.sample_set.samples)
    result = compute_metrics(metrics, data)
    told, text = {"metrics": [asdict(row) for row in result.rows], "protocol": dict(result.protocol)}, _text(result)
    if args.neighbours:
        path = write_neighbour_grid(data, Path(args.neighbours), default_features(context.choice.name, context.data.spec))
        told["neighbours"], text = str(path), f"{text}\nneighbours: {path}"
    answer(args.json, told, text)
    return 0


def _options(words: list[str]) -> dict[str, dict[str, str]]:
    """Owner -> option -> value."""
    result: dict[str, dict[str, str]] = {}
    for name, value in parse_pairs(words, "--option").items():
        owner, dot, option = name.partition(".")
        if not dot:
            raise SettingError(f"--option takes the owner of an option, too: fid.{name}={value}")
        result.setdefault(owner, {})[option] = value
    return result


def _text(result: "Evaluation") -> str:
    """A line a metric, then what they share, then what to beware of."""
    head = ("metric", "value", "95 % interval", "reals get", "samples", "reals", "features")
    lines = [head, *(_cells(row) for row in result.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    aligned = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    return "\n".join((*aligned, "", *_shared(result), *_beware(result)))


def _beware(result: "Evaluation") -> list[str]:
    """Each warning once, behind the metrics that it is of."""
    owners: dict[str, list[str]] = {}
    for row in result.rows:
        for warning in row.warnings:
            owners.setdefault(warning, []).append(row.metric)
    return [f"{', '.join(names)}: {warning}" for warning, names in owners.items()]


def _aligned(line: tuple[str, ...], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _cells(row: "MetricRow") -> tuple[str, ...]:
    name = f"{row.metric} {'↓' if row.better == 'lower' else '↑'}"
    interval = f"{row.interval[0]:.4g} to {row.interval[1]:.4g}" if row.interval else "–"
    floor = f"{row.floor.value:.4g}" if row.floor else "–"
    fewer = f" ({row.floor.count:,})" if row.floor and row.floor.count != row.samples else ""
    counts = f"{row.samples:,}", f"{row.reals:,}"
    return name, f"{row.value:.4g}", interval, floor + fewer, *counts, (row.features or "–")[:8]


def _shared(result: "Evaluation") -> list[str]:
    reals, samples = result.protocol["reals"], result.protocol["samples"]
    source = f"{samples['run']}, step {samples['step']}," if "run" in samples else f"{samples['files']},"
    return [
        f"{samples['count']:,} samples of {source} seed {result.protocol['seed']}, "
        f"beside {reals['count']:,} {reals['split']} reals of {reals['data']}",
        *result.protocol["notes"],
    ]
