"""Write samples of a run's generator."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `sample`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--count", type=int, default=64, metavar="N", help="how many samples")
    made.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="grid.png, sentences.txt, numbers.npy, points.csv, or a folder of single images",
    )
    made.add_argument(
        "--format",
        choices=("csv", "png", "npy", "txt"),
        help="csv into a folder: a table an image, in the data's own unit; left out: by the ending of --out",
    )
    made.add_argument("--truncation", type=float, metavar="T", help="latents within [-T, T]: truer, less diverse")
    made.add_argument("--label", type=int, metavar="K", help="the class of all samples; left out: each in turn")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same samples")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Write samples of a run's generator."""
    from equipoise.inference.generator import load_generator
    from equipoise.inference.sample_files import write_samples

    generator = load_generator(args.run)
    made = generator.sample(args.count, label=args.label, truncation=args.truncation, seed=args.seed)
    path = write_samples(made, Path(args.out), generator.spec, args.format)
    answer(args.json, {"count": len(made), "path": str(path)}, f"{len(made)} samples in {path}")
    return 0
