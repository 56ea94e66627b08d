"""Add and subtract what samples have in common: A − B + C."""

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer
from equipoise.cli.commands._picks import picks, place, put
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from equipoise.inference.generator import Generator
    from equipoise.inference.latent_space import SelectedLatents

FLAGS = {"--plus": ("+", "added"), "--minus": ("−", "subtracted")}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHOWN = 64
COLUMNS = 8


def add_arguments(made: Parser) -> None:
    """The arguments of `arithmetic`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    for flag, (sign, done) in FLAGS.items():
        made.add_argument(
            flag,
            dest="groups",
            action="append",
            type=functools.partial(_signed, sign),
            metavar="NUMBERS",
            help=f"samples whose mean is {done}: 3,17,22; may be given again",
        )
    made.add_argument("--out", metavar="PATH", help="picture.png, or the result and 8 neighbours as numbers.npy")
    made.add_argument("--show", metavar="PATH", help=f"where to draw {SHOWN} samples with their numbers: sheet.png")
    made.add_argument("--label", type=int, metavar="K", help="class of all; left out: that of the first sample named")
    made.add_argument("--truncation", type=float, metavar="T", help="latents within [-T, T]: truer, less diverse")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="whose samples are numbered")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Add and subtract what samples have in common."""
    from equipoise.inference.generator import load_generator

    if bool(args.groups) != bool(args.out):
        raise SettingError("name samples, --plus 3,17,22 --minus 5,9, and a picture to draw, --out result.png")
    if not args.out and not args.show:
        raise SettingError("see what there is with --show sheet.png, then: --plus 3,17,22 --minus 5,9 --out result.png")
    if args.groups and len(args.groups) > len(LETTERS):
        raise SettingError(f"there are {len(args.groups)} groups; at most {len(LETTERS)} can be told apart by letters")
    generator = load_generator(args.run)
    told: dict[str, Any] = {}
    texts = []
    if args.show:
        told["show"] = str(_show(args, generator))
        texts.append(f"{SHOWN} samples with their numbers in {told['show']}")
    if args.out:
        told |= _combine(args, generator)
        text = f"{told['formula']} in {told['path']}; its latent has length {told['length']:.2f}, others"
        texts.append(f"{text} {told['usual_length']:.2f} on average")
    answer(args.json, told, "\n".join(texts))
    return 0


def _signed(sign: str, text: str) -> tuple[str, str]:
    """What both flags put into one list, so that the order is kept in which they were given."""
    return sign, text


def _show(args: argparse.Namespace, generator: "Generator") -> Path:
    """The sheet to choose from."""
    from equipoise.inference.latent_space import SampleId, select_latents
    from equipoise.report import image_grids
    from equipoise.runs import run_folder as runs

    path = place(args.show, (".png",))
    _drawable(generator)
    every = [SampleId(args.seed, number) for number in range(SHOWN)]
    made = _make(generator, select_latents(generator, every, label=args.label, truncation=args.truncation))
    sheet = image_grids.captioned_grid(made.numpy(), [str(number) for number in range(SHOWN)], COLUMNS)
    put(path, runs.png(sheet))
    return path


def _combine(args: argparse.Namespace, generator: "Generator") -> dict[str, Any]:
    """The result, its neighbours, and the picture of how it came about."""
    import torch

    from equipoise.inference.latent_space import combine_latents, neighbouring_latents, select_latents
    from equipoise.runs import run_folder as runs

    path = place(args.out, (".png", ".npy"))
    if path.suffix.lower() == ".png":
        _drawable(generator)
    flags = {sign: flag for flag, (sign, _) in FLAGS.items()}
    picked = [
        select_latents(generator, picks(text, args.seed, flags[sign]), label=args.label, truncation=args.truncation)
        for sign, text in args.groups
    ]
    signed = [(sign, group.latents) for (sign, _), group in zip(args.groups, picked, strict=True)]
    latent = combine_latents([g for sign, g in signed if sign == "+"], [g for sign, g in signed if sign == "−"])
    around = neighbouring_latents(latent, 8, torch.Generator().manual_seed(args.seed))
    square = torch.cat([around[:4], latent[None], around[4:]])
    label = None if picked[0].labels is None else int(picked[0].labels[0])
    made = generator.make(square, generator.labels(9, label))
    if path.suffix.lower() == ".npy":
        put(path, runs.npy(made.numpy()))
    else:
        _draw(args, generator, picked, made, label, path)
    usual = generator.latents(SHOWN, truncation=args.truncation, seed=args.seed).flatten(1).norm(dim=1).mean()
    return {
        "path": str(path),
        "formula": formula([sign for sign, _ in args.groups]),
        "length": float(latent.norm()),
        "usual_length": float(usual),
    }


def formula(signs: list[str]) -> str:
    """A − B + C: the first letter bare if it is added."""
    words = [f"{sign} {letter}" for sign, letter in zip(signs, LETTERS, strict=False)]
    return " ".join(words).removeprefix("+ ")


def _draw(
    args: argparse.Namespace,
    generator: "Generator",
    picked: "list[SelectedLatents]",
    made: "Tensor",
    label: int | None,
    path: Path,
) -> None:
    from equipoise.report.image_grids import ImageGroup, arithmetic_sheet
    from equipoise.runs import run_folder as runs

    groups = []
    for letter, (sign, text), group in zip(LETTERS, args.groups, picked, strict=False):
        mean = generator.make(group.latents.mean(0, keepdim=True), generator.labels(1, label))
        captions = [word.strip() for word in text.split(",")]
        groups.append(ImageGroup(f"{sign} {letter}", _make(generator, group).numpy(), captions, mean[0].numpy()))
    title = f"= {formula([sign for sign, _ in args.groups])}"
    put(path, runs.png(arithmetic_sheet(groups, title, made.numpy())))


def _make(generator: "Generator", picked: "SelectedLatents") -> "Tensor":
    return generator.make(picked.latents, picked.labels)


def _drawable(generator: "Generator") -> None:
    if not generator.spec.is_image:
        kind = "points" if generator.spec.vocabulary is None else "sentences"
        raise SettingError(f"{kind} have no picture here; name a file ending in .npy with --out")
