"""Write a run's networks for other programs."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer


def add_arguments(made: Parser) -> None:
    """The arguments of `export`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument(
        "--format",
        required=True,
        metavar="onnx|torch|safetensors",
        help="a graph for any runtime, state_dicts as .pth, or the same tensors without pickle",
    )
    made.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
    made.add_argument("--force", action="store_true", help="replace files of these names that are there")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Write a run's networks for other programs."""
    from equipoise.inference.export import CHECKED, export

    made = export(args.run, args.format, Path(args.out), force=args.force)
    files = [str(path) for path in made.files]
    same = (
        "makes the same samples, bit for bit" if made.difference == 0 else f"differs by {made.difference:.1e} at most"
    )
    told = {"files": files, "difference": made.difference, "latents": CHECKED}
    answer(args.json, told, f"{', '.join(files)}\nchecked on {CHECKED} latents: {files[0]} {same}")
    return 0
