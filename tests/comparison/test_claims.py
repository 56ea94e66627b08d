"""Claims: which hold, which do not, and which the runs do not decide."""

from collections.abc import Callable

import pytest

from equipoise.comparison import claims
from equipoise.comparison.plan import Arm, Claim, ComparisonPlan, PlugSpec, Task
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import complete_blocks
from equipoise.core.sampling_cost import SamplingCost

PLAN = ComparisonPlan(
    arms={"first": Arm(), "second": Arm()},
    tasks={"ring": Task(data=PlugSpec("ring"), reported=PlugSpec("modes"))},
    seeds=(0, 1, 2),
)
Row = Callable[..., RunResult]


def outcome(rows: list[RunResult], measure: str, **fields: object) -> claims.EvaluatedClaim:
    claim = Claim(aspect="a", text="t", measure=measure, **{"better": ("first",), "worse": ("second",), **fields})
    plan = ComparisonPlan(arms=PLAN.arms, tasks=PLAN.tasks, seeds=PLAN.seeds, claims=(claim,))
    (tested,) = claims.evaluate_claims(plan, complete_blocks(plan, rows))
    return tested


def rows(row: Row, first: list[float], second: list[float], **fields: object) -> list[RunResult]:
    return [
        row(arm, seed, score, **fields)
        for arm, scores in (("first", first), ("second", second))
        for seed, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected", "verdict"),
    [
        ([0.8, 0.81, 0.79], [0.3, 0.31, 0.3], "holds", "Holds here."),
        ([0.3, 0.31, 0.3], [0.8, 0.81, 0.79], "opposite", "Does not hold here: the opposite does."),
        ([0.8, 0.3, 0.5], [0.5, 0.5, 0.5], "undecided", "Undecided here: of 1 comparisons 1 undecided."),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "equal", "Does not hold here: of 1 comparisons no difference in 1."),
        ([1.0, 1.0], [1.0, 1.0], "at the limit", "Undecided here: of 1 comparisons 1 at the limit of the score."),
        ([0.5], [0.5], "undecided", "Undecided here: of 1 comparisons 1 undecided."),
        ([0.8], [0.3], "undecided", "Undecided here: of 1 comparisons 1 undecided."),
    ],
)
def test_a_claim_holds_if_the_interval_of_the_difference_does(
    row: Row, first: list[float], second: list[float], expected: str, verdict: str
) -> None:
    tested = outcome(rows(row, first, second), "score")
    assert tested.pairs[0].outcome == expected
    assert tested.verdict == verdict
    assert tested.pairs[0].difference.value == pytest.approx(sum(first) / len(first) - sum(second) / len(second))


def test_costs_are_compared_by_their_ratio(row: Row) -> None:
    def cost(seconds: float) -> SamplingCost:
        return SamplingCost(100, seconds, seconds, 16, "cpu", 1)

    own = [row("first", seed, 0.5, sampling=cost(0.1 * (1 + seed))) for seed in range(3)]
    other = [row("second", seed, 0.5, sampling=cost(0.4 * (1 + seed))) for seed in range(3)]
    pair = outcome([*own, *other], "sampling_cpu").pairs[0]
    assert pair.outcome == "holds", "ratios are equal although costs vary by a factor of three"
    assert pair.difference.value == pytest.approx(0.25)
    assert pair.left.value == pytest.approx(6 ** (1 / 3), rel=1e-6), "seconds per 1,000, geometric mean"
    assert outcome([*own[:2], row("first", 2, 0.5), *other], "sampling_cpu").pairs[0].outcome == "holds"
    assert outcome(rows(row, [0.5], [0.5]), "sampling_cpu").verdict == "Not measured."


def test_a_value_may_be_claimed_instead_of_another_arm(row: Row) -> None:
    good = rows(row, [0.95, 0.96, 0.95], [0.1, 0.1, 0.1])
    assert outcome(good, "score", worse=(), least=0.9).pairs[0].outcome == "holds"
    pair = outcome(good, "score", worse=(), least=0.99).pairs[0]
    assert (pair.outcome, pair.worse, pair.right) == ("opposite", "0.99", None)


def test_failures_and_metrics_are_measures(row: Row) -> None:
    values = [
        row(arm, seed, 0.5, also={"fd_pixels": value + seed / 100})
        for arm, value in (("first", 1.0), ("second", 2.0))
        for seed in range(3)
    ]
    tested = outcome(values, "fd_pixels")
    assert (tested.measure.better, tested.pairs[0].outcome) == ("lower", "holds")
    assert outcome(rows(row, [0.5, 0.6], [0.5, 0.6]), "modes").pairs[0].outcome == "equal", "the reported metric"


@pytest.mark.parametrize(("seeds", "expected"), [(3, "undecided"), (5, "undecided"), (6, "holds")])
def test_failures_are_compared_by_an_exact_test(row: Row, seeds: int, expected: str) -> None:
    """All runs of one arm fail, none of the other: p = 2 / 2^seeds."""
    failing = [*rows(row, [0.9] * seeds, []), *(row("second", seed, 0.0, state="diverged") for seed in range(seeds))]
    pair = outcome(failing, "failed").pairs[0]
    assert pair.outcome == expected
    assert pair.difference.value == -1


def test_an_arm_with_a_failed_run_does_not_win(row: Row) -> None:
    """Its value is missing, and the other seeds would decide without it."""
    better = rows(row, [0.9, 0.9, 0.9], [], also={"fd_pixels": 1.0})
    worse = [row("second", seed, 0.5, also={"fd_pixels": 2.0 + seed / 10}) for seed in range(3)]
    assert outcome([*better, *worse], "fd_pixels").pairs[0].outcome == "holds"
    diverged = [*better[:2], row("first", 2, 0.0, state="diverged", also={})]
    pair = outcome([*diverged, *worse], "fd_pixels").pairs[0]
    assert (pair.outcome, pair.measured, pair.seeds) == ("undecided", 2, 3)
    failed = [*worse[:2], row("second", 2, 0.0, state="diverged", also={})]
    assert outcome([*better, *failed], "fd_pixels").pairs[0].outcome == "holds", "the other arm fails, too"


def test_intervals_of_shares_stay_between_0_and_1(row: Row) -> None:
    pair = outcome(rows(row, [0.95, 1.0, 0.7], [0.1, 0.0, 0.3]), "score").pairs[0]
    assert pair.left.high == 1
    assert pair.right.low == 0


def test_page_says_how_many_comparisons_chance_would_decide(row: Row) -> None:
    tested = outcome(rows(row, [0.8, 0.81], [0.3, 0.31]), "score")
    assert "about 1 of these 20 would be decided by chance" in claims.describe_decisions([tested] * 20)
