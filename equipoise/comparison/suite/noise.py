"""Noise of the reported distance: how much it varies between sets of reals, which are all equally good.

The distances of an arm and of a constant are compared above this noise: eps is twice its standard deviation. Measured
on sets of 512 reals that are not test reals, against the test reals. Sets are drawn without replacement from N reals,
which makes them more alike than new samples; the standard deviation is divided by sqrt(1 - n / N) (Cochran 1977,
"Sampling Techniques", section 2.6).
"""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from equipoise.comparison.suite.data import SuiteData
from equipoise.comparison.suite.distance import RandomFeatureDistance
from equipoise.comparison.suite.episode import REPORTED_SEED, SAMPLES
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core.metric import ReferenceSet

SETS = 40
"""Sets of reals: the standard deviation is known to about 11 %."""
LARGEST_SHARE = 0.75
"""A set is at most this share of the available reals."""
MULTIPLE = 2.0
"""eps is this multiple of the standard deviation."""
SMALLEST_NOISE = 1e-4


def measure_noise(data: SuiteData, sets: int = SETS, seed: int = 0) -> float:
    """Measure eps of data: twice the standard deviation of the distance of 512 of all reals to the test reals."""
    data = replace(data, training_images=None)
    available = torch.cat([data.rows("train"), data.rows("held_out")])
    count = min(SAMPLES, int(LARGEST_SHARE * len(available)))
    metric = RandomFeatureDistance(REPORTED_SEED)
    statistics = metric.statistics(ReferenceSet(data.test_reals()))
    generator = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(available), generator=generator)[:count] for _ in range(sets))
    values = np.array([metric.value(statistics, available[order]) for order in orders])
    deviation = float(values.std(ddof=1)) / math.sqrt(1 - count / len(available)) * math.sqrt(count / SAMPLES)
    return max(MULTIPLE * deviation, SMALLEST_NOISE)


def load_noise(path: Path, tasks: Iterable[SuiteTask]) -> dict[str, float]:
    """Return eps per task; measure what the JSON file lacks, and add it there. Sources and sizes share a value."""
    known: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    by_task = {task.name: f"{task.source}_{task.image_size}" for task in tasks}
    missing = {by_task[task.name]: task for task in tasks if by_task[task.name] not in known}
    for name, task in missing.items():
        known[name] = float(f"{measure_noise(SuiteData(**task.data_options(draw=0))):.4g}")
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return {task: known[name] for task, name in by_task.items()}
