"""Conclusions on quality, efficiency and stability in words, from the statistics alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.summary import SIGNIFICANCE_LEVEL, ArmSummary, ComparisonSummary
from equipoise.report.formatting import format_duration

WORTHLESS = {"untrained": "an untrained generator", "noise": "noise", "one real": "one real repeated"}
MANY_ARMS = 4
"""Lists of at least this number of arms are shortened to "all but …" where possible."""
MIN_SCORE_DROP = 0.001
CORRECTED_P = "Holm-corrected p"


def describe_scope(summary: ComparisonSummary, equal: str = "tasks, steps and seeds") -> str:
    """Describe what was compared. `equal`: what all arms have in common."""
    arms = len(summary.arms)
    runs = summary.runs // arms
    count = "" if summary.runs == summary.total_runs else f" {summary.runs} of {summary.total_runs} runs count so far."
    return (
        f"{arms} arms, {_count(runs, 'run')} each, with the same {equal}. Baseline: {summary.baseline}. "
        "Score 0 is the worst of noise, an untrained generator and one real repeated, score 1 the quality of reals; "
        f"brackets are 95 % confidence intervals.{count}"
    )


def describe_quality(summary: ComparisonSummary) -> str:
    """Describe which arm has the best samples, and which differences from the baseline are significant."""
    best, base = summary.arms[0], summary.arm(summary.baseline)
    if best is base:
        text = f"No arm scores higher than {base.name}, {format_interval(base.quality)}."
    else:
        text = f"{best.name} has the highest score, {format_interval(best.quality)}; "
        text += f"{base.name} scores {format_interval(base.quality)}."
    if len(summary.arms) == 1:
        return text
    return f"{text} {_describe_significance(summary)}{_describe_low_power(summary)}"


def _describe_significance(summary: ComparisonSummary) -> str:
    pairs = [(arm, arm.versus_baseline) for arm in summary.arms if arm.versus_baseline]
    better = [arm for arm, versus in pairs if versus.significance > 0]
    worse = [arm for arm, versus in pairs if versus.significance < 0]
    conflicting = [arm for arm, versus in pairs if versus.p < SIGNIFICANCE_LEVEL and not versus.significance]
    equal = [arm for arm, versus in pairs if versus.p >= SIGNIFICANCE_LEVEL]
    base, level = summary.baseline, f"({CORRECTED_P} < {SIGNIFICANCE_LEVEL:g})"
    sentences = [f"Significantly better than {base} {level}: {_with_settings(summary, better)}."] if better else []
    if worse:
        sentences.append(f"Significantly worse than {base} {level}: {_with_settings(summary, worse)}.")
    if conflicting:
        sentences.append(
            f"Inconclusive: {_names(conflicting)}, because the signed-rank test and the interquartile means disagree "
            "on which arm is better."
        )
    if len(equal) == len(pairs):
        sentences.append(f"No arm differs significantly from {base} ({CORRECTED_P} ≥ {SIGNIFICANCE_LEVEL:g}).")
    elif equal:
        sentences.append(f"No significant difference from {base}: {_names(equal)}.")
    if better or worse:
        sentences.append("The tests count runs, not tasks: they generalise to other seeds, not to other data.")
    return " ".join(sentences)


def _describe_low_power(summary: ComparisonSummary) -> str:
    """Warn if no outcome could be significant: n pairs that all agree have p = 2 / 2^n.

    Pairs with equal scores, such as two runs as good as reals, do not count.
    """
    pairs = max(arm.versus_baseline.pairs for arm in summary.arms if arm.versus_baseline)
    comparisons = len(summary.arms) - 1
    if comparisons * 2 / 2**pairs < SIGNIFICANCE_LEVEL:
        return ""
    return f" With only {_count(pairs, 'pair')} of different scores, no difference can be significant."


def describe_efficiency(summary: ComparisonSummary) -> str:
    """Describe which arm first reaches the final score of the baseline, and the cost of each."""
    base = summary.arm(summary.baseline)
    sentences = []
    if base.cpu_seconds is not None:
        sentences.append(f"A run of {base.name} takes {format_duration(base.cpu_seconds)} of CPU time on average.")
    ratios = [(arm.cpu_ratio, arm.name) for arm in summary.arms if arm.cpu_ratio is not None and arm is not base]
    if ratios:
        ratios.sort(key=lambda pair: pair[0].value)
        (least, least_arm), (most, most_arm) = ratios[0], max(ratios, key=lambda pair: pair[0].value)
        text = f"{least_arm} takes {format_estimate(least, _two_decimals)} times that"
        if least_arm != most_arm:
            text = (
                f"Of the other arms {text}, the least, and {most_arm} {format_estimate(most, _two_decimals)}, the most"
            )
        sentences.append(f"{text}.")
    return " ".join([*sentences, _describe_speed(summary, base)])


def _describe_speed(summary: ComparisonSummary, base: ArmSummary) -> str:
    first = min(summary.arms, key=lambda arm: (arm.steps_to_baseline.value, arm.cpu_to_baseline.value))
    target = f"the final score of the median run of {base.name}"
    if not math.isfinite(first.steps_to_baseline.value):
        return f"No arm reaches {target} in more than half of its runs."
    steps, cpu = (
        format_estimate(estimate, format_share) for estimate in (first.steps_to_baseline, first.cpu_to_baseline)
    )
    text = (
        f"{first.name} is the first to reach {target}: after {steps} of the steps and {cpu} of the CPU time of "
        f"{base.name} (medians), in {first.reached} of {first.runs} runs."
    )
    if first is base:
        return text
    own = format_estimate(base.steps_to_baseline, format_share)
    return f"{text} Because scores fluctuate, {base.name} itself first reaches it after {own} of the steps."


def describe_stability(summary: ComparisonSummary) -> str:
    """Describe failures, drops of the score, fluctuation and lost variety."""
    sentences = [_describe_failures(summary)]
    drops = [(arm.score_drop, arm) for arm in summary.arms if arm.score_drop and arm.score_drop.value >= MIN_SCORE_DROP]
    if drops:
        largest, arm = max(drops, key=lambda pair: pair[0].value)
        part = "" if arm.ended == arm.runs else f", in {_count(arm.ended, 'run')} that ended"
        sentences.append(
            f"The mean drop from best to last score is largest with {arm.name}: {format_interval(largest)}{part}."
        )
    return " ".join([*sentences, *_describe_spread(summary), *_describe_collapse(summary)])


def _describe_failures(summary: ComparisonSummary) -> str:
    base, fewest = summary.arm(summary.baseline), min(arm.failures for arm in summary.arms)
    most = max(summary.arms, key=lambda arm: arm.failures)
    if most.failures == fewest:
        text = f"{fewest} of {base.runs} runs failed in every arm."
    else:
        best = _names_or_rest(summary, [arm for arm in summary.arms if arm.failures == fewest])
        text = f"Fewest failures, {fewest} of {base.runs} runs: {best}; most, {most.failures}: {most.name}."
    significant = [
        arm for arm in summary.arms if arm.versus_baseline and arm.versus_baseline.failure_p < SIGNIFICANCE_LEVEL
    ]
    if significant:
        return f"{text} The difference from {base.name} is significant for {_names(significant)}."
    return f"{text} No difference in failures is significant."


def _describe_spread(summary: ComparisonSummary) -> list[str]:
    """Describe fluctuation. Arms with failures are not called steady: a run that learns nothing does not fluctuate."""
    ranked = sorted(((arm.spread, arm) for arm in summary.arms if arm.spread), key=lambda pair: pair[0].value)
    if len(ranked) < 2:
        return []
    most, least = (f"{ranked[index][0].value:.3f}" for index in (-1, 0))
    subject = "The standard deviation of the score over the last fifth of a run is"
    if most == least:
        return [f"{subject} {least} with every arm."]
    text = f"{subject} largest with {ranked[-1][1].name} ({most})"
    steady = [(spread, arm) for spread, arm in ranked[:-1] if not arm.failures]
    if steady:
        spread, arm = steady[0]
        group = "" if not any(other.failures for other in summary.arms) else " among the arms without failures"
        text += f", smallest{group} with {arm.name} ({spread.value:.3f})"
    return [f"{text}."]


def _describe_collapse(summary: ComparisonSummary) -> list[str]:
    shares = [(arm.collapse, arm.name) for arm in summary.arms if arm.collapse]
    if not shares:
        return []
    worst, arm = max(shares, key=lambda pair: pair[0].value)
    if not worst.value:
        return ["No reading shows lost variety, so there is no sign of collapse."]
    is_equal = min(share.value for share, _ in shares) == worst.value
    where = "equally frequent with every arm" if is_equal else f"most frequent with {arm}"
    text = f"Lost variety, a sign of collapse, is {where}: {format_estimate(worst, _percent)} of the readings of the "
    text += "second half of a run"
    if without := [name for share, name in shares if not share.value]:
        names = join_names(without) if len(without) < MANY_ARMS else f"{len(without)} other arms"
        text += f"; it does not occur with {names}"
    return [f"{text}."]


def warn_unlearned_settings(summary: ComparisonSummary, worthless: Mapping[str, tuple[str, float]]) -> list[str]:
    """Return warnings of settings in which most arms score less than worthless samples.

    `worthless`: setting -> the kind of worthless samples with the highest score, and that score.
    """
    warnings = []
    for name, (kind, score) in worthless.items():
        means = [arm.settings[name].value for arm in summary.arms if name in arm.settings]
        if means and (middle := median(means)) < score:
            warnings.append(
                f"In {name}, the median arm scores {middle:.3f}, less than {WORTHLESS[kind]} ({score:.3f}); "
                "nothing that the metric measures was learned, so ranks and times are meaningless there. Train longer, "
                "or choose an easier task."
            )
    return warnings


def format_estimate(estimate: IntervalEstimate, number: Callable[[float], str]) -> str:
    """Format an estimate as "0.61 (0.55 to 0.66)"; without bounds if they look the same as the value."""
    value, low, high = (number(bound) for bound in (estimate.value, estimate.low, estimate.high))
    return value if value == low == high else f"{value} ({low} to {high})"


def format_interval(estimate: IntervalEstimate) -> str:
    """Format an estimate with three decimals: "0.610 (0.550 to 0.660)"."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def format_share(value: float) -> str:
    """Format a share as "75%"; an infinite one as "never"."""
    return f"{value:.0%}" if math.isfinite(value) else "never"


def join_names(names: Sequence[str]) -> str:
    """Join names as "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _two_decimals(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _names(arms: Sequence[ArmSummary]) -> str:
    return join_names([arm.name for arm in arms])


def _with_settings(summary: ComparisonSummary, arms: Sequence[ArmSummary]) -> str:
    """Format the names of arms, with the number of settings in which each is better if there are several."""
    total = len(summary.thresholds)
    if total == 1:
        return _names(arms)
    return join_names(
        [
            f"{arm.name} (better in {arm.versus_baseline.settings_better} of {total} settings)"
            for arm in arms
            if arm.versus_baseline
        ]
    )


def _names_or_rest(summary: ComparisonSummary, arms: Sequence[ArmSummary]) -> str:
    """Format the names of arms, or those of the other arms after "all but" if they are fewer."""
    excluded = [arm for arm in summary.arms if arm not in arms]
    return f"all but {_names(excluded)}" if len(arms) >= MANY_ARMS and len(excluded) < len(arms) else _names(arms)
