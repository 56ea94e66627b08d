"""Statistics by arm, and the answers in words, compared with values worked out by hand."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from equipoise.comparison import aggregate, conclusions, tables
from equipoise.comparison.folder import TunedArm
from equipoise.comparison.plan import Arm, ComparisonPlan, PopulationPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import ComparisonSummary, complete_blocks, summarise

Made = Callable[..., RunResult]


@pytest.fixture
def plan(tiny: ComparisonPlan) -> ComparisonPlan:
    """Eight seeds of two arms."""
    return dataclasses.replace(tiny, arms={"base": Arm(), "new": Arm()}, baseline="base", seeds=tuple(range(8)))


def summary(plan: ComparisonPlan, rows: list[RunResult]) -> ComparisonSummary:
    result = summarise(plan, rows)
    assert result is not None
    return result


def both_arms(row: Made, **fields: Any) -> list[RunResult]:
    """Base scores 0.30 to 0.37, new 0.1 more."""
    return [
        row(arm, seed, 0.3 + gain + seed / 100, **fields)
        for seed in range(8)
        for arm, gain in (("base", 0), ("new", 0.1))
    ]


def test_arm_that_wins_every_pair_is_significantly_better(plan: ComparisonPlan, row: Made) -> None:
    result = summary(plan, both_arms(row))
    assert [arm.name for arm in result.arms] == ["new", "base"], "the best first"
    new, base = result.arms
    assert base.versus_baseline is None
    assert new.versus_baseline is not None
    assert new.versus_baseline.p == 2 / 2**8
    assert new.versus_baseline.difference.value == pytest.approx(0.1)
    assert (new.versus_baseline.difference.low, new.versus_baseline.difference.high) == pytest.approx((0.1, 0.1))
    assert new.versus_baseline.improvement.value == 1.0
    assert new.quality.value == pytest.approx(0.435)
    assert "new has the highest score, 0.435" in conclusions.describe_quality(result)
    assert ": new." in conclusions.describe_quality(result)


def test_conflict_of_test_and_interquartile_means_is_inconclusive(plan: ComparisonPlan, row: Made) -> None:
    """Better by far among the lowest and the highest quarter of scores, worse by little in the middle half."""
    seeds, names = 40, ("base", "new")
    scores = [(0.1, 0.2)] * 10 + [(0.9, 1.0)] * 10 + [(0.5, 0.495)] * 20
    rows = [row(arm, seed, scores[seed][place]) for seed in range(seeds) for place, arm in enumerate(names)]
    result = summary(dataclasses.replace(plan, seeds=tuple(range(seeds))), rows)
    against = result.arm("new").versus_baseline
    assert against is not None
    assert against.p < 0.05
    assert (against.direction, against.difference.value < 0) == (1, True), (
        "the middle half is worse, the test says better"
    )
    assert against.significance == 0
    assert "Significantly" not in conclusions.describe_quality(result)
    assert "Inconclusive: new" in conclusions.describe_quality(result)


def test_settings_in_which_an_arm_is_better_are_counted(plan: ComparisonPlan, row: Made) -> None:
    """Better by 0.1 in two tasks, worse by less in the third."""
    gains = {"a": 0.1, "b": 0.1, "c": -0.01}
    rows = [
        row(arm, seed, 0.3 + seed / 100 + (arm == "new") * gain, task)
        for task, gain in gains.items()
        for seed in range(8)
        for arm in ("base", "new")
    ]
    result = summary(plan, rows)
    text = conclusions.describe_quality(result)
    assert "new (better in 2 of 3 settings)" in text
    assert "count runs, not tasks" in text
    (line,) = [line for line in tables.quality_table(result).rows if line[0] == "new"]
    assert line[-2:] == ("2 of 3 settings", "24")


def test_statistics_of_ended_runs_show_their_number(plan: ComparisonPlan, row: Made) -> None:
    """An arm is not called steady for its one run that did not diverge."""
    fields = {"best": 0.6, "last": 0.4}
    rows = [row("base", seed, 0.4, spread=0.02, **fields) for seed in range(8)]
    rows += [row("new", 0, 0.4, spread=0.001, best=0.7, last=0.4)]
    rows += [row("new", seed, 0.0, state="diverged", spread=None, cpu=None) for seed in range(1, 8)]
    result = summary(plan, rows)
    assert (result.arm("new").ended, result.arm("base").ended) == (1, 8)
    text = conclusions.describe_stability(result)
    assert "smallest" not in text
    assert "largest with base (0.020)." in text
    assert "largest with new: 0.300 (0.300 to 0.300), in 1 run that ended." in text
    cells = {line[0]: line[6:8] for line in tables.stability_table(result).rows}
    assert cells["new"] == ("0.300, of 1 ended run", "0.001, of 1 ended run")
    assert cells["base"] == ("0.200", "0.020")
    assert {line[0]: line[1] for line in tables.efficiency_table(result).rows} == {
        "base": "10 s",
        "new": "10 s, of 1 ended run",
    }
    more = dataclasses.replace(plan, arms={name: Arm() for name in ("base", "new", "calm")})
    rows += [row("calm", seed, 0.4, spread=0.01) for seed in range(8)]
    assert (
        "largest with base (0.020), smallest among the arms without failures with calm (0.010)."
        in conclusions.describe_stability(summary(more, rows))
    )


def test_too_few_pairs_are_reported(plan: ComparisonPlan, row: Made) -> None:
    result = summary(plan, both_arms(row)[:8])
    text = conclusions.describe_quality(result)
    assert "With only 4 pairs" in text
    assert "With only" not in conclusions.describe_quality(summary(plan, both_arms(row)))


def test_pairs_of_equal_scores_do_not_count(plan: ComparisonPlan, row: Made) -> None:
    equal = [dataclasses.replace(one, score=1.0) for one in both_arms(row)[8:]]
    result = summary(plan, [*both_arms(row)[:8], *equal])
    assert "With only 4 pairs" in conclusions.describe_quality(result)


def test_settings_without_learning_are_reported(plan: ComparisonPlan, row: Made) -> None:
    result = summary(plan, both_arms(row))
    middle = result.arms[0].settings["ring"].value
    assert conclusions.warn_unlearned_settings(result, {"ring": ("noise", 0.0)}) == []
    (warning,) = conclusions.warn_unlearned_settings(result, {"ring": ("untrained", middle + 0.1)})
    assert warning.startswith("In ring, the median arm")
    assert f"less than an untrained generator ({middle + 0.1:.3f})" in warning


def test_failed_runs_score_0_and_are_not_dropped(plan: ComparisonPlan, row: Made) -> None:
    rows = [one for one in both_arms(row) if (one.arm, one.seed) not in (("new", 0), ("new", 1))]
    rows += [row("new", 0, 0.0, state="diverged"), row("new", 1, 0.0, state="failed")]
    result = summary(plan, rows)
    new = result.arm("new")
    assert (new.runs, new.failures, new.diverged, new.crashed) == (8, 2, 1, 1)
    assert new.settings["ring"].value == pytest.approx((sum(0.4 + seed / 100 for seed in range(2, 8))) / 8)
    assert new.reached == 6, "scores before a failure do not count"


def test_only_complete_blocks_count(plan: ComparisonPlan, row: Made) -> None:
    rows = [*both_arms(row)[:6], row("base", 3, 0.9), row("new", 4, 0.0, state="unfinished"), row("base", 4, 0.9)]
    blocks = complete_blocks(plan, rows)
    assert [block["base"].seed for block in blocks] == [0, 1, 2]
    result = summary(plan, rows)
    assert (result.runs, result.total_runs) == (6, 9)
    assert "6 of 9 runs count so far." in conclusions.describe_scope(result)
    assert summarise(plan, rows[-3:]) is None


def test_steps_and_cpu_time_to_the_final_score_of_the_baseline(plan: ComparisonPlan, row: Made) -> None:
    """Scores rise evenly over 100 steps and 10 CPU seconds; the lower median of the baseline ends at 0.33."""
    rows = [row("base", seed, 0.3 + seed / 100) for seed in range(8)]
    rows += [row("new", seed, 0.66, cpu=20.0) for seed in range(8)]
    result = summary(plan, rows)
    assert result.thresholds == {"ring": pytest.approx(0.33)}
    new, base = result.arm("new"), result.arm("base")
    at = new.steps_to_baseline.value, new.cpu_to_baseline.value, new.reached
    assert at == (0.5, 0.5, 8), "at step 50, after 5 of the 10 s of the baseline"
    assert (base.steps_to_baseline.value, base.reached) == (1.0, 5)
    assert (base.steps_to_baseline.low, base.steps_to_baseline.high) == (1.0, math.inf), "three of eight never reach it"
    assert new.cpu_ratio is not None
    assert new.cpu_ratio.value == pytest.approx(2.0)
    assert (
        "new is the first to reach the final score of the median run of base: after 50% of the steps"
        in conclusions.describe_efficiency(result)
    )
    assert "new takes 2.00 times that." in conclusions.describe_efficiency(result)


def test_a_population_is_charged_with_the_steps_of_all_members(plan: ComparisonPlan, row: Made) -> None:
    rows = [row("base", seed, 0.33) for seed in range(8)] + [row("new", seed, 0.66) for seed in range(8)]
    arms = {"base": Arm(), "new": Arm(population="winner")}
    members = dataclasses.replace(plan, arms=arms, population=PopulationPlan(members=4, search={}))
    assert summary(members, rows).arm("new").steps_to_baseline.value == 4 * 0.5


def test_unreached_score_is_infinite(plan: ComparisonPlan, row: Made) -> None:
    scores = {"base": 0.3, "new": 0.1}
    result = summary(plan, [row(arm, seed, score) for seed in range(8) for arm, score in scores.items()])
    new = result.arm("new")
    assert math.isinf(new.steps_to_baseline.value)
    assert (new.reached, new.failures) == (0, 8), "0.1 is below half of 0.3"
    assert tables.efficiency_table(result).rows[-1][-1] == "not in half of the runs"
    assert "base is the first to reach" in conclusions.describe_efficiency(result)


def test_failing_baseline_does_not_lower_the_threshold(plan: ComparisonPlan, row: Made) -> None:
    """Where the mis-set baseline fails, the threshold is half of its score in regime well_set."""
    rows = [row(arm, 0, 0.5) for arm in ("base", "new")]
    rows += [row(arm, seed, 0.01, regime="mis_set") for seed in range(1, 8) for arm in ("base", "new")]
    result = summary(plan, rows)
    assert result.thresholds == {"ring": 0.5, "ring.mis_set": 0.25}
    assert "No arm reaches" in conclusions.describe_efficiency(result)
    assert "7 of 8 runs failed in every arm" in conclusions.describe_stability(result)


def test_cpu_ratio_is_a_geometric_mean(plan: ComparisonPlan, row: Made) -> None:
    rows = [
        row(arm, seed, 0.5, task, cpu=cpu)
        for task, cpu in (("easy", 4.0), ("hard", 1.0))
        for seed in (0, 1)
        for arm in ("base",)
    ]
    rows += [row("new", seed, 0.5, task, cpu=2.0) for task in ("easy", "hard") for seed in (0, 1)]
    result = summary(plan, rows)
    assert set(result.arm("new").settings) == {"easy", "hard"}
    times = result.arm("new").cpu_ratio
    assert times is not None
    assert (times.value, times.low, times.high) == pytest.approx((1, 1, 1)), "half in one task, twice in the other"
    assert tables.efficiency_table(result).rows[-1][2] in ("baseline", "1.00")


def test_stability(plan: ComparisonPlan, row: Made) -> None:
    fields = {"best": 0.6, "last": 0.4, "spread": 0.05, "collapse": 0.25, "rollbacks": 1, "lost": 15}
    mis_set = both_arms(row, regime="mis_set", **fields)
    mis_set = [dataclasses.replace(one, score=0.01, last=0.01) if one.arm == "base" else one for one in mis_set]
    result = summary(plan, [*both_arms(row, **fields), *mis_set])
    new = result.arm("new")
    assert new.score_drop is not None
    assert new.spread is not None
    assert new.collapse is not None
    assert (new.score_drop.value, new.spread.value, new.collapse.value) == pytest.approx((0.2, 0.05, 0.25))
    assert (new.failure_rate.value, new.failure_rate.low, new.failure_rate.high) == (0.0, 0.0, 0.0)
    assert result.arm("base").failure_rate.value == 0.5
    assert (new.rollbacks, new.lost_steps) == (16, 240)
    assert new.versus_baseline is not None
    assert new.versus_baseline.failure_p == 2 / 2**8
    text = conclusions.describe_stability(result)
    assert "Fewest failures, 0 of 16 runs: new; most, 8: base. The difference from base is significant for new." in text
    assert "largest with base: 0.395 (0.395 to 0.395)." in text
    assert "is 0.050 with every arm." in text
    assert "equally frequent with every arm: 25.0% of the readings" in text
    names = [*plan.arms, "other", "third", "fourth"]
    more = dataclasses.replace(plan, arms={name: Arm() for name in names})
    rows = [
        row(name, seed, 0.01 if name == "new" else 0.3, collapse=0.5 * (name == "new"))
        for name in names
        for seed in range(8)
    ]
    text = conclusions.describe_stability(summary(more, rows))
    assert "Fewest failures, 0 of 8 runs: all but new; most, 8: new." in text
    assert "does not occur with 4 other arms." in text
    uneven = [
        dataclasses.replace(one, collapse=0.0, spread=0.01) if one.arm == "base" else one
        for one in both_arms(row, **fields)
    ]
    text = conclusions.describe_stability(summary(plan, uneven))
    assert "largest with new (0.050), smallest with base (0.010)." in text
    assert (
        "most frequent with new: 25.0% of the readings of the second half of a run; it does not occur with base."
        in text
    )
    text = conclusions.describe_stability(summary(plan, both_arms(row)))
    assert "No reading shows lost variety" in text


def test_p_values_are_corrected_for_the_number_of_arms(plan: ComparisonPlan, row: Made) -> None:
    more = dataclasses.replace(plan, arms={name: Arm() for name in ("base", "new", "other", "third")})
    rows = [*both_arms(row), *(row(arm, seed, 0.3 + seed / 100) for arm in ("other", "third") for seed in range(8))]
    result = summary(more, rows)
    new = result.arm("new").versus_baseline
    assert new is not None
    assert new.p == 3 * 2 / 2**8
    other = result.arm("other").versus_baseline
    assert other is not None
    assert (other.p, other.improvement.value) == (1.0, 0.5)
    assert "No significant difference from base: other and third." in conclusions.describe_quality(result)


def test_tables_are_as_wide_as_their_headings(plan: ComparisonPlan, row: Made) -> None:
    rows = both_arms(row, also={"precision": 0.5, "recall": 0.25})
    result, blocks = summary(plan, rows), complete_blocks(plan, rows)
    texts = [
        tables.quality_table(result),
        tables.settings_table(result),
        tables.metrics_table(result, blocks),
        tables.efficiency_table(result),
    ]
    texts += [tables.stability_table(result), tables.runs_table(rows)]
    texts += [tables.tuning_table({"base": TunedArm(1, {"factors.lr_d": 0.5}, (0.1, 0.2))})]
    for text in texts:
        assert text.rows
        assert all(len(line) == len(text.headings) for line in text.rows), text.title
        assert len(text.markdown().splitlines()) == 4 + len(text.rows)
    assert len(tables.runs_table(rows).rows) == len(rows)
    (new,) = [line for line in tables.metrics_table(result, blocks).rows if line[1] == "new"]
    assert tables.metrics_table(result, blocks).headings[2:] == ("modes, reported", "precision", "recall")
    assert new[2].startswith("0.435 (0.4")
    assert new[3:] == ("0.5", "0.25"), "equal values have no interval"


def test_additional_metrics_have_intervals_per_setting_and_count_missing_values(
    plan: ComparisonPlan, row: Made
) -> None:
    kids = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]
    rows = [
        row(arm, seed, 0.5, also={"kid": kid * (1 + (arm == "new"))})
        for seed, kid in enumerate(kids)
        for arm in plan.arms
    ]
    rows += [row(arm, seed, 0.5, "other", also={"fd": 2.0}) for seed in range(2) for arm in plan.arms]
    lost = [one for one in rows if (one.name, one.arm) == ("ring.new.seed7", "new")]
    rows = [row("new", 7, 0.0, state="diverged") if one in lost else one for one in rows]
    table = tables.metrics_table(summary(plan, rows), complete_blocks(plan, rows))
    cells = {line[:2]: dict(zip(table.headings[2:], line[2:], strict=True)) for line in table.rows}
    assert cells["ring", "base"]["kid"].startswith("0.045 (0.0")
    expected = aggregate.estimate_interquartile_mean({"ring": 2 * np.array(kids[:7])})
    assert cells["ring", "new"]["kid"] == f"0.08 ({expected.low:.4g} to {expected.high:.4g}), missing in 1"
    assert cells["ring", "base"]["fd"] == cells["other", "base"]["kid"] == "–"
    assert cells["other", "new"]["fd"] == "2"
