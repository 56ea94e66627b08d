"""Results of runs, written and read again."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from equipoise.comparison.results import RunResult, read_results, write_results
from equipoise.core.sampling_cost import SamplingCost

Made = Callable[..., RunResult]


def test_results_are_read_as_they_were_written(row: Made, tmp_path: Path) -> None:
    cost = SamplingCost(500, 2.5, 2.25, 16, "cpu", 1)
    ended = dataclasses.replace(row("base", 0, 0.3), curve=((1, 0.1, 2.0), (2, 0.3, 4.5)), also={"recall": 0.5})
    timed = dataclasses.replace(row("new", 0, 0.4), sampling=cost, cpu=math.inf, also={"ppl": -math.inf})
    failed = dataclasses.replace(row("new", 1, 0.0), state="failed", value=None, also={})
    write_results(tmp_path / "results.jsonl", [ended, timed, failed])
    assert read_results(tmp_path / "results.jsonl") == [ended, timed, failed]


def test_number_that_is_not_a_number_is_read_again(row: Made, tmp_path: Path) -> None:
    write_results(tmp_path / "results.jsonl", [dataclasses.replace(row("base", 0, 0.3), value=math.nan)])
    (result,) = read_results(tmp_path / "results.jsonl")
    assert result.value is not None
    assert math.isnan(result.value)
