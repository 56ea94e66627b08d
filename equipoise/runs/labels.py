"""Answers of a person who looks at samples: RUN/labels.jsonl, append-only, one answer per line.

    {"kind": "pair", "sample": "0/17", "a": 500, "b": 1000, "answer": "a", "time": 1764000000.0}
    {"kind": "mark", "sample": "0/17", "step": 1000, "answer": "keep", "time": 1764000000.0}

A pair shows the same latent at two steps, without the steps: which one is better, a, b or neither. A mark belongs to
one sample: keep, flaw, copy (of a training image), or none, which removes it. The latest answer to a question counts.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from equipoise.core.wilson_interval import wilson_interval
from equipoise.errors import RunError, SettingError, unwritable

LABELS_FILE = "labels.jsonl"
PairAnswer = Literal["a", "b", "neither"]
MarkAnswer = Literal["keep", "flaw", "copy", "none"]
SAMPLE_NAME = re.compile(r"\d{1,19}/\d{1,6}")
"""Name of a sample as on the command line: seed and number."""


@dataclass(frozen=True, slots=True)
class PairLabel:
    """Which of two steps has the better sample of one latent. `a`, `b`: steps. `time`: seconds since 1970."""

    sample: str
    a: int
    b: int
    answer: PairAnswer
    time: float = 0.0

    def __post_init__(self) -> None:
        _check(self.sample, self.answer, get_args(PairAnswer))
        if self.a == self.b:
            raise SettingError(f"both samples are of step {self.a}; compare two steps")


@dataclass(frozen=True, slots=True)
class MarkLabel:
    """The mark of one sample at one step. `time`: seconds since 1970."""

    sample: str
    step: int
    answer: MarkAnswer
    time: float = 0.0

    def __post_init__(self) -> None:
        _check(self.sample, self.answer, get_args(MarkAnswer))


Label = PairLabel | MarkLabel


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Answers for two steps. `share_a`: share of a among the decided ones, with its 95 % interval; None without any."""

    a: int
    b: int
    neither: int
    share_a: float | None
    low: float | None
    high: float | None


def read_labels(run: Path) -> list[Label]:
    """Read the labels of a run folder in order; an incomplete last line is left out.

    Raises RunError for a damaged line, and for a file that cannot be read.
    """
    return list(_read(run / LABELS_FILE))


def append_label(run: Path, label: Label) -> Label:
    """Append a label with the current time, and return it. Raises RunError if the file cannot be written."""
    from equipoise.runs.folders import hold  # imports numpy

    path = run / LABELS_FILE
    timed: Label
    if isinstance(label, PairLabel):
        timed = PairLabel(label.sample, label.a, label.b, label.answer, round(time.time(), 3))
    else:
        timed = MarkLabel(label.sample, label.step, label.answer, round(time.time(), 3))
    try:
        with hold(path, "try again", wait_until=lambda: False), path.open("ab+") as file:
            _remove_partial_line(file.fileno(), path)
            file.write(f"{json.dumps(_to_json(timed))}\n".encode())
    except OSError as error:
        raise RunError(unwritable(run, error)) from error
    return timed


def count_pairs(labels: Iterable[Label], a: int, b: int) -> PairCounts:
    """Count the answers for two steps, in whichever order they were stored; the latest answer for a latent counts."""
    answers = answered_pairs(labels, a, b)
    counts = {answer: sum(each == answer for each in answers.values()) for answer in get_args(PairAnswer)}
    decided = counts["a"] + counts["b"]
    if not decided:
        return PairCounts(0, 0, counts["neither"], None, None, None)
    low, high = wilson_interval(counts["a"], decided)
    return PairCounts(counts["a"], counts["b"], counts["neither"], counts["a"] / decided, low, high)


def answered_pairs(labels: Iterable[Label], a: int, b: int) -> dict[str, PairAnswer]:
    """Return the latest answer for each latent that was compared at two steps, by the name of its sample."""
    swapped: Mapping[PairAnswer, PairAnswer] = {"a": "b", "b": "a", "neither": "neither"}
    result: dict[str, PairAnswer] = {}
    for label in labels:
        if isinstance(label, PairLabel) and {label.a, label.b} == {a, b}:
            result[label.sample] = label.answer if label.a == a else swapped[label.answer]
    return result


def marks_of(labels: Iterable[Label], step: int) -> dict[str, MarkAnswer]:
    """Return the latest mark of each sample of a step that has one, by the name of the sample."""
    marks: dict[str, MarkAnswer] = {}
    for label in labels:
        if isinstance(label, MarkLabel) and label.step == step:
            marks.pop(label.sample, None)
            if label.answer != "none":
                marks[label.sample] = label.answer
    return marks


def _check(sample: str, answer: str, available: tuple[str, ...]) -> None:
    if not SAMPLE_NAME.fullmatch(sample):
        raise SettingError(f"'{sample}' is not the name of a sample; use SEED/NUMBER, such as 0/17")
    if answer not in available:
        raise SettingError(f"there is no answer '{answer}'; use one of: {', '.join(available)}")


def _to_json(label: Label) -> dict[str, object]:
    if isinstance(label, PairLabel):
        steps: dict[str, object] = {"kind": "pair", "sample": label.sample, "a": label.a, "b": label.b}
    else:
        steps = {"kind": "mark", "sample": label.sample, "step": label.step}
    return {**steps, "answer": label.answer, "time": label.time}


def _read(path: Path) -> Iterator[Label]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}; restore the file") from error
    for number, line in enumerate(lines[:-1], 1):
        try:
            yield _label(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError, SettingError) as error:
            raise RunError(f"{path}, line {number}, is not a label; delete that line") from error


def _label(values: Mapping[str, object]) -> Label:
    """Build a label from a line. Raises KeyError, TypeError, ValueError or SettingError for anything else."""
    match values:
        case {
            "kind": "pair",
            "sample": str(sample),
            "a": int(a),
            "b": int(b),
            "answer": ("a" | "b" | "neither") as pair,
        }:
            return PairLabel(sample, a, b, pair, _seconds(values))
        case {
            "kind": "mark",
            "sample": str(sample),
            "step": int(step),
            "answer": ("keep" | "flaw" | "copy" | "none") as mark,
        }:
            return MarkLabel(sample, step, mark, _seconds(values))
    raise ValueError("not a label")


def _seconds(values: Mapping[str, object]) -> float:
    seconds = values["time"]
    if not isinstance(seconds, int | float):
        raise TypeError("time is not a number")
    return float(seconds)


def _remove_partial_line(file: int, path: Path) -> None:
    """Truncate the file after its last line break: the rest is a line that was never written completely."""
    content = path.read_bytes()
    complete = content.rfind(b"\n") + 1
    if complete != len(content):
        os.ftruncate(file, complete)
