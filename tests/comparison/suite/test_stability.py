"""Stability of runs: rise after the best evaluation, fluctuation, divergence, and share of steps to a distance."""

import dataclasses
import math

import pytest

from equipoise.comparison.suite.records import SuiteRecord
from equipoise.comparison.suite.stability import measure_stability, share_of_steps

RUN = SuiteRecord("a", "x", "{}", 1, 0.1, 0.2, False, 8.0, (1, 2, 3, 4, 5, 6), (0.8, 0.4, 0.1, 0.15, 0.2, 0.2))


def test_rise_is_the_ratio_of_the_last_distance_to_the_best() -> None:
    assert measure_stability([RUN], {}, {"a": 1e-9}).rise == pytest.approx(2.0)


def test_noise_keeps_distances_near_zero_from_counting() -> None:
    nearly_zero = dataclasses.replace(RUN, distances=(0.8, -0.01, 0.0, 0.0, 0.0, 0.001), last=0.001)
    assert measure_stability([nearly_zero], {}, {"a": 0.01}).rise == pytest.approx(1.1)


def test_fluctuation_is_that_of_the_last_third() -> None:
    calm = measure_stability([RUN], {}, {"a": 0.01})
    assert calm.fluctuation == pytest.approx(0.0)
    restless = dataclasses.replace(RUN, distances=(0.8, 0.4, 0.1, 0.15, 0.1, 0.4))
    assert measure_stability([restless], {}, {"a": 1e-9}).fluctuation == pytest.approx(math.log(4) / 2)


def test_share_of_steps_until_the_constant_is_reached() -> None:
    constant = dataclasses.replace(RUN, last=0.4)
    result = measure_stability([RUN], {("a", 1): constant}, {"a": 0.01})
    assert result.share_of_steps == pytest.approx(2 / 6)
    assert result.reached == 1.0
    assert share_of_steps(RUN, 0.01) == math.inf
    never = measure_stability([RUN], {("a", 1): dataclasses.replace(RUN, last=0.01)}, {"a": 0.01})
    assert (never.share_of_steps, never.reached) == (1.0, 0.0)


def test_diverged_runs_are_counted_and_left_out_of_the_means() -> None:
    failed = dataclasses.replace(
        RUN, seed=2, diverged=True, last=math.inf, distances=(0.8, 0.4, 0.1, math.inf, math.inf, math.inf)
    )
    result = measure_stability([RUN, failed], {}, {"a": 1e-9})
    assert (result.diverged, result.runs) == (1, 2)
    assert result.rise == pytest.approx(2.0)
