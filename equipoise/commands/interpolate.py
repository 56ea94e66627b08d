"""Walk from sample to sample: rows of pictures, or a film."""

import argparse
import itertools
from typing import TYPE_CHECKING, Any

from equipoise.arguments import Parser, json_flag
from equipoise.commands._answer import answer
from equipoise.commands._picks import picks, place, put
from equipoise.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from equipoise.generator import Generator
    from equipoise.latent_space import Pick

ROWS, STEPS = 8, 10
FILM_ROWS, FILM_STEPS, STOPS, FPS = 16, 24, 4, 24


def fill(made: Parser) -> None:
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


def act(asked: argparse.Namespace) -> int:
    """Walk from sample to sample."""
    from equipoise.generator import load

    stops = _stops(asked)
    generator = load(asked.run)
    endings = {3: (".png", ".mp4", ".npy"), 1: (".png", ".npy")}.get(len(generator.spec.shape), (".npy",))
    path = place(asked.out, endings if generator.spec.vocabulary is None else (".txt", ".npy"))
    if path.suffix.lower() == ".mp4":
        told, text = _film(asked, generator, stops, path)
    else:
        told, text = _strip(asked, generator, stops, path)
    way = [[str(one) for one in each] for each in zip(*stops, strict=True)]
    answer(asked.json, {"path": str(path), "kind": asked.kind, "ways": way, **told}, f"{text} in {path}")
    return 0


def _stops(asked: argparse.Namespace) -> "list[list[Pick]]":
    """Where each row is at each stop: two for a strip, for a film as many as asked for."""
    from equipoise.latent_space import Pick

    is_film = asked.out.lower().endswith(".mp4")
    if asked.stops is not None and not is_film:
        raise SettingError("--stops is for films; name a file ending in .mp4, or leave it out")
    if (asked.start, asked.end) != (None, None):
        if asked.stops is not None or asked.rows is not None:
            raise SettingError("--from and --to say how many there are; leave out --rows and --stops")
        start, end = (
            picks(text, asked.seed, flag) if text is not None else []
            for text, flag in ((asked.start, "--from"), (asked.end, "--to"))
        )
        if len(start) != len(end):
            raise SettingError(f"--from names {len(start)} samples and --to {len(end)}; give as many to both")
        return [start, end]
    rows = asked.rows if asked.rows is not None else FILM_ROWS if is_film else ROWS
    if rows < 1:
        raise SettingError(f"rows = {rows}: it must be at least 1")
    stops = (asked.stops if asked.stops is not None else STOPS) if is_film else 2
    if stops < 2:
        raise SettingError(f"stops = {stops}: it must be at least 2, for a film goes from one to the next")
    return [[Pick(asked.seed, stop * rows + row) for row in range(rows)] for stop in range(stops)]


def _strip(
    asked: argparse.Namespace, generator: "Generator", stops: "list[list[Pick]]", path: "Path"
) -> tuple[dict[str, Any], str]:
    from equipoise import runs
    from equipoise.latent_space import pick, strip
    from equipoise.report import sheets

    steps = asked.steps if asked.steps is not None else STEPS
    start, end = (pick(generator, stop, label=asked.label, truncation=asked.truncation) for stop in stops)
    made = strip(generator, start, end, steps, asked.kind).numpy()
    vocabulary = generator.spec.vocabulary
    if path.suffix.lower() == ".npy":
        put(path, runs.npy(made))
    elif vocabulary is not None:
        put(path, runs.lines([vocabulary.text(row) for way in made.tolist() for row in way]))
    elif generator.spec.is_image:
        put(path, runs.png(runs.grid(made.reshape(-1, *generator.spec.shape), columns=steps)))
    else:
        put(path, sheets.ways(made))
    return {"steps": steps}, f"{len(made)} ways of {steps} samples"


def _film(
    asked: argparse.Namespace, generator: "Generator", stops: "list[list[Pick]]", path: "Path"
) -> tuple[dict[str, Any], str]:
    from equipoise.latent_space import film, pick
    from equipoise.report import encoding, sheets

    steps = asked.steps if asked.steps is not None else FILM_STEPS
    picked = [pick(generator, stop, label=asked.label, truncation=asked.truncation) for stop in stops]
    frames = (sheets.frame(made.numpy()) for made in film(generator, picked, steps, asked.kind))
    first = next(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding.write(path, itertools.chain([first], frames), first.size, FPS)
    count = steps * len(stops)
    return {"steps": steps, "frames": count, "fps": FPS}, f"{len(stops[0])} ways, {count} frames at {FPS} a second,"
