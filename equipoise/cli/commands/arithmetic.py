"""Add and subtract latents of selected samples: A − B + C."""

import argparse
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, output_path, write_file
from equipoise.cli.commands._sampling import (
    add_sampling_flags,
    add_space_flag,
    check_psi_acts,
    parse_samples,
    require_images,
    space_of,
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
    from torch import Tensor

    from equipoise.inference.generator import Generator
    from equipoise.inference.latent_space import SelectedLatents
    from equipoise.inference.spaces import Space

ORDER = 70
EXAMPLES = (
    "equipoise arithmetic runs/digits-dcgan-1 --show sheet.png",
    "equipoise arithmetic runs/digits-dcgan-1 --plus 3,17 --minus 5 --out result.png",
)
JSON_KEYS: dict[str, str] = {
    "show": "path of the sheet, with --show",
    "path, formula, space, length, usual_length": (
        "with --out: the file, the formula, z or w, the length of its latent, and the mean length of random latents; "
        "in w the distances from the mean style"
    ),
}
SIGNS = {"--plus": ("+", "added"), "--minus": ("−", "subtracted")}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHEET_SAMPLES = 64
SHEET_COLUMNS = 8


@dataclass(frozen=True)
class ArithmeticResult:
    """Path, formula and space of the result, the length of its latent, and the mean length of random latents."""

    path: str
    formula: str
    space: str
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
            help=f"samples whose mean latent is {action}: numbers such as 3,17,22, or files of equipoise project; "
            "can be repeated",
        )
    parser.add_argument(
        "--out", metavar="PATH", help="output file with the result and 8 neighbours: result.png or result.npy"
    )
    parser.add_argument(
        "--show", metavar="PATH", help=f"write a sheet of {SHEET_SAMPLES} samples with their numbers, such as sheet.png"
    )
    add_label_flag(parser, "default: all for the selected samples, and the class of the first one for the result")
    add_space_flag(parser)
    add_sampling_flags(parser)
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
    space = space_of(args, generator)
    result: dict[str, object] = {}
    texts = []
    if args.show:
        path = _write_sheet(args, generator, space)
        result["show"] = str(path)
        texts.append(f"{SHEET_SAMPLES} samples with their numbers: {path}")
    if args.out:
        combined = _write_combination(args, generator, space)
        result |= vars(combined)
        own, usual = (
            ("distance from the mean style", "mean distance of random styles")
            if space.name == "w"
            else ("length of the latent", "mean length of random latents")
        )
        texts.append(
            f"{combined.formula}: {combined.path}; {own} {combined.length:.2f}, {usual} {combined.usual_length:.2f}"
        )
    print_result(args.json, result, "\n".join(texts))
    return 0


def _with_sign(sign: str, text: str) -> tuple[str, str]:
    """Return the sign with the argument. Both flags append to one list, so that their order is preserved."""
    return sign, text


def _write_sheet(args: argparse.Namespace, generator: "Generator", space: "Space") -> Path:
    from equipoise.inference.latent_space import SampleId
    from equipoise.report.image_grids import captioned_grid
    from equipoise.runs.artifacts import encode_png

    path = output_path(args.show, (".png",))
    require_images(generator)
    sample_ids = [SampleId(args.seed, number) for number in range(SHEET_SAMPLES)]
    selected = space.select(sample_ids, label_of(args))
    samples = space.generate(selected.latents, selected.labels)
    captions = [str(number) for number in range(SHEET_SAMPLES)]
    write_file(path, encode_png(captioned_grid(samples.numpy(), captions, SHEET_COLUMNS)))
    return path


def _write_combination(args: argparse.Namespace, generator: "Generator", space: "Space") -> ArithmeticResult:
    """Write the sample of the combined latent and its neighbours, as an array or as a picture of the formula."""
    import torch

    from equipoise.inference.latent_space import SampleId
    from equipoise.runs.artifacts import encode_npy

    path = output_path(args.out, (".png", ".npy"))
    if path.suffix.lower() == ".png":
        require_images(generator)
    flags = {sign: flag for flag, (sign, _) in SIGNS.items()}
    selected = [parse_samples(text, args.seed, flags[sign]) for sign, text in args.groups]
    if not args.show:
        check_psi_acts(args, itertools.chain(*selected))
    groups = [space.select(samples, label_of(args)) for samples in selected]
    signed = [(sign, group.latents) for (sign, _), group in zip(args.groups, groups, strict=True)]
    latent = space.combine([g for sign, g in signed if sign == "+"], [g for sign, g in signed if sign == "−"])
    neighbours = space.neighbours(latent, 8, torch.Generator().manual_seed(args.seed))
    square = torch.cat([neighbours[:4], latent[None], neighbours[4:]])
    label = None if groups[0].labels is None else int(groups[0].labels[0])
    samples = space.generate(square, _labels(generator, 9, label))
    if path.suffix.lower() == ".npy":
        write_file(path, encode_npy(samples.numpy()))
    else:
        _write_picture(args, generator, space, groups, samples, path)
    usual = space.select([SampleId(args.seed, number) for number in range(SHEET_SAMPLES)], label_of(args)).latents
    lengths = space.lengths(torch.cat([latent[None], usual]))
    formula = format_formula([sign for sign, _ in args.groups])
    return ArithmeticResult(str(path), formula, space.name, float(lengths[0]), float(lengths[1:].mean()))


def _labels(generator: "Generator", count: int, label: int | None) -> "Tensor | None":
    """Return the labels of `count` samples of one class; None if there are no labels, or styles have them."""
    return None if label is None else generator.labels(count, label)


def format_formula(signs: list[str]) -> str:
    """Format the signs of groups as a formula: A − B + C."""
    terms = [f"{sign} {letter}" for sign, letter in zip(signs, LETTERS, strict=False)]
    return " ".join(terms).removeprefix("+ ")


def _write_picture(
    args: argparse.Namespace,
    generator: "Generator",
    space: "Space",
    selected: "list[SelectedLatents]",
    samples: "Tensor",
    path: Path,
) -> None:
    from equipoise.report.image_grids import ImageGroup, arithmetic_sheet
    from equipoise.runs.artifacts import encode_png

    label = None if selected[0].labels is None else int(selected[0].labels[0])
    groups = []
    for letter, (sign, text), group in zip(LETTERS, args.groups, selected, strict=False):
        mean = space.generate(group.latents.mean(0, keepdim=True), _labels(generator, 1, label))
        captions = [word.strip() for word in text.split(",")]
        images = space.generate(group.latents, group.labels)
        groups.append(ImageGroup(f"{sign} {letter}", images.numpy(), captions, mean[0].numpy()))
    title = f"= {format_formula([sign for sign, _ in args.groups])}"
    write_file(path, encode_png(arithmetic_sheet(groups, title, samples.numpy())))
