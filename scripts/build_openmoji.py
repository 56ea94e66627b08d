"""Rebuild equipoise/data/openmoji.npz: emoji of 64 x 64 pixels in colour, each with its outline drawing.

    npm pack openmoji@17.0.0
    pip install resvg-py==0.5.0
    python scripts/build_openmoji.py openmoji-17.0.0.tgz

Source: OpenMoji 17.0.0, the open-source emoji and icon project, https://openmoji.org, CC BY-SA 4.0, which has a colour
and a black drawing of every emoji. Both are rendered on white. Of the 4,495 emoji

    2,195 remain without skin tones (the yellow version is kept) and without the group `flags`, whose outlines are
          empty boxes;
    2,164 remain without the 31 that have no colour: their two drawings are identical, including transparency.

A tenth is held out, selected by the SHA-256 of the code, so the selection is stable in later versions of OpenMoji.
Nearly identical emoji are in the same split: those whose codes differ only by gender and direction, and those whose
colour pictures have a mean absolute difference below 4 of 255 (clocks, plain faces, keycaps); the smallest code decides
for the group.

Arrays, training samples first: `colour` uint8 (N, 64, 64, 3), `outline` uint8 (N, 64, 64), `labels` uint8 (N,),
`codes` bytes (N,), `groups` bytes (K,) the names of the labels, `held_out` (), the number of held-out samples at the
end. Takes about half a minute. The output is deterministic; another build of zlib may compress it differently.
"""

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
import torch
from numpy.typing import NDArray
from PIL import Image

TARGET = Path(__file__).parents[1] / "equipoise" / "data" / "openmoji.npz"
ARCHIVE_DIGEST = "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68"
SIZE = 64
HELD_OUT = 0.1
NEARLY_IDENTICAL = 4.0

JOINERS = ("200D", "FE0F")
GENDERS_AND_DIRECTIONS = ("2640", "2642", "27A1")
PEOPLE = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2", "1F474": "1F9D3", "1F475": "1F9D3"}
"""Man and woman become person, boy and girl child, old man and woman older person (Unicode, emoji-zwj-sequences)."""

Pixels = NDArray[np.uint8]


def render(svg: bytes) -> Pixels:
    """Render a drawing as (64, 64, 4) uint8 with transparency."""
    content = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=SIZE, height=SIZE, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(content))).convert("RGBA"))


def on_white(picture: Pixels) -> Pixels:
    """Compose a picture (64, 64, 4) on white: (64, 64, 3)."""
    colour, opacity = picture[..., :3].astype(np.uint32), picture[..., 3:].astype(np.uint32)
    return ((colour * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def base(code: str) -> str:
    """Return the code of an emoji without gender and direction: 1F469-200D-1F680 -> 1F9D1-1F680."""
    parts = [part for part in code.split("-") if part not in (*JOINERS, *GENDERS_AND_DIRECTIONS)]
    return "-".join(PEOPLE.get(part, part) for part in parts)


def nearly_identical(colour: Pixels) -> Iterator[tuple[int, int]]:
    """Yield the pairs of pictures (N, 64, 64, 3) with a mean absolute difference below NEARLY_IDENTICAL.

    Differences of sums over 4 x 4 pixels are a lower bound, by the triangle inequality, and leave few pairs to compare.
    Sums of integers below 2^24 are exact in float32, so every machine finds the same pairs.
    """
    count = len(colour)
    sums = torch.from_numpy(colour.reshape(count, 16, 4, 16, 4, 3).sum(axis=(2, 4), dtype=np.float32)).flatten(1)
    bound = NEARLY_IDENTICAL * colour[0].size
    for first in range(count):
        for step in ((sums[first + 1 :] - sums[first]).abs().sum(dim=1) < bound).nonzero().flatten().tolist():
            second = first + 1 + step
            if np.abs(colour[first].astype(np.int64) - colour[second]).sum() < bound:
                yield first, second


def leaders(codes: list[str], colour: Pixels) -> list[str]:
    """Return for each emoji the smallest code in its group of nearly identical ones."""
    leader = list(range(len(codes)))

    def root(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    def join(first: int, second: int) -> None:
        smaller, larger = sorted((root(first), root(second)))
        leader[larger] = smaller

    first_by_base: dict[str, int] = {}
    for index, code in enumerate(codes):
        join(index, first_by_base.setdefault(base(code), index))
    for first, second in nearly_identical(colour):
        join(first, second)
    smallest: dict[int, str] = {}
    for index, code in enumerate(codes):
        smallest[root(index)] = min(code, smallest.get(root(index), code))
    return [smallest[root(index)] for index in range(len(codes))]


def is_held_out(code: str) -> bool:
    """Whether the first 32 bits of the SHA-256 of the code, divided by 2^32, are below a tenth."""
    return int.from_bytes(hashlib.sha256(code.encode()).digest()[:4]) < HELD_OUT * 2**32


def unpack(archive: bytes) -> dict[str, bytes]:
    """Return the files of an npm package by name, read in the order of the archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        members = ((member.name.removeprefix("package/"), package.extractfile(member)) for member in package)
        return {name: file.read() for name, file in members if file is not None}


def pairs(files: dict[str, bytes]) -> dict[str, NDArray[Any]]:
    """Return the arrays of the file."""
    emoji = [
        entry
        for entry in json.loads(files["data/openmoji.json"])
        if entry["group"] != "flags" and not entry["skintone"]
    ]
    print(f"{len(emoji)} without skin tones and flags")
    drawings = [
        tuple(render(files[f"{kind}/svg/{entry['hexcode']}.svg"]) for kind in ("color", "black")) for entry in emoji
    ]
    coloured = [index for index, (colour, black) in enumerate(drawings) if (colour != black).any()]
    print(f"{len(coloured)} with colour")
    emoji = [emoji[index] for index in coloured]
    colour = np.stack([on_white(drawings[index][0]) for index in coloured])
    outline = np.stack([on_white(drawings[index][1]) for index in coloured])
    if (outline != outline[..., :1]).any():
        raise SystemExit("an outline has a colour")
    codes = [entry["hexcode"] for entry in emoji]
    held_out = np.array([is_held_out(leader) for leader in leaders(codes, colour)])
    order = np.argsort(held_out, kind="stable")
    groups = sorted({entry["group"] for entry in emoji})
    labels = np.array([groups.index(entry["group"]) for entry in emoji], np.uint8)
    print(f"{held_out.sum()} held out")
    return {
        "colour": colour[order],
        "outline": outline[order, :, :, 0],
        "labels": labels[order],
        "codes": np.array([code.encode() for code in codes])[order],
        "groups": np.array([group.encode() for group in groups]),
        "held_out": np.array(held_out.sum(), np.int64),
    }


def compress(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a compressed .npz without time stamps."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return file.getvalue()


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    archive = Path(sys.argv[1]).read_bytes()
    if hashlib.sha256(archive).hexdigest() != ARCHIVE_DIGEST:
        raise SystemExit(f"{sys.argv[1]} is not openmoji 17.0.0: its SHA-256 differs")
    content = compress(pairs(unpack(archive)))
    TARGET.write_bytes(content)
    print(f"{TARGET.name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print("If the digest changed, update it in equipoise/data/openmoji.py.")


if __name__ == "__main__":
    main()
