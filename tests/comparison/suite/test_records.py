"""Records of the suite: found by task, settings and seed; missing and diverged runs."""

import math
from collections.abc import Callable

import numpy as np

from equipoise.comparison.suite.records import SuiteLine, SuiteRecords, settings_text

Lines = Callable[..., list[SuiteLine]]


def test_runs_are_found_by_task_settings_and_seed(made_up_lines: Lines) -> None:
    lines = made_up_lines(["a", "b"], {"x": 0.0, "y": 1.0}, [1, 2])
    records = SuiteRecords.of_lines(lines)
    text = settings_text({"name": "y"})
    expected = next(line for line in lines if (line["task"], line["arm"], line["seed"]) == ("b", "y", 2))
    result = records.find("b", text, 2)
    assert result
    assert (result.selected, result.last, result.cpu) == (expected["selected"], expected["last"], 9.0)
    assert records.find("b", text, 3) is None
    assert records.seeds("b", text) == [1, 2]


def test_settings_of_equal_content_are_equal() -> None:
    assert settings_text({"a": 1, "b": {"c": 2, "d": 3}}) == settings_text({"b": {"d": 3, "c": 2}, "a": 1})


def test_missing_runs_are_nan_and_diverged_ones_infinite(made_up_lines: Lines) -> None:
    records = SuiteRecords.of_lines(made_up_lines(["a"], {"x": 0.0}, [1, 2], diverged=[("a", "x", 2)]))
    result = records.distances(["a"], settings_text({"name": "x"}), [1, 2, 3], "last")
    assert np.isfinite(result[0, 0])
    assert result[0, 1] == math.inf
    assert np.isnan(result[0, 2])
    assert len(records.runs(["a"], settings_text({"name": "x"}), [1, 2, 3])) == 2
