"""Export the networks of a run for other programs."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands._sampling import add_sampling_flags, sampling_of
from equipoise.cli.commands._trained_run import add_force_flag, add_run_arguments, step_of
from equipoise.cli.output import print_result

ORDER = 80
EXAMPLES = (
    "equipoise export runs/digits-dcgan-1 --format onnx --out exported",
    "equipoise export runs/digits-stylegan2-1 --format onnx --psi 0.7 --out exported",
)
JSON_KEYS: dict[str, str] = {
    "files": "paths of the files",
    "difference": "largest difference between the samples of the exported and the original generator",
    "latents": "number of latents that were compared",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `export`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--format",
        required=True,
        metavar="onnx|torch|safetensors",
        help="onnx: graph for any runtime; torch: state_dicts in .pth files; safetensors: the same without pickle",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="output folder")
    add_sampling_flags(parser, truncation=False)
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Export the networks and print the files."""
    from equipoise.inference.export import export
    from equipoise.inference.graphs import CHECK_BATCH

    exported = export(
        args.run, args.format, Path(args.out), step=step_of(args), sampling=sampling_of(args), force=args.force
    )
    files = [str(path) for path in exported.files]
    is_equal = exported.difference == 0
    difference = "generates bit-exact samples" if is_equal else f"differs by at most {exported.difference:.1e}"
    result = {"files": files, "difference": exported.difference, "latents": CHECK_BATCH}
    print_result(args.json, result, f"{', '.join(files)}\nchecked with {CHECK_BATCH} latents: {files[0]} {difference}")
    return 0
