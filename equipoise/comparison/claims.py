"""Claims of a plan, tested on its runs: which hold here, which do not, and which so few runs cannot decide.

A claim compares pairs of arms setting by setting, seed by seed. It holds for a pair if the 95 % interval of the mean
difference lies on the claimed side of 0, the opposite holds if it lies on the other side; else the runs do not decide.
Measures that span orders of magnitude are compared by their ratio, that is, by the difference of their logarithms,
shares of failed runs by McNemar's exact test. A failed run has no value of most measures: its arm cannot win.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import Bounds, IntervalEstimate
from equipoise.comparison.plan import Claim, ComparisonPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import Block, blocks_by_setting, failed_runs
from equipoise.core import catalog
from equipoise.errors import UnknownNameError

Outcome = Literal["holds", "opposite", "equal", "at the limit", "undecided", "not measured"]
SIGNIFICANT = 0.05
"""Largest p-value of McNemar's test that decides."""
SHARES = ("precision", "recall", "coverage", "label_accuracy_digits")
"""Metrics from 0 to 1."""


@dataclass(frozen=True, slots=True)
class RunMeasure:
    """A number of a run that claims are about. `better`: "lower" or "higher". `is_ratio`: compared by its logarithm.

    `bounds`: of its values. `is_failure`: 1 for a failed run, else 0, which McNemar's test compares.
    """

    label: str
    better: str
    is_ratio: bool
    value: Callable[[RunResult], float | None]
    bounds: Bounds = aggregate.UNBOUNDED
    is_failure: bool = False


MEASURES: Mapping[str, RunMeasure] = {
    "score": RunMeasure("score", "higher", False, lambda run: run.score, aggregate.UNIT),
    "sampling_cpu": RunMeasure(
        "CPU seconds per 1,000 samples",
        "lower",
        True,
        lambda run: None if run.sampling is None else run.sampling.cpu_seconds_per_1000,
    ),
    "training_cpu": RunMeasure(
        "CPU seconds of training, with those of the run that it starts from",
        "lower",
        True,
        lambda run: None if run.cpu is None else run.cpu + run.start_cpu,
    ),
    "spread": RunMeasure("standard deviation of the score over the last fifth", "lower", False, lambda run: run.spread),
    "score_drop": RunMeasure("drop from the best to the last score", "lower", False, lambda run: run.score_drop),
}
"""Measures besides the metrics of the tasks, and `failed`, the share of failed runs."""
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What the runs of a setting say about a claim on one pair of arms.

    `left`: mean of the arm that is claimed to be better. `right`: of the other; None where the claim names a value.
    `difference`: left minus right, or left divided by right for a ratio; None where a value is missing. `measured`: the
    number of seeds with values of both arms, of `seeds`.
    """

    setting: str
    better: str
    left: IntervalEstimate | None
    worse: str
    right: IntervalEstimate | None
    difference: IntervalEstimate | None
    outcome: Outcome
    measured: int
    seeds: int


@dataclass(frozen=True, slots=True)
class EvaluatedClaim:
    """A claim with its measure and the outcome for each pair of arms in each setting."""

    claim: Claim
    measure: RunMeasure
    pairs: tuple[PairOutcome, ...]

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        outcomes = [pair.outcome for pair in self.pairs if pair.outcome != "not measured"]
        if not outcomes:
            return "Not measured."
        count, total = {name: outcomes.count(name) for name in set(outcomes)}, len(outcomes)
        holds, opposite = count.get("holds", 0), count.get("opposite", 0)
        if holds == total:
            return "Holds here."
        if opposite == total:
            return "Does not hold here: the opposite does."
        words = {"holds": "holds in", "opposite": "the opposite holds in", "equal": "no difference in"}
        parts = [f"{text} {count[name]}" for name, text in words.items() if name in count]
        parts += [f"{count['at the limit']} at the limit of the score"] if "at the limit" in count else []
        parts += [f"{count['undecided']} undecided"] if "undecided" in count else []
        start = "Holds in part" if holds else "Does not hold here" if opposite or "equal" in count else "Undecided here"
        return f"{start}: of {total} comparisons {', '.join(parts)}."


def check_measures(plan: ComparisonPlan) -> None:
    """Raise UnknownNameError for a claim about something that its tasks do not measure."""
    for number, claim in enumerate(plan.claims, 1):
        for name in claim.tasks or plan.tasks:
            task = plan.tasks[name]
            known = {*MEASURES, FAILED, task.reported.name, *task.also}
            if claim.measure not in known:
                raise UnknownNameError("measure", claim.measure, known, f"of task '{name}', in claim {number}")


def evaluate_claims(plan: ComparisonPlan, blocks: Sequence[Block]) -> list[EvaluatedClaim]:
    """Test every claim of a plan on the seeds that all arms have run."""
    failed = failed_runs(plan, blocks) if blocks else frozenset()
    return [_test(plan, claim, blocks, failed) for claim in plan.claims]


def describe_decisions(claims: Sequence[EvaluatedClaim]) -> str:
    """Describe how claims are decided, and how many comparisons would be decided by chance."""
    count = sum(pair.outcome != "not measured" for evaluated in claims for pair in evaluated.pairs)
    return (
        "A comparison is decided by its 95 % interval, without a correction for the number of comparisons: if nothing "
        f"differed, about {count / 20:.0f} of these {count} would be decided by chance."
    )


def find_measure(name: str, failed: frozenset[str]) -> RunMeasure:
    """Return a measure by name, also a metric. `failed`: names of failed runs."""
    if name == FAILED:
        return RunMeasure(
            "share of failed runs",
            "lower",
            False,
            lambda run: float(run.name in failed),
            aggregate.UNIT,
            is_failure=True,
        )
    if name in MEASURES:
        return MEASURES[name]
    better: str = catalog.build("metrics", name).better

    def value(run: RunResult) -> float | None:
        number = run.value if run.metric == name else run.also.get(name)
        return number if number is not None and math.isfinite(number) else None

    plain, bounds = name.partition(":")[0], aggregate.UNBOUNDED
    return RunMeasure(name, better, plain == "ppl", value, aggregate.UNIT if plain in SHARES else bounds)


def _test(plan: ComparisonPlan, claim: Claim, blocks: Sequence[Block], failed: frozenset[str]) -> EvaluatedClaim:
    measure = find_measure(claim.measure, failed)
    pairs: list[PairOutcome] = []
    for setting, group in blocks_by_setting(blocks).items():
        if next(iter(group[0].values())).task in (claim.tasks or plan.tasks):
            pairs += _test_setting(claim, measure, setting, group)
    return EvaluatedClaim(claim, measure, tuple(pairs))


def _test_setting(claim: Claim, measure: RunMeasure, setting: str, group: Sequence[Block]) -> Iterator[PairOutcome]:
    """Test a claim on each pair of arms, or on each arm against the value of the claim, in one setting."""
    for better in claim.better:
        for worse in claim.worse or ("",):
            left = [measure.value(block[better]) for block in group]
            right = [measure.value(block[worse]) if worse else claim.least for block in group]
            pairs = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
            difference, outcome = _compare(setting, measure, pairs)
            winner = {"holds": better, "opposite": worse}.get(outcome)
            if winner and any(
                block[winner].state != "ended" and measure.value(block[winner]) is None for block in group
            ):
                outcome = "undecided"
            yield PairOutcome(
                setting,
                better,
                _mean(setting, measure, [a for a, _ in pairs]),
                worse or f"{claim.least:g}",
                _mean(setting, measure, [b for _, b in pairs]) if worse else None,
                difference,
                outcome,
                len(pairs),
                len(group),
            )


def _compare(
    setting: str, measure: RunMeasure, pairs: Sequence[tuple[float, float]]
) -> tuple[IntervalEstimate | None, Outcome]:
    """Return the mean difference, or the ratio, of pairs, and the outcome."""
    if not pairs or (measure.is_ratio and any(min(pair) <= 0 for pair in pairs)):
        return None, "not measured"
    values = np.array(pairs, dtype=np.float64)
    if measure.is_ratio:
        difference = aggregate.estimate_geometric_mean({setting: values[:, 0] / values[:, 1]})
        low, high = math.log(difference.low), math.log(difference.high)
    else:
        difference = aggregate.estimate_mean({setting: values[:, 0] - values[:, 1]})
        low, high = difference.low, difference.high
    if len(pairs) > 1 and (values[:, 0] == values[:, 1]).all():
        is_limited = measure is MEASURES["score"] and np.isin(values, measure.bounds).all()
        return difference, "at the limit" if is_limited else "equal"
    if len(pairs) < 2 or low <= 0 <= high or not _is_significant(measure, values):
        return difference, "undecided"
    return difference, "holds" if (low > 0) == (measure.better == "higher") else "opposite"


def _is_significant(measure: RunMeasure, values: npt.NDArray[np.float64]) -> bool:
    """Whether failures differ by more than chance; True for other measures, which intervals decide.

    An interval of shares has no width where all seeds agree, however few they are.
    """
    if not measure.is_failure:
        return True
    left, right = (values[:, side] > 0 for side in (0, 1))
    return aggregate.mcnemar_exact(left.tolist(), right.tolist()) <= SIGNIFICANT


def _mean(setting: str, measure: RunMeasure, values: Sequence[float]) -> IntervalEstimate | None:
    """Estimate the mean of a measure; of one that is compared by its ratio, the geometric mean."""
    if not values or (measure.is_ratio and min(values) <= 0):
        return None
    groups = {setting: np.array(values, dtype=np.float64)}
    if measure.is_ratio:
        return aggregate.estimate_geometric_mean(groups)
    return aggregate.estimate_mean(groups, measure.bounds)
