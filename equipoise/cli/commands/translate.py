"""Translate a folder of images by a run's generator."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `translate`."""
    made.add_argument("run", metavar="RUN", help="the run folder, of a GAN that makes images of images")
    made.add_argument("folder", metavar="FOLDER", help="the images, with all that lies below")
    made.add_argument("--out", required=True, metavar="FOLDER", help="where the translated go; FOLDER.png shows both")
    made.add_argument("--back", action="store_true", help="from samples to inputs, where the GAN has learnt that too")
    made.add_argument("--grey", action="store_true", help="take colour images as grey, where the generator takes those")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Translate a folder of images."""
    from equipoise.cli.terminal import show_preparation
    from equipoise.inference.generator import load_generator
    from equipoise.inference.translation import InputFolder, sheet_path, translate

    folder, out = Path(args.folder), Path(args.out)
    sheet = sheet_path(folder, out)
    generator = load_generator(args.run)
    reading = InputFolder(Path(args.run), folder, args.back, args.grey)
    show_preparation(reading.preparations(generator), quiet=args.json)
    done = translate(generator, reading.inputs(generator), out, sheet, back=args.back)
    count = len(done.files)
    told = {"count": count, "path": str(out), "sheet": str(done.sheet)}
    answer(args.json, told, f"{count} image{'s' * (count != 1)} in {out}\nsheet: {done.sheet}")
    return 0
