"""Captions of the emoji: names of Unicode, frozen into the package by `scripts/build_openmoji_captions.py`.

The vocabulary has the words of training captions. An emoji is left out if it has no caption, and a held-out one if no
word of its caption is known: neither can be asked for.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from equipoise.core.captions import Captions, split_words
from equipoise.core.digests import read_shipped
from equipoise.core.tokens import END, ENDING, Vocabulary
from equipoise.data._text import words_by_frequency

FILE = Path(__file__).with_name("openmoji_captions.txt")
DIGEST = "e1622bfc9fcaae8270c84418eaa6e7cf1998fdd1cd8c997be1567bf81518ee64"
LENGTH = 12
"""Words of the longest caption."""


class EmojiCaptions(NamedTuple):
    """Captions of emoji. `tokens`: (N, LENGTH) int64, in the order of the file of pictures.

    `train`, `held_out`: (M,) int64, rows of the emoji with a caption. `captions`: how they are written.
    """

    tokens: Tensor
    train: Tensor
    held_out: Tensor
    captions: Captions


def emoji_captions(codes: tuple[str, ...], border: int) -> EmojiCaptions:
    """Return the captions of emoji by their codes; `border`: number of training emoji, which come first.

    Cached; do not modify. Raises DataError if the shipped file is missing or damaged.
    """
    return _captions(codes, border)


@lru_cache(maxsize=1)
def _captions(codes: tuple[str, ...], border: int) -> EmojiCaptions:
    names = _read(FILE)
    texts = [names.get(code, "") for code in codes]
    words = words_by_frequency([split_words(text) for text in texts[:border]])
    vocabulary = Vocabulary((ENDING, *words))
    tokens = Captions(vocabulary, LENGTH, ()).encode(texts)
    rows = (tokens[:, 0] != END).nonzero().flatten()
    train, held_out = rows[rows < border], rows[rows >= border]
    known = set(words)
    examples = tuple(texts[row] for row in held_out.tolist() if known.issuperset(split_words(texts[row])))
    return EmojiCaptions(tokens, train, held_out, Captions(vocabulary, LENGTH, examples))


def _read(file: Path) -> dict[str, str]:
    """Return code -> caption. Raises DataError if the file is not the shipped one."""
    content = read_shipped(file, DIGEST)
    lines = content.decode().splitlines()[1:]
    return {code: caption for code, _, caption in (line.partition("\t") for line in lines)}
