"""What does each metric say to known corruptions at five strengths, and is it monotone?

    python benchmarks/metrics/corruptions.py             about 20 minutes of one core; a restart continues
    python benchmarks/metrics/corruptions.py --table     rewrite corruptions.md from results/corruptions.jsonl

Method. SAMPLES training images take the place of samples, unchanged (strength 0) and corrupted at strengths 1 to 5,
against the same number of other images: held-out digits; for emoji, which have 212 held-out images, other training
images. `copies`: a growing share of the samples is replaced by images of the set that metrics of memorisation search.
Values for three unchanged draws give the spread of perfect samples.

Expected: every metric gets worse, strength by strength, with what it is made for. The table shows Spearman's rank
correlation of badness with strength: 1 is monotone. `noticed`: the first strength whose value is worse than all three
unchanged draws by more than their range.
"""

import io
import sys
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _results import Item, Result, Results, create_parser, table, write

from equipoise.core import catalog
from equipoise.core.metric import Bootstrap, FeatureMetric, ReferenceSet

HERE = Path(__file__).resolve().parent
SAMPLES = 500
STRENGTHS = (1, 2, 3, 4, 5)
DRAWS = 3
DATA: Mapping[str, Mapping[str, int]] = {"digits": {"image_size": 32}, "openmoji": {"image_size": 64}}
MANIFOLD = ("precision", "recall", "density", "coverage")
METRICS: Mapping[str, tuple[str, ...]] = {
    "digits": (
        *("fd_digits", "kd_digits", *(f"{name}:digits" for name in MANIFOLD)),
        *("fd_mobilenet_v2", "kd_mobilenet_v2", "fd_pixels", "auth_pct:pixels", "c_t:pixels"),
    ),
    "openmoji": (
        *("fd_efficientnet_lite0", "kd_efficientnet_lite0", *(f"{name}:efficientnet_lite0" for name in MANIFOLD)),
        *("fd_mobilenet_v2", "kd_mobilenet_v2", *(f"{name}:mobilenet_v2" for name in MANIFOLD)),
        *("fd_pixels", "auth_pct:pixels", "c_t:pixels"),
    ),
}
Corruption = Callable[[Tensor, float, torch.Generator], Tensor]


def noise(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return (images + amount * torch.randn(images.shape, generator=generator)).clamp(-1, 1)


def blur(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return _with_pillow(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(amount)))


def jpeg(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    def compress(picture: Image.Image) -> Image.Image:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=round(amount))
        return Image.open(content)

    return _with_pillow(images, compress)


def shift(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    pixels = round(amount * images.shape[-1])
    shifted = torch.roll(images, pixels, dims=3)
    shifted[..., :pixels] = images[..., :1]
    return shifted


def occlusion(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    side = round(amount * images.shape[-1])
    result = images.clone()
    places = torch.randint(0, images.shape[-1] - side + 1, (len(images), 2), generator=generator).tolist()
    for image, (top, left) in zip(result, places, strict=True):
        image[:, top : top + side, left : left + side] = 0
    return result


def contrast(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return images * (1 - amount)


def grey(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return torch.lerp(images, luma.expand_as(images), amount)


def swap(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return torch.lerp(images, images.flip(1), amount)


def cast(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return (images + amount * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)).clamp(-1, 1)


def dropping(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Replace the samples with the largest first principal component by others: whole modes are missing."""
    pixels = images.flatten(1)
    component = torch.linalg.svd(pixels - pixels.mean(dim=0), full_matrices=False).Vh[0]
    order = (pixels @ component).argsort()
    present = order[: round((1 - amount) * len(images))]
    return images[present[torch.arange(len(images)) % len(present)]]


def repeats(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    return images[torch.arange(len(images)) % round(amount)]


CORRUPTIONS: Mapping[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noise, (0.02, 0.05, 0.1, 0.2, 0.4)),
    "blur": (blur, (0.4, 0.7, 1.0, 1.5, 2.5)),
    "JPEG": (jpeg, (90, 70, 50, 25, 10)),
    "shift": (shift, (0.03, 0.06, 0.12, 0.2, 0.3)),
    "occlusion": (occlusion, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.1, 0.2, 0.4, 0.6, 0.8)),
    "grey": (grey, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "channels swapped": (swap, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "colour cast": (cast, (0.05, 0.1, 0.2, 0.4, 0.8)),
    "modes dropped": (dropping, (0.1, 0.25, 0.5, 0.75, 0.9)),
    "few images repeated": (repeats, (250, 100, 50, 20, 10)),
    "copies": (noise, (0.1, 0.25, 0.5, 0.75, 1.0)),
}
"""Name -> function and its five amounts. `copies` is made in :func:`corrupted`."""
COLOUR = ("grey", "channels swapped", "colour cast")
UNITS = {
    "noise": "deviation, range [-1, 1]",
    "blur": "radius in pixels",
    "JPEG": "quality",
    "shift": "share of the width",
    "occlusion": "side of a grey square, share of the width",
    "contrast": "share removed",
    "grey": "share of grey",
    "channels swapped": "share of the swapped image",
    "colour cast": "added to red, taken from blue",
    "modes dropped": "share of the first principal component cut off",
    "few images repeated": "number of images",
    "copies": "share of training images",
}


def _with_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Apply a function on pictures to images (N, 1 or 3, H, W) in [-1, 1]."""
    result = []
    for pixels in ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy():
        picture = change(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
        result.append(np.asarray(picture).reshape(pixels.shape))
    return torch.from_numpy(np.stack(result)).permute(0, 3, 1, 2) / 127.5 - 1


@lru_cache(maxsize=2)
def images(data: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return samples (DRAWS * SAMPLES, ...), reals, and the training images that are searched for copies."""
    source = catalog.build("data", data, DATA[data]).resolve()
    train = source.stream("train", source.count("train"), 0).batch(0).real
    if data == "digits":
        reals = source.stream("held_out", SAMPLES, 0).batch(0).real
        return train[: DRAWS * SAMPLES], reals, train[DRAWS * SAMPLES :]
    held_out = source.stream("held_out", source.count("held_out"), 0).batch(0).real
    reals = torch.cat([held_out, train[-(SAMPLES - len(held_out)) :]])
    rest = train[: -(SAMPLES - len(held_out))]
    # Draws overlap, because there are too few emoji for three of them.
    draws = torch.cat([rest[start : start + SAMPLES] for start in (0, 250, 500)])
    return draws, reals, rest[1000:]


def corrupted(data: str, name: str, strength: int) -> Tensor:
    """Return SAMPLES corrupted images."""
    samples, _, train = images(data)
    chosen, generator = samples[:SAMPLES], torch.Generator().manual_seed(strength)
    change, amounts = CORRUPTIONS[name]
    if name == "copies":
        count = round(amounts[strength - 1] * SAMPLES)
        return torch.cat([jpeg(train[:count], 90, generator), chosen[count:]])
    return change(chosen, amounts[strength - 1], generator)


@cache
def reference(data: str, features: object) -> ReferenceSet:
    """Return the features of the reals and of the training images."""
    _, reals, train = images(data)
    return ReferenceSet(features(reals), train=features(train))


def measure(item: Item) -> Result:
    """Compute every metric on one set of samples."""
    data = item["data"]
    if item["corruption"] == "unchanged":
        samples = images(data)[0][item["strength"] * SAMPLES :][:SAMPLES]
    else:
        samples = corrupted(data, item["corruption"], item["strength"])
    extracted: dict[object, Tensor] = {}
    result = {}
    for name in METRICS[data]:
        metric: FeatureMetric = catalog.build("metrics", name, {"side": 16} if name == "fd_pixels" else {})
        if metric.features not in extracted:
            extracted[metric.features] = metric.features(samples)
        value = metric.compute(reference(data, metric.features), extracted[metric.features], Bootstrap()).value
        result[name] = float(value)
    return result


def items(data: str) -> list[dict[str, object]]:
    """Return what is measured of a data set."""
    unchanged = [{"data": data, "corruption": "unchanged", "strength": draw} for draw in range(DRAWS)]
    names = [name for name in CORRUPTIONS if data != "digits" or name not in COLOUR]
    return unchanged + [{"data": data, "corruption": name, "strength": n} for name in names for n in STRENGTHS]


def spearman(values: list[float]) -> float:
    """Return the rank correlation of values with their position; ties share the mean rank. 0 if all are equal."""
    rows = np.array([sum(other < value for other in values) + values.count(value) / 2 for value in values])
    if rows.std() == 0:
        return 0.0
    return float(np.corrcoef(rows, np.arange(len(values)))[0, 1])


def page(data: str, results: Results) -> list[str]:
    """Return the paragraphs of a data set: correlations, then values."""
    lower = {name: catalog.load("metrics", name.partition(":")[0]).better == "lower" for name in METRICS[data]}
    signs = {name: 1 if is_lower else -1 for name, is_lower in lower.items()}
    draws = [results.result(item) for item in items(data)[:DRAWS]]
    if None in draws:
        return [f"## {data}", "Not measured yet."]
    rows, value_rows = [], []
    for name in (name for name in CORRUPTIONS if data != "digits" or name not in COLOUR):
        lines = [results.result({"data": data, "corruption": name, "strength": n}) for n in STRENGTHS]
        if None in lines:
            continue
        cells = []
        for metric, sign in signs.items():
            values = [sign * line[metric] for line in (draws[0], *lines)]
            unchanged = [sign * draw[metric] for draw in draws]
            limit = max(unchanged) + (max(unchanged) - min(unchanged))
            noticed = next((str(n) for n, value in enumerate(values) if n and value > limit), "–")
            rank = spearman(values)
            cells.append(f"{rank:.2f} ({noticed})" if rank < 0.999 else f"**1** ({noticed})")
        rows.append((name, *cells))
        shown = [f"{draws[0][m]:.4g} → {lines[0][m]:.4g}, {lines[2][m]:.4g}, {lines[4][m]:.4g}" for m in signs]
        value_rows.append((name, *shown))
    head = [f"`{name}`" for name in METRICS[data]]
    return [
        f"## {data}",
        "Spearman's correlation of badness with strength (first strength that is noticed):",
        table(("corruption", *head), rows),
        "Values: unchanged → strength 1, 3, 5:",
        table(("corruption", *head), value_rows),
    ]


def main() -> None:
    """Measure what is missing, and write the table."""
    args = create_parser(__doc__).parse_args()
    results = Results(HERE / "results" / "corruptions.jsonl")
    everything = [item for data in DATA for item in items(data)]
    if not args.table:
        results.measure(everything, measure)
    amounts = [(name, *values, UNITS[name]) for name, (_, values) in CORRUPTIONS.items()]
    write(
        HERE / "corruptions.md",
        "# Metrics under known corruptions",
        f"{SAMPLES} images in place of samples against {SAMPLES} reals; see `corruptions.py` for the method.",
        results.provenance(everything),
        table(("corruption", *(f"strength {n}" for n in STRENGTHS), "unit"), amounts),
        *(paragraph for data in DATA for paragraph in page(data, results)),
        *(path.read_text().strip() for path in [HERE / "corruptions_notes.md"] if path.exists()),
    )


if __name__ == "__main__":
    main()
