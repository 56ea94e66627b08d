"""Add and subtract latents of selected samples: A − B + C."""

import argparse
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, output_path, parse_sample_ids, write_file
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
    from torch import Tensor

    from equipoise.inference.generator import Generator
    from equipoise.inference.latent_space import SelectedLatents

ORDER = 70
EXAMPLES = (
    "equipoise arithmetic runs/digits-dcgan-1 --show sheet.png",
    "equipoise arithmetic runs/digits-dcgan-1 --plus 3,17 --minus 5 --out result.png",
)
JSON_KEYS: dict[str, str] = {
    "show": "path of the sheet, with --show",
    "path, formula, length, usual_length": (
        "with --out: the file, the formula, the length of its latent, and the mean length of random latents"
    ),
}
SIGNS = {"--plus": ("+", "added"), "--minus": ("−", "subtracted")}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHEET_SAMPLES = 64
SHEET_COLUMNS = 8


@dataclass(frozen=True)
class ArithmeticResult:
    """Path and formula of the result, the length of its latent, and the mean length of random latents."""

    path: str
    formula: str
    length: float
    usual_length: float


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `arithmetic`."""
    add_run_arguments(parser)
    for flag, (sign, action) in SIGNS.items():
        parser.add_argument(
            flag,
            dest="groups",
            action="append",
            type=functools.partial(_with_sign, sign),
            metavar="NUMBERS",
            help=f"numbers of samples whose mean latent is {action}, such as 3,17,22; can be repeated",
        )
    parser.add_argument(
        "--out", metavar="PATH", help="output file with the result and 8 neighbours: result.png or result.npy"
    )
    parser.add_argument(
        "--show", metavar="PATH", help=f"write a sheet of {SHEET_SAMPLES} samples with their numbers, such as sheet.png"
    )
    add_label_flag(parser, "default: all for the selected samples, and the class of the first one for the result")
    parser.add_argument(
        "--truncation", type=float, metavar="T", help="limit latents to [-T, T]: better but less diverse samples"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the numbered samples; default: 0")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Write the sheet of numbered samples, the result, or both."""
    from equipoise.runs.artifacts import check_overwrite

    if bool(args.groups) != bool(args.out):
        raise SettingError(
            "--plus and --minus need --out, and --out needs samples: --plus 3,17,22 --minus 5,9 --out result.png"
        )
    if not args.out and not args.show:
        raise SettingError(
            "no samples are selected; show them with --show sheet.png, then use: --plus 3,17,22 --minus 5,9 --out a.png"
        )
    if args.groups and len(args.groups) > len(LETTERS):
        raise SettingError(f"there are {len(args.groups)} groups; at most {len(LETTERS)} are supported")
    check_overwrite([Path(path) for path in (args.show, args.out) if path], force=args.force)
    generator = load_generator(args)
    result: dict[str, object] = {}
    texts = []
    if args.show:
        path = _write_sheet(args, generator)
        result["show"] = str(path)
        texts.append(f"{SHEET_SAMPLES} samples with their numbers: {path}")
    if args.out:
        combined = _write_combination(args, generator)
        result |= vars(combined)
        texts.append(
            f"{combined.formula}: {combined.path}; length of the latent {combined.length:.2f}, "
            f"mean length of random latents {combined.usual_length:.2f}"
        )
    print_result(args.json, result, "\n".join(texts))
    return 0


def _with_sign(sign: str, text: str) -> tuple[str, str]:
    """Return the sign with the argument. Both flags append to one list, so that their order is preserved."""
    return sign, text


def _write_sheet(args: argparse.Namespace, generator: "Generator") -> Path:
    from equipoise.inference.latent_space import SampleId, select_latents
    from equipoise.report.image_grids import captioned_grid
    from equipoise.runs.artifacts import encode_png

    path = output_path(args.show, (".png",))
    _require_images(generator)
    sample_ids = [SampleId(args.seed, number) for number in range(SHEET_SAMPLES)]
    selected = select_latents(generator, sample_ids, label=label_of(args), truncation=args.truncation)
    samples = generator.generate(selected.latents, selected.labels)
    captions = [str(number) for number in range(SHEET_SAMPLES)]
    write_file(path, encode_png(captioned_grid(samples.numpy(), captions, SHEET_COLUMNS)))
    return path


def _write_combination(args: argparse.Namespace, generator: "Generator") -> ArithmeticResult:
    """Write the sample of the combined latent and its neighbours, as an array or as a picture of the formula."""
    import torch

    from equipoise.inference.latent_space import combine_latents, neighbouring_latents, select_latents
    from equipoise.runs.artifacts import encode_npy

    path = output_path(args.out, (".png", ".npy"))
    if path.suffix.lower() == ".png":
        _require_images(generator)
    flags = {sign: flag for flag, (sign, _) in SIGNS.items()}
    groups = [
        select_latents(
            generator, parse_sample_ids(text, args.seed, flags[sign]), label=label_of(args), truncation=args.truncation
        )
        for sign, text in args.groups
    ]
    signed = [(sign, group.latents) for (sign, _), group in zip(args.groups, groups, strict=True)]
    latent = combine_latents([g for sign, g in signed if sign == "+"], [g for sign, g in signed if sign == "−"])
    neighbours = neighbouring_latents(latent, 8, torch.Generator().manual_seed(args.seed))
    square = torch.cat([neighbours[:4], latent[None], neighbours[4:]])
    label = None if groups[0].labels is None else int(groups[0].labels[0])
    samples = generator.generate(square, generator.labels(9, label))
    if path.suffix.lower() == ".npy":
        write_file(path, encode_npy(samples.numpy()))
    else:
        _write_picture(args, generator, groups, samples, label, path)
    usual = generator.latents(SHEET_SAMPLES, truncation=args.truncation, seed=args.seed).flatten(1).norm(dim=1).mean()
    formula = format_formula([sign for sign, _ in args.groups])
    return ArithmeticResult(str(path), formula, float(latent.norm()), float(usual))


def format_formula(signs: list[str]) -> str:
    """Format the signs of groups as a formula: A − B + C."""
    terms = [f"{sign} {letter}" for sign, letter in zip(signs, LETTERS, strict=False)]
    return " ".join(terms).removeprefix("+ ")


def _write_picture(
    args: argparse.Namespace,
    generator: "Generator",
    selected: "list[SelectedLatents]",
    samples: "Tensor",
    label: int | None,
    path: Path,
) -> None:
    from equipoise.report.image_grids import ImageGroup, arithmetic_sheet
    from equipoise.runs.artifacts import encode_png

    groups = []
    for letter, (sign, text), group in zip(LETTERS, args.groups, selected, strict=False):
        mean = generator.generate(group.latents.mean(0, keepdim=True), generator.labels(1, label))
        captions = [word.strip() for word in text.split(",")]
        images = generator.generate(group.latents, group.labels)
        groups.append(ImageGroup(f"{sign} {letter}", images.numpy(), captions, mean[0].numpy()))
    title = f"= {format_formula([sign for sign, _ in args.groups])}"
    write_file(path, encode_png(arithmetic_sheet(groups, title, samples.numpy())))


def _require_images(generator: "Generator") -> None:
    if not generator.spec.is_image:
        kinds = {"sentences": generator.spec.vocabulary is not None, "sequences": generator.spec.is_sequence}
        noun = next((name for name, is_kind in kinds.items() if is_kind), "points")
        raise SettingError(f"{noun} cannot be drawn by this command; use --out with a file name ending in .npy")
