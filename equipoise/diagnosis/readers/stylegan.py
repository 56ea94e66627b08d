"""Reader of the logs of StyleGAN 1 to 3 (NVlabs): stats.jsonl with metric-*.jsonl, or log.txt. Steps are images."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import (
    MAX_STEP,
    NUMBER,
    MetricSeries,
    StepSeries,
    TrainingLog,
    build_series,
    match_metric,
    match_signal,
    parse_number,
)
from equipoise.errors import DataError

__all__ = ["StyleGAN"]

KIMG = "Progress/kimg"
SNAPSHOT_NAME = re.compile(r"snapshot-(\d+)")
TICK = re.compile(r"^tick \d+ +kimg ([\d.]+) ", re.MULTILINE)
SNAPSHOT_LINE = re.compile(rf"network-snapshot-(\d+)[^\n]*?\b((?:fid|kid|is)\w*) +{NUMBER}")
"""network-snapshot-000100 time 8m 02s fid50k 34.7 (StyleGAN 1 and 2 in TensorFlow)."""


class StyleGAN:
    """Reads stats.jsonl, a line of JSON per tick with statistics {"num": …, "mean": …, "std": …}; or metrics of
    log.txt."""

    name = "StyleGAN"
    contents = (
        "`stats.jsonl` with the `metric-*.jsonl` next to it (StyleGAN2-ADA, StyleGAN3), or `log.txt`; steps are images"
    )
    order = 50
    folder_files: tuple[str, ...] = ("stats.jsonl", "log.txt")

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read stats.jsonl, or the text of log.txt."""
        return _read_stats(files[0]) or _read_text(files[0].text)


def _read_stats(file: LogFile) -> TrainingLog | None:
    """Read the mean of each training statistic; None if no line has Progress/kimg.

    Lines that are not JSON (truncated) or have no valid step are skipped; raises DataError if no line has one.
    """
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = [row for row in _json_lines(file.text, f'"{KIMG}"') if KIMG in row]
    for row in rows:
        kimg = _mean(row.get(KIMG))
        if kimg is None or not abs(kimg) < MAX_STEP / 1000:
            continue
        for name, value in row.items():
            if (mean := _mean(value)) is not None:
                columns[name].append((round(kimg * 1000), mean))
    if not rows:
        return None
    if not columns:
        raise DataError(f"no line has a number for {KIMG}; use the original stats.jsonl of StyleGAN")
    names = {name: signal for name in columns if (signal := match_signal(name))}
    signals = {signal: build_series(*zip(*columns[name], strict=True)) for name, signal in names.items()}
    ignored = tuple(sorted(columns.keys() - names.keys() - {KIMG}))
    metrics = _metrics_next_to(file.path)
    return TrainingLog("StyleGAN stats.jsonl", signals, metrics, unit="image", ignored=ignored)


def _read_text(text: str) -> TrainingLog | None:
    """Read the metrics of a log.txt, as lines of JSON or as words; None if it has neither ticks nor metrics."""
    metrics = _json_metrics(text)
    for kimg, name, value in SNAPSHOT_LINE.findall(text):
        earlier = metrics[name].series if name in metrics else StepSeries(np.zeros(0, np.int64), np.zeros(0))
        series = build_series([*earlier.steps, int(kimg) * 1000], [*earlier.values, parse_number(value)])
        metrics[name] = MetricSeries(series, "higher" if name.startswith("is") else "lower")
    if not TICK.search(text) and not metrics:
        return None
    return TrainingLog("StyleGAN log.txt", {}, metrics, unit="image")


def _metrics_next_to(path: Path) -> dict[str, MetricSeries]:
    """Read the metric-*.jsonl files in the folder of a file."""
    metrics: dict[str, MetricSeries] = {}
    for file in sorted(path.parent.glob("metric-*.jsonl")):
        metrics |= _json_metrics(file.read_text(errors="replace"))
    return metrics


def _json_metrics(text: str) -> dict[str, MetricSeries]:
    """Read lines {"results": {"fid50k_full": …}, "snapshot_pkl": "network-snapshot-000200.pkl"}: metrics by name."""
    values: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in _json_lines(text, '"results"'):
        match = SNAPSHOT_NAME.search(str(row.get("snapshot_pkl") or ""))
        results = row.get("results")
        if match and isinstance(results, dict):
            for name, value in results.items():
                number = _json_number(value)
                if number is not None and match_metric(str(name)):
                    values[str(name)].append((int(match[1]) * 1000, number))
    return {name: _metric_series(name, rows) for name, rows in values.items()}


def _metric_series(name: str, rows: Sequence[tuple[int, float]]) -> MetricSeries:
    metric = match_metric(name)
    return MetricSeries(build_series(*zip(*rows, strict=True)), metric[1] if metric else "lower")


def _mean(statistic: object) -> float | None:
    return _json_number(statistic.get("mean")) if isinstance(statistic, dict) else None


def _json_number(value: object) -> float | None:
    """Return a number from JSON as a float; None for anything else, and for an integer that is too large."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _json_lines(text: str, word: str) -> list[Mapping[str, object]]:
    """Parse the lines that are JSON objects, if `word` occurs in the text at all."""
    rows: list[Mapping[str, object]] = []
    if word not in text:
        return rows
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows
