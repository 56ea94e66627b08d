"""Write samples of a run's generator."""

import argparse
from pathlib import Path

from equipoise.arguments import Parser, json_flag
from equipoise.commands._answer import answer


def fill(made: Parser) -> None:
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


def act(asked: argparse.Namespace) -> int:
    """Write samples of a run's generator."""
    from equipoise.generator import load
    from equipoise.sampling import write

    generator = load(asked.run)
    made = generator.sample(asked.count, label=asked.label, truncation=asked.truncation, seed=asked.seed)
    path = write(made, Path(asked.out), generator.spec, asked.format)
    answer(asked.json, {"count": len(made), "path": str(path)}, f"{len(made)} samples in {path}")
    return 0
