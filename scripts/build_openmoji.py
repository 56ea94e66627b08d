"""Rebuild equipoise/data/openmoji.npz: emoji of 64 x 64 pixels in colour, each with its outline drawing.

    npm pack openmoji@17.0.0
    pip install resvg-py==0.5.0
    python scripts/build_openmoji.py openmoji-17.0.0.tgz

Source: OpenMoji 17.0.0, the open-source emoji and icon project, https://openmoji.org, CC BY-SA 4.0, which has a colour
and a black drawing of every emoji. Both are drawn on white. Of the 4,495 emoji

    2,195 are left without skin tones (the yellow one of each stays) and without the group `flags`, whose outlines
          are empty boxes;
    2,164 are left without the 31 that have no colour: their two drawings are the same, transparency included.

Held out is a tenth, by the SHA-256 of a code, which a later version of OpenMoji leaves as it is. Emoji that look nearly
alike lie on the same side: those whose codes differ by gender and direction only, and those whose colour pictures
differ by less than 4 of 255 in the mean over all numbers (clocks, plain faces, keycaps); the smallest code decides for
all of them.

Arrays, those to train on first: `colour` uint8 (N, 64, 64, 3), `outline` uint8 (N, 64, 64), `labels` uint8 (N,),
`codes` bytes (N,), `groups` bytes (K,) the names of the labels, `held_out` (), how many at the end are held out.
Takes about half a minute. Every run writes the same bytes; another build of zlib may compress them differently.
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
NEARLY_ALIKE = 4.0

JOINERS = ("200D", "FE0F")
GENDERS_AND_DIRECTIONS = ("2640", "2642", "27A1")
PEOPLE = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2", "1F474": "1F9D3", "1F475": "1F9D3"}
"""Man and woman are persons, boy and girl children, old man and woman older persons (Unicode, emoji-zwj-sequences)."""

Pixels = NDArray[np.uint8]


def drawn(svg: bytes) -> Pixels:
    """A drawing as (64, 64, 4) uint8, transparent where there is nothing."""
    content = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=SIZE, height=SIZE, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(content))).convert("RGBA"))


def on_white(picture: Pixels) -> Pixels:
    """A picture (64, 64, 4) laid upon white: (64, 64, 3)."""
    colour, opacity = picture[..., :3].astype(np.uint32), picture[..., 3:].astype(np.uint32)
    return ((colour * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def base(code: str) -> str:
    """The code of an emoji without what tells gender and direction: 1F469-200D-1F680 -> 1F9D1-1F680."""
    parts = [part for part in code.split("-") if part not in (*JOINERS, *GENDERS_AND_DIRECTIONS)]
    return "-".join(PEOPLE.get(part, part) for part in parts)


def nearly_alike(colour: Pixels) -> Iterator[tuple[int, int]]:
    """The pairs of pictures (N, 64, 64, 3) whose numbers differ by less than NEARLY_ALIKE in the mean.

    Sums over 4 x 4 pixels differ by at most as much, by the triangle inequality, and leave few pairs to look at.
    Sums of whole numbers below 2^24 are exact in float32, so that every machine finds the same pairs.
    """
    count = len(colour)
    sums = torch.from_numpy(colour.reshape(count, 16, 4, 16, 4, 3).sum(axis=(2, 4), dtype=np.float32)).flatten(1)
    bound = NEARLY_ALIKE * colour[0].size
    for one in range(count):
        for step in ((sums[one + 1 :] - sums[one]).abs().sum(dim=1) < bound).nonzero().flatten().tolist():
            other = one + 1 + step
            if np.abs(colour[one].astype(np.int64) - colour[other]).sum() < bound:
                yield one, other


def leaders(codes: list[str], colour: Pixels) -> list[str]:
    """For each emoji the smallest code among those that must lie on its side."""
    leader = list(range(len(codes)))

    def root(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        leader[second] = first

    seen: dict[str, int] = {}
    for index, code in enumerate(codes):
        join(index, seen.setdefault(base(code), index))
    for one, other in nearly_alike(colour):
        join(one, other)
    smallest: dict[int, str] = {}
    for index, code in enumerate(codes):
        smallest[root(index)] = min(code, smallest.get(root(index), code))
    return [smallest[root(index)] for index in range(len(codes))]


def is_held_out(code: str) -> bool:
    """Whether the first 32 bits of the code's SHA-256, as a share of 2^32, are below a tenth."""
    return int.from_bytes(hashlib.sha256(code.encode()).digest()[:4]) < HELD_OUT * 2**32


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of an npm package by name, read in the order in which they lie in it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opens = ((member.name.removeprefix("package/"), opened.extractfile(member)) for member in opened)
        return {name: file.read() for name, file in opens if file is not None}


def pairs(files: dict[str, bytes]) -> dict[str, NDArray[Any]]:
    """The arrays of the file."""
    emoji = [it for it in json.loads(files["data/openmoji.json"]) if it["group"] != "flags" and not it["skintone"]]
    print(f"{len(emoji)} without skin tones and flags")
    drawings = [tuple(drawn(files[f"{kind}/svg/{it['hexcode']}.svg"]) for kind in ("color", "black")) for it in emoji]
    kept = [index for index, (colour, black) in enumerate(drawings) if (colour != black).any()]
    print(f"{len(kept)} with colour")
    emoji = [emoji[index] for index in kept]
    colour = np.stack([on_white(drawings[index][0]) for index in kept])
    outline = np.stack([on_white(drawings[index][1]) for index in kept])
    if (outline != outline[..., :1]).any():
        raise SystemExit("an outline has a colour")
    codes = [it["hexcode"] for it in emoji]
    held_out = np.array([is_held_out(leader) for leader in leaders(codes, colour)])
    order = np.argsort(held_out, kind="stable")
    groups = sorted({it["group"] for it in emoji})
    labels = np.array([groups.index(it["group"]) for it in emoji], np.uint8)
    print(f"{held_out.sum()} held out")
    return {
        "colour": colour[order],
        "outline": outline[order, :, :, 0],
        "labels": labels[order],
        "codes": np.array([code.encode() for code in codes])[order],
        "groups": np.array([group.encode() for group in groups]),
        "held_out": np.array(held_out.sum(), np.int64),
    }


def packed(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The bytes of a compressed .npz without the time of its making."""
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
        raise SystemExit(f"{sys.argv[1]} is not openmoji 17.0.0: its SHA-256 is another one")
    content = packed(pairs(unpacked(archive)))
    TARGET.write_bytes(content)
    print(f"{TARGET.name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print("If the digest changed, put it into equipoise/data/openmoji.py.")


if __name__ == "__main__":
    main()
