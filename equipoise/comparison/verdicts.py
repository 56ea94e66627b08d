"""The brief's three questions, quality, efficiency and stability, answered in plain words from the numbers alone."""

import math
from collections.abc import Sequence

from equipoise.comparison.aggregate import Estimate
from equipoise.comparison.summary import Summaries, Summary
from equipoise.report.words import duration

SURE = 0.05
"""A corrected p-value below this is called sure."""


def scope(found: Summaries) -> str:
    """What the answers rest on."""
    arms = len(found.arms)
    runs = f"{found.runs // arms} runs" if found.runs > arms else "run"
    part = "" if found.runs == found.planned else f" Of {found.planned} runs planned {found.runs} count so far."
    return (
        f"{arms} ways of control, each in the same {runs}: same tasks, same steps, same seeds. "
        f"The baseline is {found.baseline}.{part}"
    )


def quality(found: Summaries) -> str:
    """Who makes the best samples, and of whom that is sure."""
    first, base = found.arms[0], found.of(found.baseline)
    if first is base:
        head = f"No way of control came out above {base.arm}, with {interval(base.quality)}."
    else:
        head = f"{first.arm} comes first, with {interval(first.quality)}; {base.arm} has {interval(base.quality)}."
    others = [one for one in found.arms if one.against]
    if not others:
        return head
    better = [one for one in others if _sure(one) and one.against and one.against.difference.value > 0]
    worse = [one for one in others if _sure(one) and one.against and one.against.difference.value < 0]
    said = [f"surely better than {base.arm}: {_named(better)}"] if better else []
    said += [f"surely worse: {_named(worse)}"] if worse else []
    open_ = [one for one in others if one not in better and one not in worse]
    if open_:
        said.append(f"of {_named(open_)} these runs do not tell")
    sentence = "; ".join(said)
    return f"{head} {sentence[0].upper()}{sentence[1:]}.{_too_few(found)}"


def efficiency(found: Summaries) -> str:
    """Who is soonest as good as the baseline ends, and what each costs."""
    base = found.of(found.baseline)
    costs = [one for one in found.arms if one.cpu is not None and one is not base]
    said = []
    if base.seconds is not None:
        said.append(f"A run of {base.arm} takes {duration(base.seconds)} of the processor in the mean.")
    if costs:
        dear = max(costs, key=lambda one: one.cpu or 0.0)
        cheap = min(costs, key=lambda one: one.cpu or 0.0)
        bounds = f"{cheap.arm} {cheap.cpu or 0.0:.2f}"
        bounds += f" to {dear.arm} {dear.cpu or 0.0:.2f}" if dear is not cheap else ""
        said.append(f"Times that: {bounds}.")
    soon = sorted(found.arms, key=lambda one: (one.steps, one.cost))[0]
    if math.isfinite(soon.steps):
        said.append(
            f"Soonest as good as the median run of {base.arm} ends: {soon.arm}, after {soon.steps:.0%} of the steps "
            f"and {soon.cost:.0%} of the processor time of {base.arm}; in {soon.reached} of {soon.runs} runs at all."
        )
    else:
        said.append(f"No way of control got as far as the median run of {base.arm} in more than half of its runs.")
    return " ".join(said)


def stability(found: Summaries) -> str:
    """Who fails, and how many fell after their best."""
    base, least = found.of(found.baseline), min(one.failures for one in found.arms)
    most = max(found.arms, key=lambda one: one.failures)
    steady = [one for one in found.arms if one.failures == least]
    if most.failures == least:
        head = f"{least} of {base.runs} runs failed, of every arm."
    else:
        head = f"Fewest failures, {least} of {base.runs} runs: {_named(steady)}; most, {most.failures}: {most.arm}."
    sure = [one for one in found.arms if one.against and one.against.failures_p < SURE]
    told = f"The difference to {base.arm} is sure for {_named(sure)}." if sure else "No difference in failures is sure."
    fallen = [one for one in found.arms if one.fallen is not None and one.fallen >= 0.001]
    if fallen:
        worst = max(fallen, key=lambda one: one.fallen or 0.0)
        told += f" After its best, {worst.arm} lost most: {worst.fallen or 0.0:.3f} of score in the mean."
    return f"{head} {told}"


def interval(estimate: Estimate) -> str:
    """0.61 (0.55 to 0.66)."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _sure(one: Summary) -> bool:
    return one.against is not None and one.against.p < SURE


def _too_few(found: Summaries) -> str:
    """A warning where even the clearest outcome could not be sure: all pairs the same way have p = 2 / 2^n."""
    pairs, others = found.runs // len(found.arms), len(found.arms) - 1
    if others * 2 / 2**pairs < SURE:
        return ""
    return f" With {pairs} pair{'s' * (pairs > 1)} of runs nothing could be sure, however clear."


def _named(arms: Sequence[Summary]) -> str:
    names = [one.arm for one in arms]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
