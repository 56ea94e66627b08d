"""Summary of a data set before training: what it holds, what is wrong with it, and what is unusual."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from equipoise.core import catalog
from equipoise.core.image_sizes import ImageSides
from equipoise.core.inspection import InspectedImage, Inspection
from equipoise.core.metric import FeatureMetric

MAX_COMPARED = 2000
"""Largest number of images among which unusual ones are searched; spread over the set."""
NEIGHBOUR = 5
"""An image is as unusual as its distance to its nearest neighbour of this number: a few copies do not hide it."""
UNUSUAL = 1.5
"""Ratio of this distance to its median from which an image is listed."""
MAX_UNUSUAL = 12
FEATURES = "kd_efficientnet_lite0"
"""Metric whose features measure distances."""
MIN_IMAGES = 2 * NEIGHBOUR
BATCH = 256


@dataclass(frozen=True, slots=True)
class UnusualImage:
    """An image far from all others. `ratio`: of its distance to that of a usual image."""

    path: str
    ratio: float


@dataclass(frozen=True, slots=True)
class SplitLeak:
    """An image of one split that is the same as one of another split, or nearly. `exact`: equal pixels."""

    first: str
    second: str
    splits: tuple[str, str]
    exact: bool


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """Summary of a set of images.

    `kinds`: number of images per extension. `bytes`: of all files. `sizes`: number of images per (width, height), most
    frequent first; `aspects`: smallest, median and largest width / height. `deep`: number of images of more than 8 bits
    a channel. `splits`, `classes`: number of images per split and per label. `copies`, `near_copies`: groups of images
    of equal pixels, and of nearly identical ones that are not equal. `leaks`: between splits. `unusual`: most unusual
    first. `cropped`, `enlarged`, `shrunk`: numbers of images; `crop_loss`, `largest_crop_loss`: the share of an image
    that the centre crop removes, on average over those that are cropped and at most, with `largest_crop_loss_path`.
    """

    images: int
    kinds: Mapping[str, int]
    bytes: int
    sizes: Mapping[tuple[int, int], int]
    aspects: tuple[float, float, float]
    deep: int
    splits: Mapping[str, int]
    classes: Mapping[str, int]
    copies: tuple[tuple[str, ...], ...]
    near_copies: tuple[tuple[str, ...], ...]
    leaks: tuple[SplitLeak, ...]
    unusual: tuple[UnusualImage, ...]
    cropped: int
    enlarged: int
    shrunk: int
    crop_loss: float
    largest_crop_loss: float
    largest_crop_loss_path: str
    damaged: Mapping[str, str]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return {
            "images": self.images,
            "kinds": dict(self.kinds),
            "bytes": self.bytes,
            "sizes": [[width, height, count] for (width, height), count in self.sizes.items()],
            "aspects": list(self.aspects),
            "deep": self.deep,
            "splits": dict(self.splits),
            "classes": dict(self.classes),
            "copies": [list(group) for group in self.copies],
            "near_copies": [list(group) for group in self.near_copies],
            "leaks": [
                {"images": [leak.first, leak.second], "splits": list(leak.splits), "exact": leak.exact}
                for leak in self.leaks
            ],
            "unusual": [{"image": image.path, "ratio": round(image.ratio, 3)} for image in self.unusual],
            "cropped": self.cropped,
            "enlarged": self.enlarged,
            "shrunk": self.shrunk,
            "crop_loss": round(self.crop_loss, 4),
            "largest_crop_loss": round(self.largest_crop_loss, 4),
            "damaged": dict(self.damaged),
            "left_out": dict(self.left_out),
        }


def summarise_images(inspection: Inspection) -> ImageSummary:
    """Summarise a set of images."""
    images = inspection.images
    sized = [image for image in images if image.width]
    sizes = Counter((image.width, image.height) for image in sized)
    aspects = sorted(image.width / image.height for image in sized) or [1.0]
    losses = [(loss, image.path) for image in sized if (loss := _crop_loss(image, inspection.sides))]
    largest_crop_loss, largest_path = max(losses, default=(0.0, ""))
    choose = min if inspection.fit == "pad" else max  # as image_folder counts
    new = inspection.sides
    scales = [choose(new.width / image.width, new.height / image.height) for image in sized]
    copies, near_copies = _find_copies(images)
    return ImageSummary(
        images=len(images),
        kinds=dict(Counter(image.kind for image in images).most_common()),
        bytes=sum(image.bytes for image in images),
        sizes=dict(sizes.most_common()),
        aspects=(aspects[0], statistics.median(aspects), aspects[-1]),
        deep=sum(image.is_deep for image in images),
        splits=dict(Counter(image.split for image in images if image.split)),
        classes=dict(sorted(Counter(image.label for image in images if image.label).items())),
        copies=copies,
        near_copies=near_copies,
        leaks=_find_leaks(images),
        unusual=_find_unusual(inspection),
        cropped=len(losses),
        enlarged=sum(scale > 1 for scale in scales),
        shrunk=sum(scale < 1 for scale in scales),
        crop_loss=statistics.fmean(loss for loss, _ in losses) if losses else 0.0,
        largest_crop_loss=largest_crop_loss,
        largest_crop_loss_path=largest_path,
        damaged=inspection.damaged,
        left_out=inspection.left_out,
    )


def _crop_loss(image: InspectedImage, sides: ImageSides) -> float:
    """Return the share of an image outside of the largest central rectangle of the shape of the target."""
    width, height = image.width * sides.height, image.height * sides.width
    return 1 - min(width, height) / max(width, height)


def _find_copies(
    images: Sequence[InspectedImage],
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Return groups of images of equal pixels, and of nearly identical images, one of each group of equal ones."""
    equal: dict[str, list[str]] = defaultdict(list)
    near: dict[str, dict[str, str]] = defaultdict(dict)
    for image in images:
        equal[image.content].append(image.path)
        near[image.group].setdefault(image.content, image.path)
    copies = tuple(tuple(sorted(paths, key=lambda path: (len(path), path))) for paths in equal.values() if paths[1:])
    return copies, tuple(tuple(paths.values()) for paths in near.values() if len(paths) > 1)


def _find_leaks(images: Sequence[InspectedImage]) -> tuple[SplitLeak, ...]:
    """Return pairs of equal or nearly identical images in two splits: one pair for each image of the later split."""
    groups: dict[str, dict[str, list[InspectedImage]]] = defaultdict(lambda: defaultdict(list))
    for image in images:
        if image.split:
            groups[image.group][image.split].append(image)
    leaks = []
    for group in groups.values():
        order = sorted(group, key=lambda split: split != "train")
        for first, second in combinations(order, 2):
            for image in group[second]:
                partner = next((other for other in group[first] if other.content == image.content), group[first][0])
                exact = partner.content == image.content
                leaks.append(SplitLeak(partner.path, image.path, (first, second), exact))
    return tuple(leaks)


def _find_unusual(inspection: Inspection) -> tuple[UnusualImage, ...]:
    """Return the images that are far from all others in the features of a network, the farthest first."""
    count = len(inspection.images)
    if count < MIN_IMAGES:
        return ()
    places = list(range(0, count, -(-count // MAX_COMPARED)))
    distances = _neighbour_distances(_compute_features(inspection, places))
    usual = float(distances.median())
    ratios = (distances / usual).tolist() if usual > 0 else [1.0] * len(places)
    order = sorted(range(len(places)), key=lambda place: -ratios[place])[:MAX_UNUSUAL]
    return tuple(
        UnusualImage(inspection.images[places[place]].path, ratios[place]) for place in order if ratios[place] > UNUSUAL
    )


def _compute_features(inspection: Inspection, places: Sequence[int]) -> Tensor:
    """Return the features of images at these places: (N, D)."""
    metric: FeatureMetric = catalog.build("metrics", FEATURES, {})
    parts = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    with torch.no_grad():
        return torch.cat([metric.features(inspection.pixels(part)) for part in parts])


def _neighbour_distances(features: Tensor) -> Tensor:
    """Return the distance of each of the features (N, D) to its neighbour number NEIGHBOUR: (N,)."""
    distances = [torch.cdist(part, features).kthvalue(NEIGHBOUR + 1, dim=1).values for part in features.split(BATCH)]
    return torch.cat(distances)
