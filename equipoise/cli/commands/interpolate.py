"""Walk from sample to sample: rows of pictures, or a film."""

import argparse
import itertools
from typing import TYPE_CHECKING, Any

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer
from equipoise.cli.commands._picks import picks, place, put
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from equipoise.inference.generator import Generator
    from equipoise.inference.latent_space import SampleId

ROWS, STEPS = 8, 10
FILM_ROWS, FILM_STEPS, STOPS, FPS = 16, 24, 4, 24


def add_arguments(made: Parser) -> None:
    """The arguments of `interpolate`."""
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--out", required=True, metavar="PATH", help="strip.png, film.mp4, or numbers.npy")
    made.add_argument("--from", dest="start", metavar="NUMBERS", help="samples to start from: 3,17 or 5/3 of seed 5")
    made.add_argument("--to", dest="end", metavar="NUMBERS", help="as many to arrive at; both left out: the first ones")
    made.add_argument("--rows", type=int, metavar="N", help=f"ways, if left to choose: {ROWS}, in a film {FILM_ROWS}")
    made.add_argument(
        "--steps", type=int, metavar="N", help=f"pictures a row, {STEPS}; in a film from stop to stop, {FILM_STEPS}"
    )
    made.add_argument("--stops", type=int, metavar="N", help=f"latents that a film goes through in a loop: {STOPS}")
    made.add_argument(
        "--kind", choices=("linear", "spherical"), default="spherical", help="straight, or along the sphere"
    )
    made.add_argument("--label", type=int, metavar="K", help="the class of all; left out: that of each start")
    made.add_argument("--truncation", type=float, metavar="T", help="latents within [-T, T]: truer, less diverse")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="whose samples are numbered")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """Walk from sample to sample."""
    from equipoise.inference.generator import load_generator

    stops = _stops(args)
    generator = load_generator(args.run)
    endings = {3: (".png", ".mp4", ".npy"), 1: (".png", ".npy")}.get(len(generator.spec.shape), (".npy",))
    path = place(args.out, endings if generator.spec.vocabulary is None else (".txt", ".npy"))
    if path.suffix.lower() == ".mp4":
        told, text = _film(args, generator, stops, path)
    else:
        told, text = _strip(args, generator, stops, path)
    way = [[str(one) for one in each] for each in zip(*stops, strict=True)]
    answer(args.json, {"path": str(path), "kind": args.kind, "ways": way, **told}, f"{text} in {path}")
    return 0


def _stops(args: argparse.Namespace) -> "list[list[SampleId]]":
    """Where each row is at each stop: two for a strip, for a film as many as asked for."""
    from equipoise.inference.latent_space import SampleId

    is_film = args.out.lower().endswith(".mp4")
    if args.stops is not None and not is_film:
        raise SettingError("--stops is for films; name a file ending in .mp4, or leave it out")
    if (args.start, args.end) != (None, None):
        if args.stops is not None or args.rows is not None:
            raise SettingError("--from and --to say how many there are; leave out --rows and --stops")
        start, end = (
            picks(text, args.seed, flag) if text is not None else []
            for text, flag in ((args.start, "--from"), (args.end, "--to"))
        )
        if len(start) != len(end):
            raise SettingError(f"--from names {len(start)} samples and --to {len(end)}; give as many to both")
        return [start, end]
    rows = args.rows if args.rows is not None else FILM_ROWS if is_film else ROWS
    if rows < 1:
        raise SettingError(f"rows = {rows}: it must be at least 1")
    stops = (args.stops if args.stops is not None else STOPS) if is_film else 2
    if stops < 2:
        raise SettingError(f"stops = {stops}: it must be at least 2, for a film goes from one to the next")
    return [[SampleId(args.seed, stop * rows + row) for row in range(rows)] for stop in range(stops)]


def _strip(
    args: argparse.Namespace, generator: "Generator", stops: "list[list[SampleId]]", path: "Path"
) -> tuple[dict[str, Any], str]:
    from equipoise.inference.latent_space import select_latents, generate_strip
    from equipoise.report import image_grids
    from equipoise.runs import run_folder as runs

    steps = args.steps if args.steps is not None else STEPS
    start, end = (select_latents(generator, stop, label=args.label, truncation=args.truncation) for stop in stops)
    made = generate_strip(generator, start, end, steps, args.kind).numpy()
    vocabulary = generator.spec.vocabulary
    if path.suffix.lower() == ".npy":
        put(path, runs.npy(made))
    elif vocabulary is not None:
        put(path, runs.lines([vocabulary.text(row) for way in made.tolist() for row in way]))
    elif generator.spec.is_image:
        put(path, runs.png(runs.grid(made.reshape(-1, *generator.spec.shape), columns=steps)))
    else:
        put(path, image_grids.plot_paths(made))
    return {"steps": steps}, f"{len(made)} ways of {steps} samples"


def _film(
    args: argparse.Namespace, generator: "Generator", stops: "list[list[SampleId]]", path: "Path"
) -> tuple[dict[str, Any], str]:
    from equipoise.inference.latent_space import generate_film, select_latents
    from equipoise.report import image_grids
    from equipoise.report import video_encoding

    steps = args.steps if args.steps is not None else FILM_STEPS
    picked = [select_latents(generator, stop, label=args.label, truncation=args.truncation) for stop in stops]
    frames = (image_grids.film_frame(made.numpy()) for made in generate_film(generator, picked, steps, args.kind))
    first = next(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    video_encoding.write_video(path, itertools.chain([first], frames), first.size, FPS)
    count = steps * len(stops)
    return {"steps": steps, "frames": count, "fps": FPS}, f"{len(stops[0])} ways, {count} frames at {FPS} a second,"
