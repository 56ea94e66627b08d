"""Reader of the logs of StyleGAN 1 to 3 (NVlabs): stats.jsonl with metric-*.jsonl, or log.txt. It counts images."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from equipoise.diagnosis.columns.column_names import match_metric
from equipoise.diagnosis.logs.column_builder import ColumnBuilder
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.merging import merge_logs
from equipoise.diagnosis.parsing.json_lines import read_json_lines
from equipoise.diagnosis.parsing.json_values import flatten_record, parse_value
from equipoise.errors import DataError

__all__ = ["StyleGAN"]

KIMG = "Progress/kimg"
AUGMENT = "Progress/augment"
OPTIONS_FILE = "training_options.json"
MAX_OPTIONS = 2**20
"""Largest size of the file of options in bytes."""
TICK = re.compile(r"tick +\d+ +kimg +([\d.]+)(?:.*\baugment +([\d.]+))?")
"""tick 12    kimg 48.4     time 25m 11s    sec/tick 121.5   … augment 0.214"""
SNAPSHOT_NAME = re.compile(r"snapshot-(\d+)")
SNAPSHOT_LINE = re.compile(r"network-snapshot-(\d+)\b.*?\s((?:fid|kid|is|pr|ppl)\w*) +(\S+)")
"""network-snapshot-000100 time 8m 02s fid50k 34.7 (StyleGAN 1 and 2 in TensorFlow)."""
DURATION = re.compile(r"Training duration: +(\d+) kimg|\"?total_kimg\"?: +(\d+)")


class _Entry(NamedTuple):
    """Numbers at a moment of the training."""

    kimg: float
    values: Mapping[str, float]


class StyleGAN:
    """Reads stats.jsonl, a line per tick with statistics {"num": …, "mean": …, "std": …}, and the metrics next to it.

    Without it: ticks and metrics of log.txt, or metric-*.jsonl alone.
    """

    name = "StyleGAN"
    contents = (
        "`stats.jsonl` with the `metric-*.jsonl` next to it (StyleGAN2-ADA, StyleGAN3), `log.txt`, or `metric-*.jsonl` "
        "alone; steps are images"
    )
    order = 50
    folder_files: tuple[str, ...] = ("stats.jsonl", "log.txt", "metric-*.jsonl")

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read stats.jsonl, the text of log.txt, or the metrics of one or more metric-*.jsonl."""
        first = files[0]
        if f'"{KIMG}"' in first.head:
            return _read_statistics(first)
        entries = [entry for file in files for entry in _read_lines(file)]
        if not entries:
            return None
        log_format = (
            "StyleGAN metrics" if "snapshot_pkl" in first.head and not TICK.search(first.head) else "StyleGAN log.txt"
        )
        return _build(log_format, sorted(entries, key=lambda entry: entry.kimg), first)


def _read_statistics(file: LogFile) -> LogColumns:
    """Read the mean of each training statistic, and the metrics in the same folder.

    Raises DataError if no line has a number for Progress/kimg.
    """
    log = read_json_lines(file)
    if KIMG not in log.columns:
        raise DataError(f"no line has a number for {KIMG}; use the original stats.jsonl of StyleGAN")
    totals = {KIMG: total} if (total := _read_total_kimg(file)) else {}
    statistics = LogColumns(
        "StyleGAN stats.jsonl", log.columns, log.row_count, "tick", totals, notes=log.notes, examples=log.examples
    )
    paths = sorted(file.path.parent.glob("metric-*.jsonl"))
    entries = [entry for path in paths for entry in _read_lines(LogFile(path))]
    if not entries:
        return statistics
    metrics = _build("StyleGAN metrics", sorted(entries, key=lambda entry: entry.kimg), file)
    return merge_logs((statistics, metrics), KIMG)


def _build(log_format: str, entries: Sequence[_Entry], file: LogFile) -> LogColumns:
    builder = ColumnBuilder()
    for kimg, values in entries:
        builder.add(KIMG, kimg)
        for name, value in values.items():
            builder.add(name, value)
        builder.end_row()
    match = DURATION.search(file.head)
    total = float(match[1] or match[2]) if match else _read_total_kimg(file)
    totals = {KIMG: total} if total else {}
    examples = tuple(file.head.split("\n", 3)[:3])
    return LogColumns(log_format, builder.build(), builder.row_count, "line", totals, examples=examples)


def _read_lines(file: LogFile) -> Iterator[_Entry]:
    """Yield the ticks and the metrics of a text, which are lines of JSON or of words."""
    if not TICK.search(file.head) and "network-snapshot-" not in file.head:
        return
    for block in file.text_blocks():
        for line in block.split("\n"):
            if entry := _parse_line(line):
                yield entry


def _parse_line(line: str) -> _Entry | None:
    if line.startswith("{"):
        return _parse_metrics(line)
    if match := TICK.match(line):
        numbers = {name: parse_value(word) for name, word in ((KIMG, match[1]), (AUGMENT, match[2]))}
        kimg = numbers.pop(KIMG)
        return None if kimg is None else _Entry(kimg, {name: v for name, v in numbers.items() if v is not None})
    if (match := SNAPSHOT_LINE.search(line)) and (value := parse_value(match[3])) is not None:
        return _Entry(int(match[1]), {match[2]: value})
    return None


def _parse_metrics(line: str) -> _Entry | None:
    """Parse {"results": {"fid50k_full": …}, "snapshot_pkl": "network-snapshot-000200.pkl"}; None for another line."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    results = record.get("results")
    snapshot = SNAPSHOT_NAME.search(str(record.get("snapshot_pkl")))
    if not snapshot or not isinstance(results, dict):
        return None
    values = {name: value for name, value in flatten_record(results) if match_metric(name)}
    return _Entry(int(snapshot[1]), values) if values else None


def _read_total_kimg(file: LogFile) -> float | None:
    """Return the planned length in the options that StyleGAN writes next to its log."""
    path: Path = file.path.parent / OPTIONS_FILE
    try:
        if path.stat().st_size > MAX_OPTIONS:
            return None
        options = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return parse_value(options.get("total_kimg")) if isinstance(options, dict) else None
