"""Shared arguments of commands that sample: how to sample, the space of latents, and samples by number or by file."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, parse_sample_ids
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from equipoise.core.sampling import Sampling
    from equipoise.inference.generator import Generator
    from equipoise.inference.spaces import SampleReference, Space

SPACE_HELP = (
    "space of the latents: w: styles, a linear space with less entangled features; default for a model that has "
    "styles; z: Gaussian latents, whose length a mapping network normalises, so that only the direction of a sum counts"
)


def add_sampling_flags(
    parser: Parser, *, truncation: bool = True, psi: bool = True, diffusion: bool = True, steps: str = "--steps"
) -> None:
    """Add the flags of sampling. One without effect in the model is an error later.

    `diffusion`: those of diffusion models, too; `steps`: the flag of their number of evaluations.
    """
    if truncation:
        parser.add_argument(
            "--truncation", type=float, metavar="T", help="limit latents to [-T, T]: better but less diverse samples"
        )
    if psi:
        parser.add_argument(
            "--psi",
            type=float,
            metavar="P",
            help="move styles to their mean: 0 is the mean sample, 1 changes nothing, -1 mirrors; 0.7: better but less "
            "diverse samples; for models with styles, such as stylegan2",
        )
        parser.add_argument(
            "--cutoff", type=int, metavar="N", help="number of first layers that --psi acts on; default: all"
        )
    parser.add_argument(
        "--noise", metavar="fixed|none", help="noise of the layers of a model with styles; default: fixed"
    )
    if diffusion:
        _add_diffusion_flags(parser, steps)


def _add_diffusion_flags(parser: Parser, steps: str) -> None:
    """Add the flags of samplers of diffusion models."""
    parser.add_argument(
        steps,
        dest="sampling_steps",
        type=int,
        metavar="N",
        help="evaluations of the network per sample of a diffusion model; default: the value in the model's options",
    )
    parser.add_argument(
        "--sampler", metavar="NAME", help="sampler of a diffusion model: heun, dpm_2m, ddim or ancestral"
    )
    parser.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="classifier-free guidance of a diffusion model with labels: 1 changes nothing; 2: more typical samples of "
        "their class, but less diverse",
    )


def add_space_flag(parser: Parser) -> None:
    """Add the flag --space."""
    parser.add_argument("--space", metavar="z|w", help=SPACE_HELP)


def sampling_of(args: argparse.Namespace) -> "Sampling":
    """Return how to sample. Raises SettingError for a value out of range."""
    from equipoise.core.sampling import Sampling

    names = ("truncation", "psi", "cutoff", "noise", "guidance", "sampler")
    values = {name: getattr(args, name, None) for name in names}
    return Sampling(**values, steps=getattr(args, "sampling_steps", None))


def space_of(args: argparse.Namespace, generator: "Generator") -> "Space":
    """Return the space of --space. Raises SettingError if the model does not have it, or for options without effect."""
    from equipoise.inference.spaces import open_space

    return open_space(generator, args.space, sampling_of(args))


def parse_samples(text: str, seed: int, flag: str) -> "list[SampleReference]":
    """Parse "3,5/22,me.npz": sample 3 of `seed`, sample 22 of seed 5, and a file of styles.

    Raises SettingError for anything else.
    """
    from pathlib import Path

    from equipoise.inference.style_files import is_style_file

    result: list[SampleReference] = []
    for word in text.split(","):
        if is_style_file(word.strip()):
            result.append(Path(word.strip()).expanduser())
        else:
            result += parse_sample_ids(word, seed, flag)
    return result


def check_psi_acts(args: argparse.Namespace, samples: "Iterable[SampleReference]") -> None:
    """Raise SettingError for --psi if all samples are files: their styles are used as they are."""
    from pathlib import Path

    if args.psi is not None and all(isinstance(sample, Path) for sample in samples):
        raise SettingError("--psi has no effect on files of styles; select a sample by its number, or omit --psi")


def parse_layers(text: str | None, generator: "Generator") -> range | None:
    """Parse "2-5", or "3" for one layer: the layers of a generator, counted from 0; None for None.

    Raises SettingError for anything else, and for layers that do not exist.
    """
    from equipoise.inference.style_space import layer_range

    if text is None:
        return None
    first, dash, last = (part.strip() for part in text.partition("-"))
    numbers = (first, last) if dash else (first, first)
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise SettingError(f"--layers takes a range of layers, such as 0-3, or one layer, not '{text}'")
    return layer_range(int(numbers[0]), int(numbers[1]), generator.count_layers())


def require_images(generator: "Generator", remedy: str = "use --out with a file name ending in .npy") -> None:
    """Raise SettingError for a generator of other samples than images."""
    if not generator.spec.is_image:
        kinds = {"sentences": generator.spec.vocabulary is not None, "sequences": generator.spec.is_sequence}
        noun = next((name for name, is_kind in kinds.items() if is_kind), "points")
        raise SettingError(f"{noun} cannot be drawn by this command; {remedy}")
