"""Generate samples with the generator of a run."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result

ORDER = 40


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `sample`."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--count", type=int, default=64, metavar="N", help="number of samples; default: 64")
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="output: grid.png, sentences.txt, array.npy, points.csv, or a folder for single images",
    )
    parser.add_argument(
        "--format",
        choices=("csv", "png", "npy", "txt"),
        help="file format; csv with a folder: one table per image, in the unit of the data; default: by --out",
    )
    parser.add_argument(
        "--truncation", type=float, metavar="T", help="limit latents to [-T, T]: better but less diverse samples"
    )
    parser.add_argument("--label", type=int, metavar="K", help="class of all samples; default: each class in turn")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed; the same seed gives the same samples; default: 0"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Generate samples and write them."""
    from equipoise.inference.generator import load
    from equipoise.inference.sample_files import write_samples

    generator = load(args.run)
    samples = generator.sample(args.count, label=args.label, truncation=args.truncation, seed=args.seed)
    path = write_samples(samples, Path(args.out), generator.spec, args.format)
    print_result(args.json, {"count": len(samples), "path": str(path)}, f"{len(samples)} samples: {path}")
    return 0
