"""Noise of the distance of reals: measured once per source and size, and kept in a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.comparison.suite import noise
from equipoise.comparison.suite.data import SuiteData
from equipoise.comparison.suite.distance import RandomFeatureDistance
from equipoise.comparison.suite.noise import load_noise, measure_noise
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.core.metric import ReferenceSet

TASKS = [
    SuiteTask("long", "test", "bursts", steps=800),
    SuiteTask("short", "test", "bursts", steps=200, training_images=64),
    SuiteTask("points", "test", "mixtures", steps=200),
]


def test_noise_is_about_twice_the_standard_deviation_of_independent_samples() -> None:
    """Points can be sampled freely: 512 new ones at a time, against the same test reals."""
    data = SuiteData("mixtures")
    metric = RandomFeatureDistance(1)
    statistics = metric.statistics(ReferenceSet(data.test_reals()))
    rows = torch.cat([data.rows("train"), data.rows("held_out")])
    disjoint = [metric.value(statistics, part) for part in rows[:2560].split(512)]
    assert measure_noise(data) == pytest.approx(2 * np.std(disjoint, ddof=1), rel=1.0)
    assert measure_noise(data) == measure_noise(data, seed=0)


def test_noise_does_not_depend_on_the_number_of_training_samples() -> None:
    assert measure_noise(SuiteData("bursts", training_images=64), 5) == measure_noise(SuiteData("bursts"), 5)


def test_noise_is_measured_once_per_source_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "SETS", 5)
    measured: list[SuiteData] = []

    def count(data: SuiteData) -> float:
        measured.append(data)
        return measure_noise(data, 5)

    monkeypatch.setattr(noise, "measure_noise", count)
    path = tmp_path / "results" / "noise.json"
    first = load_noise(path, TASKS)
    assert first == load_noise(path, TASKS)
    assert first["long"] == first["short"] != first["points"]
    assert len(measured) == 2
    assert sorted(json.loads(path.read_text())) == ["bursts_16", "mixtures_16"]
    assert all(value > 0 for value in first.values())
