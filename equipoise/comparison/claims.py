"""Claims of a plan, tested on its runs: which hold here, which do not, and which so few runs cannot decide.

A claim compares pairs of arms setting by setting, seed by seed. It holds for a pair if the 95 % interval of the mean
difference lies on the claimed side of 0, the opposite holds if it lies on the other side; else the runs do not decide.
Measures that span orders of magnitude are compared by their ratio, that is, by the difference of their logarithms.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from equipoise.comparison import aggregate
from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.plan import Claim, ComparisonPlan
from equipoise.comparison.results import RunResult
from equipoise.comparison.summary import Block, blocks_by_setting, failed_runs
from equipoise.core import catalog
from equipoise.errors import UnknownNameError

Outcome = Literal["holds", "opposite", "equal", "undecided", "not measured"]


@dataclass(frozen=True, slots=True)
class RunMeasure:
    """A number of a run that claims are about. `better`: "lower" or "higher". `is_ratio`: compared by its logarithm."""

    label: str
    better: str
    is_ratio: bool
    value: Callable[[RunResult], float | None]


MEASURES: Mapping[str, RunMeasure] = {
    "score": RunMeasure("score", "higher", False, lambda run: run.score),
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
    `difference`: left minus right, or left divided by right for a ratio; None where a value is missing.
    """

    setting: str
    better: str
    left: IntervalEstimate | None
    worse: str
    right: IntervalEstimate | None
    difference: IntervalEstimate | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TestedClaim:
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


def test_claims(plan: ComparisonPlan, blocks: Sequence[Block]) -> list[TestedClaim]:
    """Test every claim of a plan on the seeds that all arms have run."""
    failed = failed_runs(plan, blocks) if blocks else frozenset()
    return [_test(plan, claim, blocks, failed) for claim in plan.claims]


def find_measure(name: str, failed: frozenset[str]) -> RunMeasure:
    """Return a measure by name, also a metric. `failed`: names of failed runs."""
    if name == FAILED:
        return RunMeasure("share of failed runs", "lower", False, lambda run: float(run.name in failed))
    if name in MEASURES:
        return MEASURES[name]
    better: str = catalog.build("metrics", name).better

    def value(run: RunResult) -> float | None:
        number = run.value if run.metric == name else run.also.get(name)
        return number if number is not None and math.isfinite(number) else None

    return RunMeasure(name, better, name.partition(":")[0] == "ppl", value)


def _test(plan: ComparisonPlan, claim: Claim, blocks: Sequence[Block], failed: frozenset[str]) -> TestedClaim:
    measure = find_measure(claim.measure, failed)
    pairs: list[PairOutcome] = []
    for setting, group in blocks_by_setting(blocks).items():
        if next(iter(group[0].values())).task in (claim.tasks or plan.tasks):
            pairs += _test_setting(claim, measure, setting, group)
    return TestedClaim(claim, measure, tuple(pairs))


def _test_setting(claim: Claim, measure: RunMeasure, setting: str, group: Sequence[Block]) -> Iterator[PairOutcome]:
    """Test a claim on each pair of arms, or on each arm against the value of the claim, in one setting."""
    for better in claim.better:
        for worse in claim.worse or ("",):
            left = [measure.value(block[better]) for block in group]
            right = [measure.value(block[worse]) if worse else claim.least for block in group]
            pairs = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
            yield PairOutcome(
                setting,
                better,
                _mean(setting, measure, [a for a, _ in pairs]),
                worse or f"{claim.least:g}",
                _mean(setting, measure, [b for _, b in pairs]) if worse else None,
                *_compare(setting, measure, pairs),
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
        return difference, "equal"
    if len(pairs) < 2 or low <= 0 <= high:
        return difference, "undecided"
    return difference, "holds" if (low > 0) == (measure.better == "higher") else "opposite"


def _mean(setting: str, measure: RunMeasure, values: Sequence[float]) -> IntervalEstimate | None:
    """Estimate the mean of a measure; of one that is compared by its ratio, the geometric mean."""
    if not values or (measure.is_ratio and min(values) <= 0):
        return None
    estimate = aggregate.estimate_geometric_mean if measure.is_ratio else aggregate.estimate_mean
    return estimate({setting: np.array(values, dtype=np.float64)})
