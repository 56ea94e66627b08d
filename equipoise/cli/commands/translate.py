"""Translate images with the generator of a run, each at its own size."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands._trained_run import RUN_HELP, add_force_flag, add_run_arguments, load_generator
from equipoise.cli.output import print_result
from equipoise.core.printing import format_count

ORDER = 50
EXAMPLES = ("equipoise translate runs/pairs-pix2pix-1 sketches --out translated",)
JSON_KEYS: dict[str, str] = {
    "count": "number of images",
    "path": "the output",
    "sheet": "path of the sheet of inputs and outputs, or null",
    "files": "paths of the written images, in the order of the inputs",
    "skipped": "path of each input that could not be read: reason",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `translate`."""
    add_run_arguments(parser, f"{RUN_HELP}; of a model that translates images")
    parser.add_argument(
        "inputs", metavar="INPUT", help="an image, a folder of images with its subfolders, an archive or an array"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER|FILE.png",
        help="output folder, FOLDER.png shows inputs and outputs; or a file for one image",
    )
    parser.add_argument(
        "--fit",
        metavar="native|resize|crop|pad|stretch",
        help="native: at the image's own size; resize: at the scale of training, then back to the image's size; crop, "
        "pad, stretch: as squares of the size of training, which the outputs remain; default: native if the generator "
        "takes any size, else resize",
    )
    parser.add_argument(
        "--back", action="store_true", help="translate from target to source, for models trained in both directions"
    )
    parser.add_argument(
        "--grey", action="store_true", help="convert colour images to grey for a generator of grey images"
    )
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Translate the images and write them."""
    from equipoise.cli.terminal import show_steps
    from equipoise.inference.translation import TranslationRequest, translate

    inputs, out = Path(args.inputs).expanduser(), Path(args.out).expanduser()
    generator = load_generator(args)
    request = TranslationRequest(Path(args.run), inputs, out, args.fit, args.back, args.grey, args.force)
    translated = show_steps(translate(generator, request), quiet=args.json)
    count, sheet = len(translated.files), translated.sheet
    result = {
        "count": count,
        "path": str(out),
        "sheet": None if sheet is None else str(sheet),
        "files": [str(path) for path in translated.files],
        "skipped": translated.skipped,
    }
    text = f"{format_count(count, 'image')}: {out}" + (f"\nsheet: {sheet}" if sheet else "")
    print_result(args.json, result, text)
    return 0
