"""Reader of the logs of PyTorch-StudioGAN."""

import re
from collections.abc import Sequence

import numpy as np

from equipoise.core.observations import Better
from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import (
    NUMBER,
    MetricSeries,
    TrainingLog,
    build_series,
    parse_number,
    parse_numbers,
)

__all__ = ["StudioGAN"]

LINE = re.compile(
    r"Step: +(\d+) +Progress: +([\d.]+)%[^\n]*?"
    rf"(?:Discriminator_loss: {NUMBER} +Generator_loss: {NUMBER}|Gen_loss: {NUMBER} +Dis_loss: {NUMBER})"
)
METRIC_LINE = re.compile(rf"(FID|Inception) score \(Step: (\d+)[^)\n]*\): {NUMBER}")
METRICS: Sequence[tuple[str, str, Better]] = (("FID", "fid", "lower"), ("Inception", "inception_score", "higher"))


class StudioGAN:
    """Reads lines with step, progress and both losses, and lines with FID or Inception score."""

    name = "PyTorch-StudioGAN"
    contents = "losses, FID, Inception score"
    order = 30
    folder_files: tuple[str, ...] = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read the lines of one file."""
        text = files[0].text
        lines, metric_lines = LINE.findall(text), METRIC_LINE.findall(text)
        if not lines and not metric_lines:
            return None
        signals, total = {}, None
        if lines:
            steps = parse_numbers([line[0] for line in lines])
            signals["loss_d"] = build_series(steps, parse_numbers([line[2] or line[5] for line in lines]))
            signals["loss_g"] = build_series(steps, parse_numbers([line[3] or line[4] for line in lines]))
            shares = parse_numbers([line[1] for line in lines]) / 100
            share = float(shares[np.isfinite(shares)].max(initial=0))
            total = round(float(steps.max()) / share) if share > 0 else None
        metrics = {}
        for word, name, better in METRICS:
            rows = [(int(step), parse_number(value)) for kind, step, value in metric_lines if kind == word]
            if rows:
                metrics[name] = MetricSeries(build_series(*zip(*rows, strict=True)), better)
        return TrainingLog(self.name, signals, metrics, total)
