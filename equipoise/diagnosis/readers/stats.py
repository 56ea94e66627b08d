"""StyleGAN's stats.jsonl and metric-*.jsonl (NVlabs stylegan2-ada-pytorch and stylegan3): a line of JSON a tick."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from equipoise.diagnosis.readers.columns import metric_of, signal_of
from equipoise.diagnosis.trace import MOST_STEPS, Metric, Trace, series
from equipoise.errors import DataError

SNAPSHOT = re.compile(r"snapshot-(\d+)")
KIMG = "Progress/kimg"


def stats(text: str) -> Trace | None:
    """The statistics of training; None if no line has Progress/kimg. A line that is no JSON was cut short: it is left.

    Each statistic is {"num": …, "mean": …, "std": …}; its mean is taken. Steps are images; a line that does not tell
    them is left, too; DataError if none does.
    """
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = [row for row in _lines(text, f'"{KIMG}"') if KIMG in row]
    for row in rows:
        kimg = _mean(row.get(KIMG))
        if kimg is None or not abs(kimg) < MOST_STEPS / 1000:
            continue
        for name, value in row.items():
            if (mean := _mean(value)) is not None:
                columns[name].append((round(kimg * 1000), mean))
    if not columns and rows:
        raise DataError(f"none of its lines has a number for {KIMG}; give the stats.jsonl as it was written")
    if not columns:
        return None
    named = {name: signal for name in columns if (signal := signal_of(name))}
    signals = {signal: series(*zip(*columns[name], strict=True)) for name, signal in named.items()}
    ignored = tuple(sorted(columns.keys() - named.keys() - {KIMG}))
    return Trace("StyleGAN stats.jsonl", signals, {}, unit="image", ignored=ignored)


def metrics_of(text: str) -> dict[str, Metric]:
    """Metrics by name from lines {"results": {"fid50k_full": …}, "snapshot_pkl": "network-snapshot-000200.pkl"}."""
    result: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in _lines(text, '"results"'):
        at = SNAPSHOT.search(str(row.get("snapshot_pkl") or ""))
        results = row.get("results")
        if at and isinstance(results, dict):
            for name, value in results.items():
                number = _number(value)
                if number is not None and metric_of(str(name)):
                    result[str(name)].append((int(at[1]) * 1000, number))
    return {name: Metric(series(*zip(*rows, strict=True)), _better(name)) for name, rows in result.items()}


def beside(path: Path) -> dict[str, Metric]:
    """The metrics in metric-*.jsonl beside a file."""
    result: dict[str, Metric] = {}
    for each in sorted(path.parent.glob("metric-*.jsonl")):
        result |= metrics_of(each.read_text(errors="replace"))
    return result


def _better(name: str) -> Any:
    known = metric_of(name)
    return known[1] if known else "lower"


def _mean(statistic: Any) -> float | None:
    return _number(statistic.get("mean")) if isinstance(statistic, dict) else None


def _number(value: Any) -> float | None:
    """A number of JSON; None for anything else, and for one too large to be any."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _lines(text: str, word: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects, if `word` is in the text at all."""
    result: list[dict[str, Any]] = []
    if word not in text:
        return result
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                result.append(row)
    return result
