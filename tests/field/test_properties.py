"""Properties of reading, over generated folders and archives of any formats, sizes, depths, damage and names."""

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from equipoise.core import catalog
from equipoise.core.data import DataSet, Preparation
from equipoise.core.files import is_junk
from equipoise.errors import EquipoiseError
from equipoise.experiment.data_source import parse_data_source

MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "bmp": ("1", "L", "P", "RGB"),
    "gif": ("L", "P", "RGB"),
    "tif": ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "webp": ("RGB", "RGBA"),
}
FORMATS = {"jpg": "JPEG", "tif": "TIFF"}


class InputFile(NamedTuple):
    """A generated file. `is_image`: whether it should count as an image, readable or not."""

    path: str
    content: bytes
    is_image: bool


def encode_picture(ending: str, mode: str, width: int, height: int, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    if mode == "I;16":
        picture = Image.fromarray(generator.integers(0, 4096, (height, width), np.uint16))
    elif mode == "F":
        picture = Image.fromarray(generator.normal(1000, 300, (height, width)).astype(np.float32))
    else:
        picture = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
    file = io.BytesIO()
    picture.save(file, FORMATS.get(ending, ending.upper()))
    return file.getvalue()


def encode_array(kind: str, side: int, seed: int) -> bytes:
    values = np.random.default_rng(seed).random((side, side, 3))
    file = io.BytesIO()
    np.save(file, {"uint8": (255 * values).astype(np.uint8), "float": values.astype(np.float32)}[kind])
    return file.getvalue()


def damage(content: bytes, kind: str, at: float) -> bytes:
    place = int(at * len(content))
    match kind:
        case "cut":
            return content[:place]
        case "flip":
            return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :] if content else content
        case "zero":
            return content[:place] + bytes(len(content) - place)
        case _:
            return content


words = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda text: text.strip(". ") == text and len(text.encode()) < 60
)
folders = st.lists(words | st.sampled_from(["train", "valid", "Test", "00000", "images"]), max_size=2)
damages = st.sampled_from(["none"] * 9 + ["cut", "flip", "zero"])


@st.composite
def pictures(draw: st.DrawFn) -> InputFile:
    ending = draw(st.sampled_from([*MODES, "npy"]))
    seed, width, height = draw(st.integers(0, 5)), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if ending == "npy":
        content = encode_array(draw(st.sampled_from(["uint8", "float"])), max(2, width), seed)
    else:
        content = encode_picture(ending, draw(st.sampled_from(MODES[ending])), width, height, seed)
    content = damage(content, draw(damages), draw(st.floats(0, 0.99)))
    name = draw(words) + "." + draw(st.sampled_from([ending, ending.upper()]))
    return InputFile("/".join([*draw(folders), name]), content, True)


@st.composite
def others(draw: st.DrawFn) -> InputFile:
    name = draw(st.sampled_from(["notes.docx", "Thumbs.db", "clip.mp4", ".DS_Store", "raw.cr2", "._a.png"]))
    return InputFile("/".join([*draw(folders), name]), draw(st.binary(max_size=64)), False)


def unique(files: list[InputFile]) -> list[InputFile]:
    """Return the files whose paths can exist together, on any system."""
    result: dict[str, InputFile] = {}
    for file in files:
        key = file.path.casefold()
        is_free = not any(key == old or key.startswith(f"{old}/") or old.startswith(f"{key}/") for old in result)
        if is_free:
            result[key] = file
    return list(result.values())


def write(files: list[InputFile], container: str, folder: Path) -> Path:
    if container == "folder":
        for file in files:
            path = folder / "input" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        return folder / "input"
    if container == "zip":
        with zipfile.ZipFile(folder / "input.zip", "w") as archive:
            for file in files:
                archive.writestr(file.path, file.content)
        return folder / "input.zip"
    with tarfile.open(folder / "input.tar", "w") as tar:
        for file in files:
            member = tarfile.TarInfo(file.path)
            member.size = len(file.content)
            tar.addfile(member, io.BytesIO(file.content))
    return folder / "input.tar"


def contents(path: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in (path, *path.rglob("*")) if each.is_file()}


def build(path: Path, cache: Path) -> DataSet:
    plug = parse_data_source(str(path)).with_options(cache=str(cache), image_size=8)
    data: DataSet = catalog.build("data", plug.name, plug.options)
    return data


def read(path: Path, cache: Path) -> list[Preparation] | EquipoiseError:
    """Return what is said while the data is prepared, or why it is refused."""
    try:
        return list(build(path, cache).prepare())
    except EquipoiseError as error:
        return error


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    files=st.lists(pictures(), min_size=1, max_size=14).flatmap(
        lambda images: st.lists(others(), max_size=3).map(lambda rest: unique([*images, *rest]))
    ),
    container=st.sampled_from(["folder", "folder", "zip", "tar"]),
)
def test_reading_is_complete_repeatable_and_leaves_the_input_unchanged(files: list[InputFile], container: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = write(files, container, folder)
        before = contents(path)
        first = read(path, folder / "cache")
        assert contents(path) == before, "the input is unchanged"
        if isinstance(first, EquipoiseError):
            assert "\n" not in str(first)
            return
        resolved = build(path, folder / "cache").resolve()

        skipped = resolved.skipped()
        in_use = (resolved.count("train") or 0) + (resolved.count("held_out") or 0)
        counted = [file for file in files if not is_junk(file.path)]
        images = sum(file.is_image for file in counted)
        assert in_use + len(skipped.keys() & {file.path for file in counted if file.is_image}) == images
        assert {file.path for file in counted if not file.is_image} <= skipped.keys()
        assert all(skipped.values()), "each file that is left out has a reason"
        assert any(step.note for step in first) or not skipped

        second = list(build(path, folder / "cache").prepare())
        assert all(step.note for step in second), "nothing is decoded twice"
        assert [step.note for step in second] == [step.note for step in first if step.note]
        assert build(path, folder / "cache").resolve() == resolved
