"""Translate a folder of images with the generator of a run."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result

ORDER = 50


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `translate`."""
    parser.add_argument("run", metavar="RUN", help="run folder of a model that translates images")
    parser.add_argument("folder", metavar="FOLDER", help="input images, including subfolders")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="output folder; FOLDER.png shows inputs and outputs"
    )
    parser.add_argument(
        "--back", action="store_true", help="translate from target to source, for models trained in both directions"
    )
    parser.add_argument(
        "--grey", action="store_true", help="convert colour images to grey for a generator of grey images"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Translate the images and write them."""
    from equipoise.cli.terminal import show_preparation
    from equipoise.inference.generator import load
    from equipoise.inference.translation import InputFolder, sheet_path, translate

    folder, out = Path(args.folder), Path(args.out)
    sheet = sheet_path(folder, out)
    generator = load(args.run)
    inputs = InputFolder(Path(args.run), folder, args.back, args.grey)
    show_preparation(inputs.preparations(generator), quiet=args.json)
    translated = translate(generator, inputs.inputs(generator), out, sheet, back=args.back)
    count = len(translated.files)
    result = {"count": count, "path": str(out), "sheet": str(translated.sheet)}
    print_result(args.json, result, f"{count} image{'s' * (count != 1)}: {out}\nsheet: {translated.sheet}")
    return 0
