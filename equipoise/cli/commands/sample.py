"""Generate samples with the generator of a run."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands._sampling import add_sampling_flags, sampling_of
from equipoise.cli.commands._trained_run import (
    ALL_CLASSES,
    add_force_flag,
    add_label_flag,
    add_run_arguments,
    label_of,
    load_generator,
)
from equipoise.cli.output import print_result
from equipoise.core.printing import format_count

ORDER = 40
EXAMPLES = (
    "equipoise sample runs/digits-dcgan-1 --count 64 --out grid.png",
    "equipoise sample runs/digits-dcgan-1 --count 1000 --out samples --label 7",
    "equipoise sample runs/digits-stylegan2-1 --psi 0.7 --out typical.png",
)
JSON_KEYS: dict[str, str] = {
    "count": "number of samples",
    "path": "the file or folder",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `sample`."""
    add_run_arguments(parser)
    parser.add_argument("--count", type=int, default=64, metavar="N", help="number of samples; default: 64")
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="output: grid.png, sentences.txt, array.npy, points.csv, or a folder for single images; "
        "with --count 1, one picture as one file",
    )
    parser.add_argument(
        "--format",
        choices=("csv", "png", "npy", "txt", "wav"),
        help="file format; csv with a folder: one table per image, in the unit of the data; default: by --out",
    )
    add_sampling_flags(parser)
    add_label_flag(parser, "in a folder, one subfolder per class; default: each class in turn, without subfolders")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed; the same seed gives the same samples; default: 0"
    )
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Generate samples and write them."""
    from equipoise.inference.sample_files import write_samples
    from equipoise.runs.artifacts import check_overwrite

    out = Path(args.out)
    check_overwrite([out] if out.suffix else [], force=args.force)
    generator = load_generator(args)
    samples = generator.sample(args.count, label=label_of(args), seed=args.seed, sampling=sampling_of(args))
    subfolders = generator.class_folders(args.count) if args.label == ALL_CLASSES else []
    path = write_samples(samples, out, generator.spec, args.format, subfolders=subfolders, force=args.force)
    print_result(
        args.json,
        {"count": len(samples), "path": str(path)},
        f"{format_count(len(samples), 'sample')}: {path}",
    )
    return 0
