"""Look at a data set before training: what it holds, what is wrong or unusual, and what to train."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, number_or_text, output_path, parse_pairs
from equipoise.cli.commands._inspection_page import format_image_page, format_sample_page, sheet_sections
from equipoise.cli.commands._trained_run import add_force_flag
from equipoise.cli.output import print_result
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError

if TYPE_CHECKING:
    from equipoise.core.inspection import Inspection
    from equipoise.evaluation.image_summary import ImageSummary
    from equipoise.experiment.settings import PlugSpec

ORDER = 15
EXAMPLES = (
    "equipoise inspect photographs",
    "equipoise inspect scans.zip --out sheet.png",
    "equipoise inspect measurements --no-estimate --json",
)
JSON_KEYS: dict[str, str] = {
    "data": "the data set that reads the files",
    "images, kinds, bytes, sizes, aspects, deep": (
        "number of images, of each extension, bytes, `[width, height, count]` of each size, smallest, median and "
        "largest width / height, number of images of more than 8 bits; of images only"
    ),
    "splits, classes": "number of images of each split and label; of other data the names of the classes",
    "copies, near_copies": "groups of images of equal pixels, and of nearly identical ones",
    "leaks": "images of one split that are (nearly) the same as one of another: `images`, `splits`, `exact`",
    "unusual": "images far from all others: `image`, and `ratio` to the distance of a usual one",
    "cropped, enlarged, shrunk, crop_loss, largest_crop_loss": (
        "numbers of images, and the average and largest share of an image that the centre crop removes"
    ),
    "damaged, left_out": "path of each file that cannot be decoded, or is not used: reason",
    "shape, train, held_out, measured, values, words": (
        "of data that are not images: shape of a sample, numbers of samples, `low`, `high`, `mean` and `deviation` of "
        "each `column` in its unit, of `measured` samples; number of words of text"
    ),
    "notes": "what was read, converted and scaled",
    "suggestion": "`model`, `image_size`, `batch_size`, `steps`, `metric`, `seconds`, `command`, or `problem`",
    "sheet": "path of the contact sheet, or null",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument("data", metavar="DATA", help="a folder, an archive, an array, a table, a text, or a data set")
    parser.add_argument("--data", dest="reader", metavar="NAME", help="data set that reads DATA, such as paired_folder")
    parser.add_argument(
        "--image-size",
        type=number_or_text,
        metavar="N",
        help="side of images in pixels, or width x height; default: as in training",
    )
    parser.add_argument(
        "--option",
        action="extend",
        nargs="+",
        default=[],
        metavar="data.OPTION=VALUE",
        help="option of the data set, as for train: data.fit=pad",
    )
    parser.add_argument("--out", metavar="FILE.png", help="write a contact sheet of the images")
    parser.add_argument(
        "--no-estimate", action="store_true", help="do not measure how long the suggested training would take"
    )
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Inspect the data and print a page."""
    from equipoise.core.inspection import InspectableData
    from equipoise.evaluation.image_summary import summarise_images
    from equipoise.evaluation.value_summary import summarise_samples
    from equipoise.experiment.completion import build_unresolved_data
    from equipoise.runs.artifacts import check_overwrite

    sheet = output_path(args.out, (".png",)).expanduser() if args.out is not None else None
    if sheet is not None:
        check_overwrite([sheet], force=args.force)
    plug = _plug_of(args)
    data = build_unresolved_data(plug)
    if isinstance(data, InspectableData):
        inspection = data.inspect()
        summary = summarise_images(inspection)
        suggestion = _suggest(plug, args)
        if sheet is not None:
            _write_sheet(sheet, args.data, inspection, summary)
        text = format_image_page(args.data, summary, inspection, suggestion, sheet)
        values = {**summary.to_json(), "notes": list(inspection.notes)}
    else:
        if sheet is not None:
            raise SettingError(f"--out draws images, and {args.data} holds none; omit it")
        notes = [preparation.note for preparation in data.prepare() if preparation.note]
        samples = summarise_samples(data.resolve())
        suggestion = _suggest(plug, args)
        text = format_sample_page(args.data, plug.name, samples, notes, suggestion)
        values = {**samples.to_json(), "notes": notes}
    result = {"data": plug.name, **values, "suggestion": suggestion, "sheet": str(sheet) if sheet else None}
    print_result(args.json, result, text)
    return 0


def _plug_of(args: argparse.Namespace) -> "PlugSpec":
    """Return the data set with the options of the command."""
    from equipoise.experiment.data_source import parse_data_source, read_path_with

    options = {}
    for name, value in parse_pairs(args.option, "--option").items():
        plug, dot, option = name.partition(".")
        if not dot or plug != "data":
            raise UnknownNameError("plug", plug, ("data",), f"for the option '{option or name}'")
        options[option] = value
    if args.reader:
        plug_spec = read_path_with(args.reader, args.data).with_options(image_size=args.image_size)
    else:
        plug_spec = parse_data_source(args.data, args.image_size)
    return plug_spec.with_options(**options)


def _suggest(plug: "PlugSpec", args: argparse.Namespace) -> dict[str, object]:
    """Return what training without further flags would do, and how long it would take; or why it would be refused."""
    import shlex

    from equipoise.experiment.completion import complete
    from equipoise.experiment.estimates import estimate
    from equipoise.experiment.settings import Experiment, build_data

    words = [args.data, *(["--data", args.reader] if args.reader else [])]
    words += ["--image-size", str(args.image_size)] if args.image_size else []
    words += ["--option", *args.option] if args.option else []
    try:
        experiment = complete(Experiment(data=plug))
        data = build_data(experiment)
        seconds = None if args.no_estimate else estimate(experiment).seconds
    except EquipoiseError as error:
        return {"problem": str(error)}
    metric = experiment.training_metric
    return {
        "model": experiment.model.name if experiment.model else None,
        "controller": experiment.controller.name if experiment.controller else None,
        "metric": metric.name if metric else None,
        "shape": list(data.spec.shape),
        "train": data.count("train"),
        "held_out": data.count("held_out"),
        "steps": experiment.steps,
        "batch_size": experiment.batch_size,
        "seconds": seconds,
        "command": shlex.join(["equipoise", "train", *words]),
    }


def _write_sheet(path: Path, name: str, inspection: "Inspection", summary: "ImageSummary") -> None:
    """Write the contact sheet."""
    from equipoise.cli.arguments import write_file
    from equipoise.report.contact_sheet import draw_contact_sheet
    from equipoise.runs.artifacts import encode_png

    sections = sheet_sections(inspection, summary)
    write_file(path, encode_png(draw_contact_sheet(f"{name}: {summary.images:,} images", sections)))
