"""Numbers of a line of a log with their names: "[200/500] D loss: 0.69, acc.: 50% | D(G(z)): 0.4 / 0.2".

A number is named by the words before it (line_names.py). A second number under the same name gets the name and " 2"; a
number without a name that counts gets "#1", "#2", … by its position.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from equipoise.diagnosis.parsing.line_names import find_name, is_counter_name
from equipoise.diagnosis.parsing.line_tokens import Token, scan_line

_FOLLOWING = re.compile(
    r"\s*(iterations?|iters?|it|steps?|epochs?|batches|kimgs?|updates)\b(?!\s*[:=]?\s*[\[(#]?[-+]?\d)|it(?= \[\d)",
    re.IGNORECASE,
)
_LEVEL = re.compile(
    r"[^\n]{0,80}?\b(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|NOTICE)\b(?!\w)"
    r"(?:\][\]:|\s>-]*|:[\w.-]+:(?=[^\s\d+-])|[\]:|\s>-]+(?:[\w.<>]+:[\w<>]+:\d+ - )?)"
)
"""What logging modules print before the message: "2024-01-02 03:00:04,709 - root - INFO - ", "INFO:train:"."""
_GLOG = re.compile(r"[IWEFD]\d{4} [\d:.]+ +\d+ [^\]]*\] ")
_SOURCE = re.compile(r"[A-Za-z][\w.-]*[_-]\d+ +\| |\[\d+,\d+\]<std(?:out|err)>: ?")
"""What docker compose ("train_1  | ") and mpirun ("[1,0]<stdout>:") print before a line."""
_QUOTE = re.compile(r"(?:\s*>)+\s")
_SECOND = re.compile(r"\s*(?:/|\(|\u00b1|\+/-|\+-|->|\u2192)\s*[\[(]?\s*")
_OF = re.compile(r"\s*(?:/|of|out of)\s*")
_UNIT = re.compile(r" ?[A-Za-z]+(?:/[A-Za-z]+)?(?:[;,)]|$)")
_COLON = re.compile(r" ?[:=] ?")
_BRACKET_OPENS = re.compile(r"[^\W\d]\w* \((?:[^\W\d]\w* )?$")
_BRACKET_CLOSES = re.compile(r"\) (?:[^\W\d][\w.]* ?)+[:=] ?")
"""A bracket with a number within a name: "discr (scale 0.5) loss: "."""
_LETTER = re.compile(r"[^\W_]")
_LAST_WORD = re.compile(r"([^\W\d]\w*) ?$")
_BORDERS = " \t|*>\u2022\u2502\u2503"
"""Borders of tables and panels, and points of lists."""
_MARK_ALONE = re.compile(r"\s*[:=]\s*")
_AT_COUNTER = re.compile(r"(?<=\w) (?:at|for|in|after|of|@) [^\W\d]+ ?$")
"""A counter between a name and its number: "discriminator loss at step 100: 0.67"."""
_REOPENED = re.compile(r"\s*[\])]\s*[\[(]\s*")
_LIST = re.compile(r"\s*[,;:|]?\s*")
UNIX_TIME = 1e9
"""Whole numbers without a name from here on are times, not counters."""


class NamedNumber(NamedTuple):
    """A number of a line with its name. `token`: its place; `total`: the planned end in "3/200", as its token.

    `is_whole`: whether its digits are those of an integer.
    """

    name: str
    token: Token
    total: Token | None = None
    explicit: bool = False
    is_whole: bool = True

    @property
    def counts(self) -> bool:
        """Whether it is a counter, by its name or because its end is planned; without a name, a whole number is."""
        if self.name.startswith("#"):
            return self.is_whole
        if is_counter_name(self.name):
            return True
        return self.total is not None and "(" not in self.name


class ParsedLine(NamedTuple):
    """The tokens of a line, and the numbers among them that have a name."""

    tokens: tuple[Token, ...]
    numbers: tuple[NamedNumber, ...]


def parse_line(line: str, decimal_comma: bool = False) -> ParsedLine:
    """Find the numbers of a line and their names."""
    reading = _LineReading(line, list(scan_line(line, decimal_comma)))
    numbers = reading.named_numbers()
    return ParsedLine(tuple(reading.tokens), tuple(_unique(numbers)))


def _unique(numbers: Sequence[NamedNumber]) -> Iterator[NamedNumber]:
    """Yield the numbers with names that occur once; a whole list of unnamed ones counts, a single fraction does not."""
    counts: Counter[str] = Counter()
    for number in numbers:
        counts[number.name] += 1
        count = counts[number.name]
        if count > 1:
            number = number._replace(name=f"{number.name} {count}")
        yield number


class _LineReading:
    """The state of reading one line from left to right. `tokens`: without those that belong to a name."""

    def __init__(self, line: str, tokens: list[Token]) -> None:
        self.line = line
        self.tokens = tokens
        self.content = _content_start(line)
        self.unnamed = 0
        self.heading = ""
        self.list_open = False

    def named_numbers(self) -> list[NamedNumber]:
        """Return the numbers that have a name, or count."""
        result: list[NamedNumber] = []
        previous: NamedNumber | None = None
        end, index = self.content, 0
        while index < len(self.tokens):
            token = self.tokens[index]
            index += 1
            if token.start < self.content:
                continue
            if token.kind == "number" and self._numbers_a_name(token, index):
                index -= 1
                del self.tokens[index]
                continue
            if token.kind != "number":
                end, previous = token.end, previous if token.kind == "tensor" else None
                continue
            total, skipped = self._total(token, index)
            index += skipped
            named = self._name(token, total, end, previous)
            end = total.end if total else token.end + token.percent + (token.scale > 1)
            if following := self._following_counter(token, end, named):
                named = NamedNumber(following[1] or "it", token, total)
                end = following.end()
            previous = named
            if named and named.name:
                result.append(named)
        return [self._explicit_if_alone(number) for number in self._without_lone_fraction(result)]

    def _explicit_if_alone(self, number: NamedNumber) -> NamedNumber:
        """Return the number of a line that is nothing but a name and a number as one with an explicit name."""
        if sum(token.kind == "number" for token in self.tokens) > 1 or number.explicit or number.counts:
            return number
        before = self.line[self.content : number.token.start].strip(_BORDERS)
        is_alone = before == number.name and not self.line[number.token.end :].strip(_BORDERS)
        return number._replace(explicit=is_alone)

    def _total(self, token: Token, index: int) -> tuple[Token | None, int]:
        """Return the planned end of a counter, "200" in "3/200" or "3 of 200", and how many tokens it took."""
        if (
            index < len(self.tokens)
            and (after := self.tokens[index]).kind == "number"
            and _OF.fullmatch(self.line, token.end, after.start)
        ):
            first, last = self.line[token.start : token.end], self.line[after.start : after.end]
            words = first.replace(",", ""), last.replace(",", "")
            if all(word.isdecimal() for word in words) and int(words[0]) <= int(words[1]) + 1 and int(words[1]) > 0:
                return after, 1
        return None, 0

    def _numbers_a_name(self, token: Token, index: int) -> bool:
        """Return whether a number belongs to a name, such as 1 in "Loss 1: 0.5"; a counter is followed by no number."""
        if index == len(self.tokens) or self.tokens[index].kind != "number":
            return False
        between = self.line[token.end : self.tokens[index].start]
        if not _COLON.fullmatch(between):
            before = self.line[max(self.content, token.start - 30) : token.start]
            return bool(_BRACKET_OPENS.search(before) and _BRACKET_CLOSES.fullmatch(between))
        word = _LAST_WORD.search(self.line, max(self.content, token.start - 30), token.start)
        return word is not None and not is_counter_name(word[1])

    def _name(self, token: Token, total: Token | None, end: int, previous: NamedNumber | None) -> NamedNumber | None:
        """Return a number with its name; None if it has none."""
        gap = self.line[end : token.start]
        if previous and (second := self._second(token, gap, previous, total)):
            return second
        start, stop = end, token.start
        if previous and previous.counts and _MARK_ALONE.fullmatch(gap):
            before = _AT_COUNTER.search(self.line, self.content, previous.token.start)
            start, stop = (self.content, before.start()) if before else (start, stop)
        name, explicit, self.heading = find_name(self.line, self.content, start, stop, self.heading)
        explicit = explicit or stop < token.start
        self.list_open = gap.rstrip(" ").endswith(("[", "("))
        if name:
            return NamedNumber(name, token, total, explicit)
        return self._count(token, total, gap, end)

    def _second(self, token: Token, gap: str, previous: NamedNumber, total: Token | None) -> NamedNumber | None:
        """Return another number under the name of the previous one, as in "0.4 / 0.2", "2.9 (2.7)", "[2.3, 2.1]"."""
        is_second = _SECOND.fullmatch(gap) and not previous.total and token.percent <= previous.token.percent
        is_second = is_second and not _UNIT.match(self.line, token.end)
        in_list = self.list_open and _LIST.fullmatch(gap) and not total
        if not (is_second or in_list):
            return None
        self.list_open = in_list or gap.rstrip(" ").endswith(("[", "("))
        if not previous.name:
            return previous._replace(token=token)
        if previous.name.startswith("#"):
            self.unnamed += 1
            return NamedNumber(f"#{self.unnamed}", token, is_whole=self._is_whole(token))
        return NamedNumber(previous.name, token, None, previous.explicit)

    def _count(self, token: Token, total: Token | None, gap: str, end: int) -> NamedNumber | None:
        """Return a number without a name as "#1", … if it has a planned end, begins the line, or is in brackets."""
        word = self.line[token.start : token.end].replace(",", "")
        opened = gap.rstrip(" ").endswith(("[", "(", "{"))
        begins = end == self.content and not _LETTER.search(gap)
        bracketed = bool(_REOPENED.fullmatch(gap)) and self.unnamed + (total is None) > 0
        bracketed = bracketed or (gap == "-" and self.unnamed == 1)  # 0-12: epoch and batch
        is_whole = word.isdecimal() and float(word) < UNIX_TIME and not token.percent and token.scale == 1
        if not (total or (begins and (is_whole or opened)) or (bracketed and is_whole)) or token.percent:
            return NamedNumber("", token)
        self.unnamed += 1
        return NamedNumber(f"#{self.unnamed}", token, total, is_whole=self._is_whole(token))

    def _is_whole(self, token: Token) -> bool:
        return self.line[token.start : token.end].replace(",", "").isdecimal()

    def _following_counter(self, token: Token, end: int, named: NamedNumber | None) -> re.Match[str] | None:
        """Return the match of a counter word after a whole number, as in "107 iterations"."""
        if named and named.name and (named.explicit or is_counter_name(named.name)) and not named.name.startswith("#"):
            return None
        return _FOLLOWING.match(self.line, end) if self.line[token.start : token.end].isdecimal() else None

    def _without_lone_fraction(self, numbers: list[NamedNumber]) -> list[NamedNumber]:
        """Leave out a single number without a name that is not whole, such as a time in brackets."""
        unnamed = [number for number in numbers if number.name.startswith("#")]
        if len(unnamed) == 1:
            token = unnamed[0].token
            if not self.line[token.start : token.end].replace(",", "").isdecimal():
                numbers.remove(unnamed[0])
        return numbers


def _content_start(line: str) -> int:
    """Return where the message begins after the time and level of a logging module, and the marks of a quotation."""
    source = _SOURCE.match(line)
    start = source.end() if source else 0
    match = _LEVEL.match(line, start) or _GLOG.match(line, start) or _QUOTE.match(line, start)
    return match.end() if match else start
