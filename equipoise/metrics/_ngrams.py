"""BLEU of many sentences against many references (Papineni 2002), each n-gram of the references looked at once.

As nltk.translate.bleu_score has it, with smoothing method 1 of Chen and Cherry 2014, to the last digits. nltk compares
every sentence with every reference, so that 10,000 samples against each other would take days; here it takes seconds:
of each n-gram it is enough to know the two references that hold it most often, so that a sentence can be left out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Sentence = Sequence[int]
Gram = tuple[int, ...]

EPSILON = 0.1
"""Stands for an n-gram precision of no hit (Chen and Cherry 2014, method 1; nltk's default)."""


@dataclass(frozen=True, slots=True)
class Most:
    """How often the reference `owner` holds an n-gram, more often than all others, and how often the next one does."""

    count: int
    owner: int
    next: int


@dataclass(frozen=True, slots=True)
class References:
    """`grams[n - 1]`: of each n-gram, how often references hold it. `lengths`: how many there are of each length."""

    grams: tuple[dict[Gram, Most], ...]
    lengths: Counter[int]

    @classmethod
    def of(cls, sentences: Sequence[Sentence], order: int) -> "References":
        """What is to be known of references for BLEU up to n-grams of `order`."""
        result: tuple[dict[Gram, Most], ...] = tuple({} for _ in range(order))
        for owner, sentence in enumerate(sentences):
            for known, counts in zip(result, counted(sentence, order), strict=True):
                for gram, count in counts.items():
                    most = known.get(gram)
                    if most is None:
                        known[gram] = Most(count, owner, 0)
                    elif count > most.count:
                        known[gram] = Most(count, owner, most.count)
                    elif count > most.next:
                        known[gram] = Most(most.count, most.owner, count)
        return cls(result, Counter(map(len, sentences)))

    def bleu(self, sentence: Sentence, owner: int | None = None) -> float:
        """BLEU of one sentence, in [0, 1]; the reference `owner`, which it is itself, is left out."""
        logarithms = []
        for n, counts in enumerate(counted(sentence, len(self.grams))):
            hits = sum(min(count, self._most(n, gram, owner)) for gram, count in counts.items())
            if n == 0 and not hits:
                return 0.0
            logarithms.append(math.log((hits or EPSILON) / max(1, counts.total())))
        return self._brevity(len(sentence), owner is not None) * math.exp(math.fsum(logarithms) / len(logarithms))

    def _most(self, n: int, gram: Gram, owner: int | None) -> int:
        most = self.grams[n].get(gram)
        if most is None:
            return 0
        return most.next if most.owner == owner else most.count

    def _brevity(self, length: int, one_is_itself: bool) -> float:
        """1, or less for a sentence shorter than the reference nearest in length, of two the shorter one."""
        there = (other for other, count in self.lengths.items() if count > (one_is_itself and other == length))
        nearest = min(there, key=lambda other: (abs(other - length), other))
        return 1.0 if length > nearest else math.exp(1 - nearest / length)


def counted(sentence: Sentence, order: int) -> Iterator[Counter[Gram]]:
    """How often a sentence holds each of its n-grams, for n from 1 to `order`."""
    for n in range(1, order + 1):
        yield Counter(tuple(sentence[start : start + n]) for start in range(len(sentence) - n + 1))
