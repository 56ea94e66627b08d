"""BLEU of many sentences against many references (Papineni 2002), with each reference n-gram counted once.

Equal to nltk.translate.bleu_score with smoothing method 1 of Chen and Cherry 2014, to the last digits. nltk compares
every sentence with every reference, which takes days for 10,000 samples against each other; this takes seconds. For
each n-gram it suffices to store the two references that contain it most often, so that one reference can be excluded.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Sentence = Sequence[int]
Gram = tuple[int, ...]

EPSILON = 0.1
"""Numerator of an n-gram precision without hits (Chen and Cherry 2014, method 1; nltk's default)."""


@dataclass(frozen=True, slots=True)
class NgramCount:
    """The highest `count` of an n-gram in one reference, its index `owner`, and the second highest count `next`."""

    count: int
    owner: int
    next: int


@dataclass(frozen=True, slots=True)
class ReferenceNgrams:
    """N-gram counts of references: `grams[n - 1]` for n-grams. `lengths`: number of references of each length."""

    grams: tuple[dict[Gram, NgramCount], ...]
    lengths: Counter[int]

    @classmethod
    def build(cls, sentences: Sequence[Sentence], order: int) -> "ReferenceNgrams":
        """Count the n-grams of references up to `order`."""
        result: tuple[dict[Gram, NgramCount], ...] = tuple({} for _ in range(order))
        for owner, sentence in enumerate(sentences):
            for grams, counts in zip(result, count_ngrams(sentence, order), strict=True):
                for gram, count in counts.items():
                    highest = grams.get(gram)
                    if highest is None:
                        grams[gram] = NgramCount(count, owner, 0)
                    elif count > highest.count:
                        grams[gram] = NgramCount(count, owner, highest.count)
                    elif count > highest.next:
                        grams[gram] = NgramCount(highest.count, highest.owner, count)
        return cls(result, Counter(map(len, sentences)))

    def bleu(self, sentence: Sentence, owner: int | None = None) -> float:
        """Return BLEU of one sentence, in [0, 1]; the reference `owner`, the sentence itself, is excluded."""
        logarithms = []
        for n, counts in enumerate(count_ngrams(sentence, len(self.grams))):
            hits = sum(min(count, self._highest_count(n, gram, owner)) for gram, count in counts.items())
            if n == 0 and not hits:
                return 0.0
            logarithms.append(math.log((hits or EPSILON) / max(1, counts.total())))
        return self._brevity(len(sentence), owner is not None) * math.exp(math.fsum(logarithms) / len(logarithms))

    def _highest_count(self, n: int, gram: Gram, owner: int | None) -> int:
        highest = self.grams[n].get(gram)
        if highest is None:
            return 0
        return highest.next if highest.owner == owner else highest.count

    def _brevity(self, length: int, excludes_itself: bool) -> float:
        """Return the brevity penalty, below 1 for a sentence shorter than the reference of the nearest length.

        Of two nearest lengths, the shorter one is used.
        """
        lengths = (other for other, count in self.lengths.items() if count > (excludes_itself and other == length))
        nearest = min(lengths, key=lambda other: (abs(other - length), other))
        return 1.0 if length > nearest else math.exp(1 - nearest / length)


def count_ngrams(sentence: Sentence, order: int) -> Iterator[Counter[Gram]]:
    """Yield the counts of the n-grams of a sentence, for n from 1 to `order`."""
    for n in range(1, order + 1):
        yield Counter(tuple(sentence[start : start + n]) for start in range(len(sentence) - n + 1))
