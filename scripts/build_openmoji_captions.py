"""Rebuild equipoise/data/openmoji_captions.txt: a caption for most emoji of openmoji.npz, from their Unicode names.

    python scripts/build_openmoji_captions.py

The caption of an emoji is the names of its characters in lower case, words separated by single spaces: 1F34E is "red
apple", 1F469-200D-1F680 "woman rocket". Joiners and variation selectors are not named. Emoji without a caption: those
with a character that Unicode does not name, which are OpenMoji's own, and those with tag characters, whose names spell
a region letter by letter.

Names are those of the Unicode version of the interpreter, `unicodedata.unidata_version`, so that a later Python names
more of them; the file was built with Python 3.11, Unicode 14.0.0, and changes only if this script is run again.
"""

import hashlib
import re
import unicodedata
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "equipoise" / "data"
TARGET = DATA / "openmoji_captions.txt"
JOINERS = ("200D", "FE0F")
TAGS = range(0xE0000, 0xE0080)


def caption(code: str) -> str | None:
    """Return the caption of an emoji by its code, such as "1F469-200D-1F680"; None if it gets none."""
    characters = [int(part, 16) for part in code.split("-") if part not in JOINERS]
    names = [unicodedata.name(chr(character), None) for character in characters]
    if any(name is None for name in names) or any(character in TAGS for character in characters):
        return None
    return " ".join(re.findall(r"[a-z0-9]+", " ".join(name or "" for name in names).lower()))


def main() -> None:
    with np.load(DATA / "openmoji.npz", allow_pickle=False) as arrays:
        codes = [code.decode() for code in arrays["codes"]]
    captions = {code: text for code in codes if (text := caption(code))}
    header = (
        f"# Names of Unicode {unicodedata.unidata_version}, in the order of openmoji.npz; see OPENMOJI-LICENSE.txt\n"
    )
    content = (header + "".join(f"{code}\t{text}\n" for code, text in captions.items())).encode()
    TARGET.write_bytes(content)
    words = {word for text in captions.values() for word in text.split()}
    print(f"{len(captions)} of {len(codes)} emoji, {len(set(captions.values()))} distinct captions, {len(words)} words")
    print(f"{TARGET.name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print("If the digest changed, update it in equipoise/data/_emoji_captions.py.")


if __name__ == "__main__":
    main()
