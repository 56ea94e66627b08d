"""Generate samples with the generator of a run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.commands._sampling import (
    add_sampling_flags,
    add_space_flag,
    check_psi_acts,
    parse_samples,
    sampling_of,
)
from equipoise.cli.commands._trained_run import (
    ALL_CLASSES,
    add_force_flag,
    add_label_flag,
    add_run_arguments,
    label_of,
    load_generator,
)
from equipoise.cli.output import print_result
from equipoise.core.printing import format_count, printable
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from equipoise.inference.generator import Generator

ORDER = 40
COUNT, PROMPT_COUNT = 64, 8
"""Default numbers of samples: of all, and of each of several prompts."""
EXAMPLES = (
    "equipoise sample runs/digits-dcgan-1 --count 64 --out grid.png",
    "equipoise sample runs/digits-dcgan-1 --count 1000 --out samples --label 7",
    "equipoise sample runs/digits-stylegan2-1 --psi 0.7 --out typical.png",
    "equipoise sample runs/digits-dcgan-1 --samples 3,17,5/22 --out three.png",
    'equipoise sample runs/openmoji-gigagan-1 --prompt "red apple" --prompt "green heart" --out apples.png',
)
JSON_KEYS: dict[str, str] = {
    "count": "number of samples",
    "path": "the file or folder",
    "warnings": "words of prompts that were left out, with --prompt",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `sample`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"number of samples, of each prompt if there are several; default: {COUNT}, of each prompt {PROMPT_COUNT}",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="output: grid.png, sentences.txt, array.npy, points.csv, or a folder for single images; "
        "with --count 1, one picture as one file",
    )
    parser.add_argument(
        "--format",
        choices=("csv", "png", "npy", "txt", "wav"),
        help="file format; csv with a folder: one table per image, in the unit of the data; default: by --out",
    )
    add_sampling_flags(parser)
    add_label_flag(parser, "in a folder, one subfolder per class; default: each class in turn, without subfolders")
    parser.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="what the samples show, in words of the training captions, for a model such as gigagan; repeat it for "
        "several prompts: a row or a subfolder each; default: captions of held-out data in turn",
    )
    _add_selection_flags(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed; the same seed gives the same samples; default: 0"
    )
    add_force_flag(parser)
    add_json_flag(parser)


def _add_selection_flags(parser: Parser) -> None:
    """Add the flags that select other samples than the first ones of a seed."""
    parser.add_argument(
        "--samples",
        metavar="NUMBERS",
        help="samples by their numbers instead of the first ones: 3,17, or 5/3 for sample 3 of seed 5, or files of "
        "styles or latents, as equipoise project and the studio write them",
    )
    parser.add_argument(
        "--plane",
        action="append",
        type=_parse_point,
        metavar="X,Y",
        help="a point of the plane of seeds in the studio: sample 0 of seed X + 100 Y, and between integer points an "
        "interpolation of four; may be repeated; write --plane=X,Y if X is negative",
    )
    add_space_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Generate samples and write them."""
    import torch

    from equipoise.cli.terminal import make_console
    from equipoise.inference.sample_files import write_samples
    from equipoise.runs.artifacts import check_overwrite

    out, prompts = Path(args.out), args.prompt or []
    check_overwrite([out] if out.suffix else [], force=args.force)
    generator = load_generator(args)
    warnings = [line for prompt in prompts for line in generator.read_prompt(prompt).warnings()]
    for line in warnings:
        make_console(quiet=args.json).print(printable(line), soft_wrap=True)
    count = (PROMPT_COUNT if len(prompts) > 1 else COUNT) if args.count is None else args.count
    if args.samples is not None or args.plane is not None:
        samples = _selected_samples(args, generator)
    elif args.space is not None:
        raise SettingError("--space is the space between points, for --plane; remove it")
    else:
        options = {"label": label_of(args), "seed": args.seed, "sampling": sampling_of(args)}
        samples = torch.cat([generator.sample(count, prompt=prompt, **options) for prompt in prompts or [None]])
    path = write_samples(
        samples,
        out,
        generator.spec,
        args.format,
        subfolders=generator.class_folders(count) if args.label == ALL_CLASSES else _prompt_folders(prompts, count),
        columns=count if len(prompts) > 1 else None,
        force=args.force,
    )
    result = {"count": len(samples), "path": str(path)} | ({"warnings": warnings} if prompts else {})
    print_result(args.json, result, f"{format_count(len(samples), 'sample')}: {path}")
    return 0


def _selected_samples(args: argparse.Namespace, generator: "Generator") -> "Tensor":
    """Generate the samples of --samples or --plane. Raises SettingError for flags that have no effect on them."""
    from equipoise.inference.latent_plane import select_plane
    from equipoise.inference.spaces import open_space, space_of_samples

    flags = {"--samples": args.samples, "--plane": args.plane, "--count": args.count, "--prompt": args.prompt}
    given = [flag for flag, value in flags.items() if value is not None]
    if len(given) > 1:
        raise SettingError(f"{given[0]} selects the samples, so {given[1]} has no effect; remove one of them")
    if args.label == ALL_CLASSES:
        raise SettingError(f"{given[0]} selects the samples, which --label all would sort; remove --label")
    if args.plane is not None:
        space = open_space(generator, args.space, sampling_of(args))
        selected = select_plane(space, args.plane, args.label)
    else:
        references = parse_samples(args.samples, args.seed, "--samples")
        check_psi_acts(args, references)
        space = space_of_samples(generator, references, args.space, sampling_of(args))
        selected = space.select(references, args.label)
    return space.generate(selected.latents, selected.labels)


def _parse_point(text: str) -> tuple[float, float]:
    """Parse "3.5,-1": coordinates of a point of the plane. Raises SettingError for anything else."""
    try:
        x, y = map(float, text.split(","))
    except ValueError as error:
        raise SettingError(f"--plane takes two numbers, such as 3.5,1, not '{text}'") from error
    return x, y


def _prompt_folders(prompts: list[str], count: int) -> list[str]:
    """Return a folder name of the prompt of each sample; empty for fewer than two prompts."""
    if len(prompts) < 2:
        return []
    from equipoise.core.captions import split_words

    names = ["-".join(split_words(prompt)) for prompt in prompts]
    folders = names if len(set(names)) == len(names) else [f"prompt-{number}" for number in range(1, len(names) + 1)]
    return [folder for folder in folders for _ in range(count)]
