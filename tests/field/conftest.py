"""The same pictures in the forms in which people have them: folders, archives, arrays, depths, and damage."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Pictures = npt.NDArray[np.uint8]
"""Pictures (N, H, W, 3)."""

COUNT, SIDE = 24, 32


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """24 different colour pictures (24, 32, 32, 3): a bright disc on a gradient, from black to white."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    result = np.empty((COUNT, SIDE, SIDE, 3), np.uint8)
    for image in result:
        centre, colour = generator.uniform(0.3, 0.7, 2), generator.uniform(60, 255, 3)
        disc = (np.hypot(y - centre[0], x - centre[1]) < generator.uniform(0.2, 0.35))[:, :, None]
        image[:] = np.where(disc, colour, y[:, :, None] * generator.uniform(20, 120, 3))
        image[0, 0], image[-1, -1] = 0, 255
    return result


def png(image: npt.NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def numbered(pictures: Pictures) -> dict[str, bytes]:
    return {f"{number:03d}.png": png(image) for number, image in enumerate(pictures)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def plain(folder: Path, pictures: Pictures) -> Path:
    return write_files(folder / "plain", numbered(pictures))


def upscaled(folder: Path, pictures: Pictures) -> Path:
    """Every second picture four times as large, by repeating pixels."""
    sizes = [image if number % 2 else image.repeat(4, 0).repeat(4, 1) for number, image in enumerate(pictures)]
    return write_files(folder / "sizes", {f"{number:03d}.png": png(image) for number, image in enumerate(sizes)})


def transparent(folder: Path, pictures: Pictures) -> Path:
    """White pixels are transparent instead, with black below them."""
    files = {}
    for number, image in enumerate(pictures):
        is_white = (image == 255).all(axis=2)
        alpha = np.where(is_white, 0, 255).astype(np.uint8)[:, :, None]
        files[f"{number:03d}.png"] = png(np.concatenate([np.where(is_white[:, :, None], 0, image), alpha], axis=2))
    return write_files(folder / "transparent", files)


def turned(folder: Path, pictures: Pictures) -> Path:
    """Every third picture is stored rotated, with an Exif tag that says so."""
    for number, image in enumerate(pictures):
        path = folder / "turned" / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        if number % 3:
            Image.fromarray(image).save(path)
        else:
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(image).rotate(90).save(path, exif=exif)
    return folder / "turned"


def palette(folder: Path, pictures: Pictures) -> Path:
    """GIF files, whose palettes hold every colour of the pictures."""
    path = folder / "gif"
    path.mkdir()
    for number, image in enumerate(pictures):
        colours, indices = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
        picture = Image.fromarray(indices.reshape(SIDE, SIDE).astype(np.uint8), "L")
        picture.putpalette(colours.tobytes())
        picture.save(path / f"{number:03d}.gif")
    return path


def damaged(folder: Path, pictures: Pictures) -> Path:
    """One further file is cut off, and there is what cameras and systems leave."""
    files = {f"{number:03d}.png": png(image) for number, image in enumerate(pictures)}
    junk = {"Thumbs.db": b"x", "__MACOSX/._000.png": b"\0\5\x16\7", "@eaDir/S_000.png": files["000.png"], "a.mp4": b"x"}
    return write_files(folder / "damaged", {**files, "broken.png": files["001.png"][:60], **junk})


def zipped(folder: Path, pictures: Pictures) -> Path:
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for name, content in numbered(pictures).items():
            archive.writestr(f"pictures/{name}", content)
    return folder / "pictures.zip"


def _tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def tarred(folder: Path, pictures: Pictures) -> Path:
    return _tar(folder / "pictures.tar.gz", numbered(pictures))


def shards(folder: Path, pictures: Pictures) -> Path:
    """WebDataset: two shards of pictures with the class of each in a file of the same key."""
    (folder / "shards").mkdir()
    for shard in range(2):
        files = {}
        for number in range(shard, COUNT, 2):
            files |= {f"{number:03d}.png": png(pictures[number]), f"{number:03d}.cls": str(number % 3).encode()}
        _tar(folder / "shards" / f"{shard:06d}.tar", files)
    return folder / "shards"


def parquet(folder: Path, pictures: Pictures) -> Path:
    """The columns of Hugging Face: image {bytes, path} and label."""
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"bytes": content, "path": name} for name, content in numbered(pictures).items()]
    writer.write_table(
        arrow.table({"image": rows, "label": [number % 3 for number in range(COUNT)]}), folder / "a.parquet"
    )
    return folder / "a.parquet"


def array_nhwc(folder: Path, pictures: Pictures) -> Path:
    np.save(folder / "nhwc.npy", pictures)
    return folder / "nhwc.npy"


def array_unit_range(folder: Path, pictures: Pictures) -> Path:
    """(N, C, H, W) float in [0, 1]."""
    np.save(folder / "unit.npy", (pictures.transpose(0, 3, 1, 2) / 255).astype(np.float32))
    return folder / "unit.npy"


def array_symmetric(folder: Path, pictures: Pictures) -> Path:
    """(N, C, H, W) float in [-1, 1]."""
    np.save(folder / "symmetric.npy", (pictures.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32))
    return folder / "symmetric.npy"


def keyed_arrays(folder: Path, pictures: Pictures) -> Path:
    """The keys of MedMNIST; all pictures are for training."""
    labels = np.arange(COUNT)[:, None] % 3
    np.savez(folder / "medmnist.npz", train_images=pictures, train_labels=labels)
    return folder / "medmnist.npz"


def tiles(folder: Path, pictures: Pictures) -> Path:
    """An array file per picture, of floats in [0, 255]."""
    (folder / "tiles").mkdir()
    for number, image in enumerate(pictures):
        np.save(folder / "tiles" / f"{number:03d}.npy", image.astype(np.float32))
    return folder / "tiles"


def labelled(folder: Path, pictures: Pictures) -> Path:
    """StyleGAN's layout: numbered subfolders that are no classes, and dataset.json."""
    files = {f"{number // 12:05d}/img{number:08d}.png": png(image) for number, image in enumerate(pictures)}
    labels = [[name, number % 3] for number, name in enumerate(files)]
    return write_files(folder / "stylegan", {**files, "dataset.json": json.dumps({"labels": labels}).encode()})


def classes(folder: Path, pictures: Pictures) -> Path:
    files = {f"class{number % 3}/{number:03d}.png": png(image) for number, image in enumerate(pictures)}
    return write_files(folder / "classes", files)


def oddly_named(folder: Path, pictures: Pictures) -> Path:
    """Names with spaces, quotes, line breaks, escape characters, bytes that are not UTF-8; upper-case endings."""
    odd = ["a b.PNG", "ü'\".png", "line\nbreak.png", "\x1b[31mred.png", "-rf.png", "[bold].png", "%s{}.png"]
    files = numbered(pictures)
    for name, old in zip(odd, list(files), strict=False):
        files[name] = files.pop(old)
    path = write_files(folder / "odd", files)
    last = sorted(files)[-1]
    os.rename(os.fsencode(path / last), os.fsencode(path) + b"/caf\xe9.png")
    return path


KINDS: dict[str, tuple[Callable[[Path, Pictures], Path], int]] = {
    "plain": (plain, 0),
    "sizes": (upscaled, 0),
    "transparent": (transparent, 0),
    "turned": (turned, 0),
    "gif": (palette, 0),
    "damaged": (damaged, 0),
    "zip": (zipped, 0),
    "tar": (tarred, 0),
    "shards": (shards, 3),
    "parquet": (parquet, 3),
    "nhwc": (array_nhwc, 0),
    "unit": (array_unit_range, 0),
    "symmetric": (array_symmetric, 0),
    "medmnist": (keyed_arrays, 3),
    "tiles": (tiles, 0),
    "stylegan": (labelled, 3),
    "classes": (classes, 3),
    "odd_names": (oddly_named, 0),
}
"""Kind of input -> function that writes it, and the number of its classes."""


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, pictures: Pictures) -> dict[str, Path]:
    """The path of each kind of input."""
    folder = tmp_path_factory.mktemp("inputs")
    return {kind: write(folder, pictures) for kind, (write, _) in KINDS.items()}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of input."""
    result: str = request.param
    return result


@pytest.fixture
def num_classes(kind: str) -> int:
    """Return the number of classes of this kind of input."""
    return KINDS[kind][1]
