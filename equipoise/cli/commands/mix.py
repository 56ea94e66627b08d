"""Mix styles of samples: a grid whose cells have some layers of the row's sample, and the others of the column's."""

import argparse
from pathlib import Path
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

if TYPE_CHECKING:
    from equipoise.inference.spaces import SampleReference

ORDER = 72
EXAMPLES = (
    "equipoise mix runs/digits-stylegan2-1 --out mixed.png",
    "equipoise mix runs/digits-stylegan2-1 --rows 3,17 --columns 5,8,mine.npz --layers 0-2 --psi 0.7 --out mixed.png",
)
JSON_KEYS: dict[str, str] = {
    "path": "the output",
    "rows, columns": "the samples",
    "layers": "first and last layer that have the styles of the rows, counted from 0",
    "layer_count": "number of layers with a style",
}
ROWS, COLUMNS = 4, 6


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `mix`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="output: grid.png, whose first column and row show the samples; or array.npy of the cells",
    )
    for name, layers, default in (("rows", "in --layers", ROWS), ("columns", "in the other layers", COLUMNS)):
        parser.add_argument(
            f"--{name}",
            metavar="NUMBERS",
            help=f"samples whose styles the {name} have {layers}: numbers such as 3,17, or 5/3 for sample 3 of seed 5, "
            f"or files of equipoise project; default: {default} samples",
        )
    parser.add_argument(
        "--layers",
        metavar="A-B",
        help="layers with the styles of the rows, counted from 0, both included; the first are coarse, the last fine; "
        "default: the first half",
    )
    add_label_flag(parser, "default: each class in turn")
    add_sampling_flags(parser, truncation=False, diffusion=False)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the numbered samples; default: 0")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Mix the styles and write the grid."""
    from equipoise.inference.latent_space import SampleId
    from equipoise.inference.spaces import SpaceW
    from equipoise.inference.style_space import mix_styles
    from equipoise.runs.artifacts import check_overwrite, encode_npy

    path = output_path(args.out, (".png", ".npy"))
    check_overwrite([path], force=args.force)
    ids = [SampleId(args.seed, number) for number in range(ROWS + COLUMNS)]
    rows = ids[:ROWS] if args.rows is None else parse_samples(args.rows, args.seed, "--rows")
    columns = ids[ROWS:] if args.columns is None else parse_samples(args.columns, args.seed, "--columns")
    check_psi_acts(args, [*rows, *columns])
    generator = load_generator(args)
    space = SpaceW(generator, sampling_of(args))
    count = generator.count_layers()
    layers = parse_layers(args.layers, generator) or range(max(1, count // 2))
    row_styles, column_styles = (space.select(samples, label_of(args)).latents for samples in (rows, columns))
    mixed = mix_styles(row_styles, column_styles, layers)
    cells = space.generate(mixed.flatten(0, 1), None).unflatten(0, mixed.shape[:2])
    if path.suffix.lower() == ".npy":
        content = encode_npy(cells.numpy())
    else:
        from equipoise.report.style_sheets import draw_mixed

        require_images(generator)
        sources = [space.generate(styles, None) for styles in (row_styles, column_styles)]
        captions = [list(map(_caption, samples)) for samples in (rows, columns)]
        content = draw_mixed(cells.numpy(), sources[0].numpy(), sources[1].numpy(), captions)
    write_file(path, content)
    result = {
        "path": str(path),
        "rows": list(map(str, rows)),
        "columns": list(map(str, columns)),
        "layers": [layers[0], layers[-1]],
        "layer_count": count,
    }
    size = f"{len(row_styles)} x {len(column_styles)} samples"
    text = f"{size}, layers {layers[0]}-{layers[-1]} of 0-{count - 1} from the rows: {path}"
    print_result(args.json, result, text)
    return 0


def _caption(sample: "SampleReference") -> str:
    return sample.name if isinstance(sample, Path) else str(sample)
