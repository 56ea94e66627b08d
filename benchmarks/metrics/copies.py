"""Which metric tells re-saved copies of training pictures from fresh pictures, and from how many pictures on?

    python benchmarks/metrics/copies.py             about 12 minutes of one core; a restart continues
    python benchmarks/metrics/copies.py --table     rewrite copies.md from results/copies.jsonl

Method. N training pictures and N / 10 held-out ones; in place of samples 100 pictures: copies of training pictures,
re-saved in several ways, or fresh pictures of the same distribution. Pictures are flowers drawn at random,
and emoji, 64 x 64 pixels. `c_t` is a rank test that needs held-out reals; `auth_pct` needs only training
reals. `stand-in`: c_t with training reals as held-out ones. `neighbours`: the share of copies whose original is
their nearest training picture, which is what --neighbours shows.

Expected: copies have c_t below -3 and auth_pct near 0, fresh pictures c_t within 3 of 0 and auth_pct of about 50.
"""

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _results import Item, Result, Results, create_parser, format_range, table, write

from equipoise.core import catalog
from equipoise.core.metric import Bootstrap, FeatureMetric, ReferenceSet
from equipoise.metrics import c_t
from equipoise.metrics._manifold import nearest_neighbours

HERE = Path(__file__).resolve().parent
COUNT, SIDE = 100, 64
c_t.MIN_HELD_OUT = 0  # The table shows what the metric refuses to report.
COUNTS: Mapping[str, tuple[int, ...]] = {"flowers": (60, 200, 500, 1000, 5000), "openmoji": (60, 200, 500, 1000)}
SEEDS: Mapping[int, int] = {60: 3, 200: 3, 500: 2, 1000: 1, 5000: 1}
FEATURES = ("pixels", "efficientnet_lite0", "mobilenet_v2")


def resave(quality: int) -> Callable[[Image.Image], Image.Image]:
    """Return a function that saves a picture as JPEG and reads it again."""

    def change(picture: Image.Image) -> Image.Image:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=quality)
        return Image.open(content)

    return change


def crop(picture: Image.Image) -> Image.Image:
    """Cut off 3 % at each border, and enlarge."""
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (2, 2, SIDE - 2, SIDE - 2))


def mirror(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


COPIES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 75": resave(75),
    "JPEG 30": resave(30),
    "cropped by 3 %": crop,
    "mirrored": mirror,
}


def flower(rng: np.random.Generator) -> Image.Image:
    """Draw a flower on a textured ground, in four colours at random."""
    ramp = np.linspace(0, 1, SIDE)[:, None, None] * rng.integers(40, 120, 3) + rng.integers(20, 90, 3)
    ground = np.clip(ramp + rng.normal(0, 10, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(ground)
    draw = ImageDraw.Draw(picture)
    x, y = SIDE / 2 + rng.normal(0, SIDE * 0.05, 2)
    radius, petals, turn = SIDE * rng.uniform(0.22, 0.38), rng.integers(5, 9), rng.uniform(0, 2 * np.pi)
    colour = tuple(int(value) for value in rng.integers(120, 255, 3))
    for angle in turn + 2 * np.pi * np.arange(petals) / petals:
        a, b, r = x + 0.6 * radius * np.cos(angle), y + 0.6 * radius * np.sin(angle), 0.45 * radius
        draw.ellipse((a - r, b - r, a + r, b + r), fill=colour)
    draw.ellipse((x - 0.3 * radius, y - 0.3 * radius, x + 0.3 * radius, y + 0.3 * radius), fill=(230, 190, 30))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def pictures(data: str, count: int, seed: int) -> list[Image.Image]:
    """Return different pictures, in random order."""
    if data == "flowers":
        rng = np.random.default_rng([seed, count])
        return [flower(rng) for _ in range(count)]
    source = catalog.build("data", "openmoji", {"image_size": SIDE}).resolve()
    real = source.stream("train", source.count("train"), seed).batch(0).real[:count]
    return [Image.fromarray(pixels) for pixels in ((real + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()]


def to_tensor(several: list[Image.Image]) -> Tensor:
    """Return (N, 3, SIDE, SIDE) float32 in [-1, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in several])).permute(0, 3, 1, 2) / 127.5 - 1


def measure(item: Item) -> Result:
    """Compute the metrics of all copies and of fresh pictures."""
    count, held_out = item["n"], item["n"] // 10
    drawn = pictures(item["data"], count + held_out + COUNT, item["seed"])
    train, others = drawn[:count], drawn[count : count + held_out]
    originals = np.arange(COUNT) % count
    sets = {name: [change(train[index]) for index in originals] for name, change in COPIES.items()}
    sets["fresh"] = drawn[count + held_out :]
    result: dict[str, dict[str, float]] = {name: {} for name in sets}
    for kind in FEATURES:
        metrics: dict[str, FeatureMetric] = {
            name: catalog.build("metrics", name, {"features_from": kind}) for name in ("c_t", "auth_pct")
        }
        features = metrics["c_t"].features
        known, rest = features(to_tensor(train)), features(to_tensor(others))
        for name, samples in sets.items():
            fake = features(to_tensor(samples))
            held, stand_in = ReferenceSet(rest, train=known), ReferenceSet(known[:held_out], train=known)
            values = {
                "c_t": metrics["c_t"].compute(held, fake, Bootstrap()).value,
                "stand-in": metrics["c_t"].compute(stand_in, fake, Bootstrap()).value,
                "auth_pct": metrics["auth_pct"].compute(held, fake, Bootstrap()).value,
            }
            if name != "fresh":
                nearest = nearest_neighbours(fake, known, 1).row[:, 0].numpy()
                values["neighbours"] = 100 * float((nearest == originals).mean())
            result[name] |= {f"{metric}:{kind}": value for metric, value in values.items() if np.isfinite(value)}
    return result


ITEMS = [
    {"data": data, "n": count, "seed": seed}
    for count in SEEDS
    for data, counts in COUNTS.items()
    if count in counts
    for seed in range(SEEDS[count])
]


def rows(results: Results, data: str, metric: str) -> list[tuple[object, ...]]:
    """Return a row per number of pictures and kind of features."""
    result = []
    for count in COUNTS[data]:
        found = [results.result({"data": data, "n": count, "seed": seed}) for seed in range(SEEDS[count])]
        for kind in FEATURES:
            cells = []
            for name in (*COPIES, "fresh"):
                values = [line[name][key] for line in found if line and (key := f"{metric}:{kind}") in line[name]]
                cells.append(format_range(values, ".1f") if values else "–")
            result.append((f"{count:,}", f"{count // 10:,}", f"`{kind}`", *cells))
    return result


def main() -> None:
    """Measure what is missing, and write the table."""
    args = create_parser(__doc__).parse_args()
    results = Results(HERE / "results" / "copies.jsonl")
    if not args.table:
        results.measure(ITEMS, measure)
    head = ("training pictures", "held out", "features", *COPIES, "fresh")
    titles = {
        "auth_pct": "`auth_pct`, in percent (copies: near 0)",
        "c_t": "`c_t` (copies: below -3)",
        "stand-in": "`c_t` with training reals in place of held-out ones (not reported)",
        "neighbours": "`--neighbours`: percent of the copies whose original is the nearest training picture",
    }
    write(
        HERE / "copies.md",
        "# Copies of training pictures against fresh pictures",
        f"{COUNT} pictures in place of samples; median [minimum, maximum] over seeds; see `copies.py` for the method.",
        results.provenance(ITEMS),
        *(path.read_text().strip() for path in [HERE / "copies_notes.md"] if path.exists()),
        *(
            paragraph
            for metric, title in titles.items()
            for data in COUNTS
            for paragraph in (f"## {data}: {title}", table(head, rows(results, data, metric)))
        ),
    )


if __name__ == "__main__":
    main()
