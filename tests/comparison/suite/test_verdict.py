"""The verdict and the gate on made-up results, in which the better arm is known."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.gate import choose_constants, measure_gate
from equipoise.comparison.suite.records import SuiteLine, SuiteRecords, settings_text
from equipoise.comparison.suite.verdict import ORACLE, SuiteStudy, compare_arms, judge, verdict_word
from equipoise.errors import SettingError

Lines = Callable[..., list[SuiteLine]]
TASKS = [f"t{number}" for number in range(10)]
SEEDS = (1, 2, 3, 4, 5)
EFFECTS = {"constant": 0.0, "better": -0.3, "same": 0.0, "worse": 0.3}
CONSTANTS = {f"c{number}": 0.1 * (number - 3) for number in range(8)}
"""Effects of constants: number 0 is the best, number 3 equals the base."""


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 400)


def text(name: str) -> str:
    return settings_text({"name": name})


def study_of(lines: list[SuiteLine], effects: Mapping[str, float] = EFFECTS, oracle: str = "c0") -> SuiteStudy:
    return SuiteStudy(
        records=SuiteRecords.of_lines(lines),
        settings={name: text(name) for name in effects},
        base="constant",
        tasks=TASKS,
        seeds=SEEDS,
        noise=dict.fromkeys(TASKS, 1e-6),
        oracle=dict.fromkeys(TASKS, text(oracle)),
    )


@pytest.fixture(scope="module")
def lines(made_up_lines: Lines) -> list[SuiteLine]:
    result = made_up_lines(TASKS, EFFECTS, SEEDS)
    return result + made_up_lines(TASKS, CONSTANTS, (0, *SEEDS), noise=0.02)


def test_arms_are_ranked_and_called_by_what_they_are(lines: list[SuiteLine]) -> None:
    verdicts = judge(study_of(lines), "selected")
    assert [verdict.name for verdict in verdicts] == ["better", "same", "worse"]
    assert [verdict.word for verdict in verdicts] == ["wins", "no difference", "loses"]
    better = verdicts[0]
    assert better.ratio.value == pytest.approx(math.exp(-0.3), rel=0.06)
    assert better.ratio.low < math.exp(-0.3) < better.ratio.high
    assert better.over_tasks.low < better.ratio.value < better.over_tasks.high < 1
    assert better.worse.value == 0
    assert verdicts[2].worse.value == 1
    assert better.cpu_ratio == pytest.approx(9 / 8)
    assert better.cpu_seconds == pytest.approx(1)


def test_regret_and_headroom_follow_from_the_oracle(lines: list[SuiteLine]) -> None:
    better = judge(study_of(lines), "selected")[0]
    assert better.regret.value == pytest.approx(1, abs=0.08), "the oracle has the effect -0.3, too"
    assert better.headroom.value == pytest.approx(1, abs=0.3)
    assert better.headroom.low < better.headroom.value < better.headroom.high


def test_p_values_are_corrected_for_the_number_of_arms(lines: list[SuiteLine]) -> None:
    verdicts = {verdict.name: verdict for verdict in judge(study_of(lines), "selected")}
    assert verdicts["better"].p_sign_flip == 2 / 2**10
    assert verdicts["better"].p == pytest.approx(3 * 2 / 2**10)
    assert all(verdict.p >= verdict.p_sign_flip for verdict in verdicts.values())


def test_a_study_without_any_difference_has_no_winner(made_up_lines: Lines) -> None:
    effects = {"constant": 0.0} | {f"a{number}": 0.0 for number in range(12)}
    verdicts = judge(study_of(made_up_lines(TASKS, effects, SEEDS, noise=0.3), effects), "last")
    assert {verdict.word for verdict in verdicts} == {"no difference"}


def test_failures_are_counted_and_cost(made_up_lines: Lines) -> None:
    diverged = [("t0", "better", seed) for seed in SEEDS]
    healthy, failed = (
        judge(study_of(made_up_lines(TASKS, EFFECTS, SEEDS, diverged=part)), "selected")[0] for part in ([], diverged)
    )
    assert (failed.name, failed.failures, failed.runs) == ("better", 5, 50)
    assert failed.ratio.value > healthy.ratio.value
    assert failed.worse.value == 0.1


def test_missing_runs_are_counted_and_ignored(lines: list[SuiteLine]) -> None:
    part = [line for line in lines if (line["task"], line["arm"], line["seed"]) != ("t3", "better", 4)]
    study = study_of(part)
    assert study.missing() == {"better": 1}
    assert judge(study, "selected")[0].ratio.value == pytest.approx(math.exp(-0.3), rel=0.06)


def test_arms_without_runs_are_left_out(lines: list[SuiteLine]) -> None:
    study = dataclasses.replace(study_of(lines), settings={"constant": text("constant"), "later": text("later")})
    assert judge(study, "selected") == []
    assert study.missing() == {"later": 50}


def test_two_arms_are_compared_directly(lines: list[SuiteLine]) -> None:
    ratio, p = compare_arms(study_of(lines), "selected", "better", "worse")
    assert ratio.value == pytest.approx(math.exp(-0.6), rel=0.06)
    assert p == 2 / 2**10


def test_a_verdict_needs_p_value_and_interval() -> None:
    assert verdict_word(IntervalEstimate(0.8, 0.7, 0.9), 0.2) == "no difference"
    assert verdict_word(IntervalEstimate(0.8, 0.7, 1.1), 0.01) == "no difference"
    assert verdict_word(IntervalEstimate(0.8, 0.7, 0.9), 0.01) == "wins"
    assert verdict_word(IntervalEstimate(1.2, 1.1, 1.3), 0.01) == "loses"


def test_base_and_noise_must_be_known(lines: list[SuiteLine]) -> None:
    with pytest.raises(SettingError, match="there is no arm 'nobody', to which all others are compared"):
        dataclasses.replace(study_of(lines), base="nobody")
    with pytest.raises(SettingError, match="noise of task 't0' is not known; measure it first"):
        dataclasses.replace(study_of(lines), noise={})


def test_the_best_constant_is_chosen_with_seed_0(lines: list[SuiteLine]) -> None:
    constants = [text(name) for name in CONSTANTS]
    assert choose_constants(study_of(lines).records, constants, TASKS, "selected") == dict.fromkeys(TASKS, text("c0"))
    assert choose_constants(SuiteRecords([]), constants, TASKS, "selected") == {}


def test_gate_and_equivalent_trials_of_known_constants(lines: list[SuiteLine]) -> None:
    gate = measure_gate(study_of(lines), [text(name) for name in CONSTANTS], "selected")
    assert gate.is_passed
    assert gate.ratio.value == pytest.approx(math.exp(-0.3), rel=0.08)
    assert gate.rows[4].number == 0
    assert gate.curve[1] == pytest.approx(np.mean(list(CONSTANTS.values())), abs=0.08)
    assert gate.curve[8] == pytest.approx(-0.3, abs=0.08)
    assert gate.curve[2] > gate.curve[4] > gate.curve[8]
    assert set(gate.fresh_shares.values()) == {1.0}


def test_the_gate_does_not_count_the_luck_of_the_choice(made_up_lines: Lines) -> None:
    constants = {f"c{number}": 0.0 for number in range(8)}
    result = made_up_lines(TASKS, EFFECTS, SEEDS, noise=0.3)
    result += made_up_lines(TASKS, constants, (0, *SEEDS), noise=0.6)
    texts = [text(name) for name in constants]
    study = dataclasses.replace(
        study_of(result), oracle=choose_constants(SuiteRecords.of_lines(result), texts, TASKS, "selected")
    )
    gate = measure_gate(study, texts, "selected")
    assert not gate.is_passed
    assert np.mean([row.chosen for row in gate.rows]) < 0.8 < np.mean([row.fresh for row in gate.rows])


def test_constants_without_fresh_seeds_have_those_of_the_choice(made_up_lines: Lines) -> None:
    result = made_up_lines(TASKS, EFFECTS, SEEDS) + made_up_lines(TASKS, CONSTANTS, (0,), noise=0.02)
    study = dataclasses.replace(study_of(result), oracle=dict.fromkeys(TASKS, text("c0")))
    gate = measure_gate(study, [text(name) for name in CONSTANTS], "selected")
    assert set(gate.fresh_shares.values()) == {0.0}
    assert gate.curve == gate.optimistic
    assert math.isnan(gate.rows[0].fresh)
    assert math.isnan(gate.ratio.value)
    assert not gate.is_passed


def test_the_oracle_is_measured_like_an_arm(lines: list[SuiteLine]) -> None:
    ratios = study_of(lines, oracle="c7").log_ratios("last")
    assert statistics.task_means(ratios[ORACLE]).mean() == pytest.approx(0.4, abs=0.08)
