"""Interpolate between samples: rows of images, or a film."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.cli.arguments import Parser, add_json_flag, output_path, write_file
from equipoise.cli.commands._sampling import (
    add_sampling_flags,
    add_space_flag,
    check_psi_acts,
    parse_samples,
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
    from equipoise.inference.generator import Generator
    from equipoise.inference.latent_space import Interpolation
    from equipoise.inference.spaces import SampleReference, Space

ORDER = 60
EXAMPLES = (
    "equipoise interpolate runs/digits-dcgan-1 --out strip.png",
    "equipoise interpolate runs/digits-dcgan-1 --from 3,17 --to 5,22 --out film.mp4",
    "equipoise interpolate runs/digits-stylegan2-1 --from mine.npz --to 5 --psi 0.7 --out strip.png",
)
JSON_KEYS: dict[str, str] = {
    "path": "the output",
    "kind": "linear or spherical",
    "space": "z or w",
    "ways": "for each row the samples that it connects",
    "steps, frames, fps": "images per row; of films also their number of frames, and frames per second",
}
ROWS, STEPS = 8, 10
FILM_ROWS, FILM_STEPS, STOPS, FPS = 16, 24, 4, 24


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `interpolate`."""
    add_run_arguments(parser)
    parser.add_argument("--out", required=True, metavar="PATH", help="output: strip.png, film.mp4, or array.npy")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="NUMBERS",
        help="numbers of the start samples: 3,17, or 5/3 for sample 3 of seed 5, or files of equipoise project",
    )
    parser.add_argument(
        "--to",
        dest="end",
        metavar="NUMBERS",
        help="numbers of the end samples, the same count as --from; default of both: the first samples",
    )
    parser.add_argument(
        "--rows", type=int, metavar="N", help=f"number of interpolations; default: {ROWS}, in a film {FILM_ROWS}"
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help=f"images per row; default: {STEPS}, in a film {FILM_STEPS} per stop"
    )
    parser.add_argument(
        "--stops", type=int, metavar="N", help=f"number of samples in the loop of a film; default: {STOPS}"
    )
    parser.add_argument(
        "--kind",
        choices=("linear", "spherical"),
        help="kind of interpolation; default: spherical in space z, linear in space w",
    )
    add_space_flag(parser)
    add_label_flag(parser, "default: all, so that a row has the class of its start")
    add_sampling_flags(parser, steps="--sampling-steps")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the numbered samples; default: 0")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Interpolate and write the result."""
    from equipoise.runs.artifacts import check_overwrite

    stops = _stops(args)
    check_overwrite([Path(args.out)], force=args.force)
    generator = load_generator(args)
    extensions = (".png", ".mp4", ".npy") if generator.spec.is_image else (".png", ".npy")
    path = output_path(args.out, extensions if generator.spec.vocabulary is None else (".txt", ".npy"))
    space = space_of(args, generator)
    kind = space.interpolation if args.kind is None else args.kind
    write = _write_film if path.suffix.lower() == ".mp4" else _write_strip
    details, text = write(args, generator, space, kind, stops, path)
    rows = [[str(sample) for sample in row] for row in zip(*stops, strict=True)]
    result = {"path": str(path), "kind": kind, "space": space.name, "ways": rows, **details}
    print_result(args.json, result, f"{text}: {path}")
    return 0


def _stops(args: argparse.Namespace) -> "list[list[SampleReference]]":
    """Return the samples of all rows at each stop: two stops for a strip, --stops for a film."""
    from equipoise.inference.latent_space import SampleId

    is_film = args.out.lower().endswith(".mp4")
    if args.stops is not None and not is_film:
        raise SettingError("--stops is for films; use a file name ending in .mp4, or remove --stops")
    if (args.start, args.end) != (None, None):
        if args.stops is not None or args.rows is not None:
            raise SettingError("--from and --to determine rows and stops; remove --rows and --stops")
        start, end = (
            parse_samples(text, args.seed, flag) if text is not None else []
            for text, flag in ((args.start, "--from"), (args.end, "--to"))
        )
        if len(start) != len(end):
            raise SettingError(f"--from has {len(start)} samples and --to has {len(end)}; give the same number to both")
        check_psi_acts(args, [*start, *end])
        return [start, end]
    rows = args.rows if args.rows is not None else FILM_ROWS if is_film else ROWS
    if rows < 1:
        raise SettingError(f"rows = {rows}: it must be at least 1")
    stops = (args.stops if args.stops is not None else STOPS) if is_film else 2
    if stops < 2:
        raise SettingError(f"stops = {stops}: it must be at least 2")
    return [[SampleId(args.seed, stop * rows + row) for row in range(rows)] for stop in range(stops)]


def _write_strip(
    args: argparse.Namespace,
    generator: "Generator",
    space: "Space",
    kind: "Interpolation",
    stops: "list[list[SampleReference]]",
    path: Path,
) -> tuple[dict[str, object], str]:
    """Write one row per interpolation; return details for JSON and the text of the result."""
    from equipoise.inference.latent_space import generate_strip
    from equipoise.report.image_grids import plot_paths
    from equipoise.report.sequence_sheets import draw_sequences
    from equipoise.runs.artifacts import encode_lines, encode_npy, encode_png, make_grid

    steps = args.steps if args.steps is not None else STEPS
    start, end = (space.select(stop, label_of(args)) for stop in stops)
    samples = generate_strip(space, start, end, steps, kind).numpy()
    vocabulary = generator.spec.vocabulary
    if path.suffix.lower() == ".npy":
        content = encode_npy(samples)
    elif vocabulary is not None:
        content = encode_lines([vocabulary.decode(sentence) for row in samples.tolist() for sentence in row])
    elif generator.spec.is_image:
        content = encode_png(make_grid(samples.reshape(-1, *generator.spec.shape), columns=steps))
    elif generator.spec.is_sequence:
        plots = samples.reshape(-1, *generator.spec.shape)
        content = encode_png(draw_sequences(plots, columns=steps, most=len(plots)))
    else:
        content = plot_paths(samples)
    write_file(path, content)
    return {"steps": steps}, f"{len(samples)} interpolations of {steps} samples"


def _write_film(
    args: argparse.Namespace,
    generator: "Generator",
    space: "Space",
    kind: "Interpolation",
    stops: "list[list[SampleReference]]",
    path: Path,
) -> tuple[dict[str, object], str]:
    """Write a film of all interpolations; return details for JSON and the text of the result."""
    from equipoise.inference.latent_space import generate_film
    from equipoise.report.image_grids import film_frame
    from equipoise.report.video_encoding import write_video

    steps = args.steps if args.steps is not None else FILM_STEPS
    selected = [space.select(stop, label_of(args)) for stop in stops]
    frames = (film_frame(samples.numpy()) for samples in generate_film(space, selected, steps, kind))
    first = next(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, itertools.chain([first], frames), first.size, FPS)
    count = steps * len(stops)
    text = f"{len(stops[0])} interpolations, {count} frames at {FPS} per second"
    return {"steps": steps, "frames": count, "fps": FPS}, text
