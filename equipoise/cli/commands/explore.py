"""Explore directions of the styles: principal components of w, each as a strip of samples, and as vectors."""

import argparse
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, output_path, write_file
from equipoise.cli.commands._sampling import (
    add_sampling_flags,
    check_psi_acts,
    parse_layers,
    parse_samples,
    require_images,
    sampling_of,
)
from equipoise.cli.commands._trained_run import (
    add_force_flag,
    add_label_flag,
    add_run_arguments,
    label_of,
    load_generator,
)
from equipoise.cli.output import print_result
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.inference.spaces import SampleReference

ORDER = 76
EXAMPLES = (
    "equipoise explore runs/digits-stylegan2-1 --out directions.png",
    "equipoise explore runs/digits-stylegan2-1 --from 17 --layers 0-3 --components 4 --out directions.png "
    "--directions directions.csv",
)
JSON_KEYS: dict[str, str] = {
    "path": "the sheet",
    "directions": "the file of directions",
    "components, steps": "number of strips, and of samples per strip",
    "deviations, shares": "of each direction: standard deviation of w, and share of its variance",
}
COMPONENTS, STEPS, EXTENT = 8, 7, 2.0


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `explore`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out", required=True, metavar="SHEET", help="output: a strip of samples per direction, such as sheet.png"
    )
    parser.add_argument(
        "--directions",
        metavar="PATH",
        help="output: the directions, .npz, .safetensors or .csv; default: SHEET.npz",
    )
    parser.add_argument(
        "--components",
        type=int,
        default=COMPONENTS,
        metavar="N",
        help=f"number of directions, those of the largest variance; default: {COMPONENTS}",
    )
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"samples per strip; default: {STEPS}")
    parser.add_argument(
        "--extent",
        type=float,
        default=EXTENT,
        metavar="X",
        help=f"strips go from -X to X standard deviations; default: {EXTENT:g}",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="NUMBER",
        help="the sample in the middle of the strips: 17, or 5/3 for sample 3 of seed 5, or a file of equipoise "
        "project; default: the mean sample",
    )
    parser.add_argument(
        "--layers",
        metavar="A-B",
        help="layers whose styles change, counted from 0, both included; the first are coarse, the last fine; "
        "default: all",
    )
    add_label_flag(parser, "default: directions of all classes")
    add_sampling_flags(parser, truncation=False, diffusion=False)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the numbered sample; default: 0")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Find the directions; write the sheet and the vectors."""
    from equipoise.inference.spaces import SpaceW
    from equipoise.inference.style_files import DIRECTION_ENDINGS, encode_directions
    from equipoise.inference.style_space import find_directions, move_along, sample_styles
    from equipoise.report.style_sheets import draw_directions
    from equipoise.runs.artifacts import check_overwrite

    path = output_path(args.out, (".png",))
    table = output_path(args.directions or str(path.with_suffix(".npz")), DIRECTION_ENDINGS)
    check_overwrite([path, table], force=args.force)
    if not 0 < args.extent < 1e6:
        raise SettingError(f"extent = {args.extent:g}: it must be above 0; use a value such as 2")
    start = _parse_start(args)
    generator = load_generator(args)
    space = SpaceW(generator, sampling_of(args))
    generator.check_sampling(space.sampling)
    require_images(generator, "use a run with images")
    layers = parse_layers(args.layers, generator)
    directions = find_directions(sample_styles(generator, label_of(args)), args.components)
    if start is None:
        styles = directions.mean.expand(generator.count_layers(), -1)
    else:
        styles = space.select(start, label_of(args)).latents[0]
    moved = move_along(styles, directions, args.steps, args.extent, layers)
    samples = space.generate(moved.flatten(0, 1), None)
    write_file(table, encode_directions(directions, generator, table.suffix.lower()))
    write_file(path, draw_directions(samples.numpy(), args.components, args.steps, args.extent))
    result = {
        "path": str(path),
        "directions": str(table),
        "components": args.components,
        "steps": args.steps,
        "deviations": directions.deviations.tolist(),
        "shares": directions.shares.tolist(),
    }
    share = float(directions.shares.sum())
    text = f"{args.components} directions with {share:.0%} of the variance of w: {path}\nvectors: {table}"
    print_result(args.json, result, text)
    return 0


def _parse_start(args: argparse.Namespace) -> "list[SampleReference] | None":
    """Return the sample in the middle of the strips, or None for the mean sample. Raises SettingError."""
    if args.start is None:
        if args.psi is not None:
            raise SettingError("--psi has no effect on the mean sample; select another one with --from, or omit --psi")
        return None
    start = parse_samples(args.start, args.seed, "--from")
    if len(start) != 1:
        raise SettingError(f"--from takes one sample, not {len(start)}")
    check_psi_acts(args, start)
    return start
