"""The name of a number in a line of a log: the words before it, back to the last separator.

"[200/500] D loss: 0.69" has "D loss", "FID score (Step: 94000): 71.6" has "FID score", "D: real 0.3" has "D real".
"""

import re
from typing import NamedTuple

from equipoise.diagnosis.columns.column_words import RATE, TRANSLATIONS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COUNTER_WORDS = _words(
    "epoch epochs ep step steps it iter iters iteration iterations itr batch batches minibatch kimg tick update updates"
    " episode nimg images global_step global_steps globalstep total_steps total_step total_batch total_iter total_iters"
    " niter n_iter gen_iterations cur_iter current_iter training_step"
) | {word for word, english in TRANSLATIONS.items() if english in ("epoch", "step")}
"""Last words of names that count, in lower case."""
UNIT_WORDS = _words(
    "s sec secs seconds ms min mins minutes h hrs hours days it/s s/it img/s imgs/s images/s samples/s mb gb mib gib "
    "s/step ms/step db"
)
_COUNTER_ADJECTIVES = _words("global total gen generator critic disc discriminator")
_VALUES = _words("no none true false yes off on null n/a cuda cpu ok done")
_FILLERS = _words("the a an of at in with and after by to is was has have got for info debug warning log")
_NO_FILLERS = frozenset({"A", "IS"})
"""Words that are none in capitals: "A loss" is that of the adversarial model, "IS" the inception score."""
_PREPOSITIONS = _words("at to from with by in for than over about and on or")
_LAST_FILLERS = _words("is was of equals at to")
_GENERIC = _words(
    "loss losses cost real fake total adv gan acc accuracy gp err error score mean cls fm adversarial sum penalty r1"
)
"""Names that say nothing without the heading before them: "D: real 0.3, fake 0.4"."""
_WRAPPER = re.compile(
    r"(?:<tf\.Tensor:[^>]*numpy=|(?:\b(?:tensor|array|Variable|(?:np|numpy|jnp|torch|tf)\.\w+|float\d*))\()[\[({ ]*$"
)
_MARK = re.compile(r"(?:\s*(?:[:=\uff1a]|->|\u2192)|\s+[-\u2013\u2014])\s*$")
_WORD = re.compile(
    r"(?<![\w.])[^\W\d](?:[\w.*'^#@&%+]|[/\\-](?=\w))*+"
    r"(?:\([^()]*+(?:\([^()]*+\)[^()]*+)*+\)|-?\[[^\[\]]*+\])*+[\w./]*+"
)
"""A word with the brackets attached to it, such as D(G(z)). All repetitions are possessive: none is retried."""
_SUFFIX = re.compile(r" (?:\d+|\([^()]*\))$")
"""What may follow the words of a name: "Loss 2", "time (data)"."""
_COLON = re.compile(r"\s*:\s*[\[({]*\s*$")
_BRACKETED = re.compile(r"(?:^|[\s,;\])])\[([^\W\d][\w./ -]*)\]$")
"""A name in brackets: "[l_gen] 1.938"."""
_WITHIN = re.compile(r"(?<=\w) \([\w. ]+\) $")
MAX_BRACKET_LENGTH = 24
"""A bracket within a name, "discr (scale 0.5) loss", and its largest number of characters."""
MAX_WORDS, MAX_HEADING_WORDS = 6, 3
_END_OF_HEADING = re.compile(r"[;|\]}]")
_LAST_WORD = re.compile(r"[\s/(.]")
_ALIGNED_WORD = re.compile(r"([^\W\d]\w*) {2,}$")
"""A word before a name that several spaces align: "Generator     loss"."""
_FIRST_WORD = re.compile(r"[\s(]")
LONGEST_NAME = 120
"""Characters before a number in which its name is searched."""


class NumberName(NamedTuple):
    """The name of a number, "" if it has none; whether ":", "=" or "-" follows it; the heading that holds from here."""

    name: str
    explicit: bool
    heading: str


def is_counter_name(name: str) -> bool:
    """Return whether a name counts, by its last word, or by its first one in "Iter(train)"."""
    lower = name.lower()
    if RATE.search(lower):
        return False
    if _LAST_WORD.split(lower.rstrip(")"))[-1] in COUNTER_WORDS:
        return True
    return "(" in lower and _FIRST_WORD.split(lower)[0] in COUNTER_WORDS


def find_name(line: str, content: int, start: int, end: int, heading: str) -> NumberName:
    """Find the name of the number at `end`, in the text from `start`, the end of the number before it.

    `content`: where the message begins. `heading`: that of the numbers before, such as "D" in "D: real 0.3 fake 0.4".
    """
    gap = line[start:end]
    wrapper = _WRAPPER.search(gap)
    text = (gap[: wrapper.start()] if wrapper else gap).rstrip(" \t[({<'\"`*|#\u2502\u2503")
    stripped = text
    while mark := _MARK.search(stripped):
        stripped = stripped[: mark.start()]
    explicit = len(stripped) < len(text)
    if stripped.endswith("-") and is_counter_name(stripped.rstrip("-").rpartition(" ")[2]):
        stripped = stripped.rstrip("-")
    stripped = stripped.rstrip(" '\"`*\t")
    if bracketed := _BRACKETED.search(stripped):
        return _phrase(bracketed[1], False, explicit, heading)
    if stripped.endswith((")", "]")) and (opening := _opening(line, start + len(stripped) - 1)) < start:
        if not explicit or opening < content:
            return NumberName("", False, heading)
        return _phrase(line[content:opening].rstrip(), False, False, heading)._replace(explicit=True)
    return _phrase(stripped, gap[:1] in (" ", "\t") or gap.startswith("dB"), explicit, heading)


def _phrase(text: str, after_number: bool, explicit: bool, heading: str) -> NumberName:
    """Return the name at the end of a text; `after_number`: its first word may be the unit of another number."""
    text = text[-LONGEST_NAME:]
    words, before = _last_words(text, MAX_WORDS)
    if not words:
        return NumberName("", explicit, heading)
    while after_number and len(words) > 1 and words[0].lower() in UNIT_WORDS and not before.strip():
        del words[0]
    name = _select_words(words, explicit)
    if colon := _COLON.search(before):
        heading = " ".join(_last_words(before[: colon.start()], MAX_HEADING_WORDS)[0])
    elif _END_OF_HEADING.search(before):
        heading = ""
    elif name.lower() in _GENERIC and (aligned := _ALIGNED_WORD.search(before)):
        heading = aligned[1]
    if name.lower() in _GENERIC and heading and heading.lower() not in _FILLERS:
        name = f"{heading} {name}"
    return NumberName(name, explicit, heading)


def _last_words(text: str, most: int) -> tuple[list[str], str]:
    """Return the words at the end of a text that single spaces separate, and the text before them."""
    suffix = _SUFFIX.search(text)
    end = start = suffix.start() if suffix else len(text)
    words: list[str] = []
    for word in reversed(list(_WORD.finditer(text, 0, end))):
        if words and len(words) < most and (bracket := _WITHIN.search(text, max(0, start - MAX_BRACKET_LENGTH), start)):
            words.insert(0, bracket[0].strip())
            start = bracket.start() + 1
        if word.end() > start:  # in that bracket
            continue
        is_next = word.end() == start if not words else word.end() == start - 1 and text[word.end()] == " "
        if not is_next or len(words) == most:
            break
        words.insert(0, word[0])
        start = word.start()
    if words and suffix:
        words[-1] += suffix[0]
    return words, text[:start]


def _select_words(words: list[str], explicit: bool) -> str:
    """Return the words that name a number: without values of other names, fillers, and what precedes a counter."""
    while len(words) > 1 and words[0] not in _NO_FILLERS and words[0].lower().strip("[]()") in _VALUES | _FILLERS:
        del words[0]
    if not explicit and words[-1].lower() in _PREPOSITIONS:
        return ""
    while len(words) > 1 and words[-1].lower() in _LAST_FILLERS and words[-1] not in _NO_FILLERS:
        del words[-1]
    if words[-1].lower().strip(".#") in COUNTER_WORDS:
        first = -2 if len(words) > 1 and words[-2].lower() in _COUNTER_ADJECTIVES else -1
        words = words[first:]
    name = " ".join(words).strip(".:'\"`*#-+ ")
    is_filler = name.lower() in UNIT_WORDS | _FILLERS | _VALUES and name not in _NO_FILLERS
    return "" if not explicit and is_filler else name


def _opening(line: str, closing: int) -> int:
    """Return the place of the bracket that belongs to a closing one; -1 if there is none."""
    pairs = {")": "(", "]": "["}
    depth = 0
    for place in range(closing, -1, -1):
        if line[place] == line[closing]:
            depth += 1
        elif line[place] == pairs[line[closing]]:
            depth -= 1
            if not depth:
                return place
    return -1
