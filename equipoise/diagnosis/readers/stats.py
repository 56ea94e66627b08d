"""StyleGAN's stats.jsonl and metric-*.jsonl (NVlabs stylegan2-ada-pytorch and stylegan3): a line of JSON a tick."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from equipoise.diagnosis.readers.columns import metric_of, signal_of
from equipoise.diagnosis.trace import Metric, Trace, series

SNAPSHOT = re.compile(r"snapshot-(\d+)")
KIMG = "Progress/kimg"


def stats(text: str) -> Trace | None:
    """The statistics of training; None if no line has Progress/kimg. A line that is no JSON was cut short: it is left.

    Each statistic is {"num": …, "mean": …, "std": …}; its mean is taken. Steps are images.
    """
    rows = [row for row in _lines(text, f'"{KIMG}"') if isinstance(row.get(KIMG), dict)]
    if not rows:
        return None
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        image = round(float(row[KIMG].get("mean", 0)) * 1000)
        for name, value in row.items():
            mean = value.get("mean") if isinstance(value, dict) else None
            if isinstance(mean, int | float):
                columns[name].append((image, float(mean)))
    named = {name: signal for name in columns if (signal := signal_of(name))}
    signals = {signal: series(*zip(*columns[name], strict=True)) for name, signal in named.items()}
    ignored = tuple(sorted(columns.keys() - named.keys() - {KIMG}))
    return Trace("StyleGAN stats.jsonl", signals, {}, unit="image", ignored=ignored)


def metrics_of(text: str) -> dict[str, Metric]:
    """Metrics by name from lines {"results": {"fid50k_full": …}, "snapshot_pkl": "network-snapshot-000200.pkl"}."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in _lines(text, '"results"'):
        at = SNAPSHOT.search(str(row.get("snapshot_pkl") or ""))
        results = row.get("results")
        if at and isinstance(results, dict):
            for name, value in results.items():
                if isinstance(value, int | float) and metric_of(str(name)):
                    found[str(name)].append((int(at[1]) * 1000, float(value)))
    return {name: Metric(series(*zip(*rows, strict=True)), _better(name)) for name, rows in found.items()}


def beside(path: Path) -> dict[str, Metric]:
    """The metrics in metric-*.jsonl beside a file."""
    found: dict[str, Metric] = {}
    for each in sorted(path.parent.glob("metric-*.jsonl")):
        found |= metrics_of(each.read_text(errors="replace"))
    return found


def _better(name: str) -> Any:
    known = metric_of(name)
    return known[1] if known else "lower"


def _lines(text: str, word: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects, if `word` is in the text at all."""
    found: list[dict[str, Any]] = []
    if word not in text:
        return found
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
    return found
