"""The brief's three questions, quality, efficiency and stability, answered in plain words from the numbers alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from equipoise.comparison.aggregate import Estimate
from equipoise.comparison.summary import SURE, Summaries, Summary
from equipoise.report.words import duration

WORTHLESS = {"untrained": "an untrained generator", "noise": "noise", "one real": "one real again and again"}
FEW = 4
"""Arms from which on names are left out where that says the same."""


def scope(result: Summaries) -> str:
    """What the answers rest on."""
    arms = len(result.arms)
    runs = f"{result.runs // arms} runs" if result.runs > arms else "run"
    part = "" if result.runs == result.planned else f" Of {result.planned} runs planned {result.runs} count so far."
    return (
        f"{arms} ways of control, each in the same {runs}: same tasks, same steps, same seeds. "
        f"The baseline is {result.baseline}. A score of 0 is as bad as the worst of noise, an untrained generator and "
        f"one real again and again, 1 as good as what is real; numbers in brackets are 95 % intervals.{part}"
    )


def quality(result: Summaries) -> str:
    """Who makes the best samples, and of whom that is sure."""
    first, base = result.arms[0], result.of(result.baseline)
    if first is base:
        head = f"No way of control came out above {base.arm}, which scores {interval(base.quality)}."
    else:
        head = f"{first.arm} comes first and scores {interval(first.quality)}; {base.arm} {interval(base.quality)}."
    others = [one for one in result.arms if one.against]
    if not others:
        return head
    better = [one for one in others if one.against and one.against.surely > 0]
    worse = [one for one in others if one.against and one.against.surely < 0]
    said = [f"surely better than {base.arm}: {_ahead(result, better)}"] if better else []
    said += [f"surely worse: {_ahead(result, worse)}"] if worse else []
    open_ = [one for one in others if one not in better and one not in worse]
    if open_:
        verb = "are" if open_[1:] else "is"
        said.append(f"these runs do not tell whether {_named(open_)} {verb} better or worse than {base.arm}")
    sentence = "; ".join(said)
    counted = " Sure is what other seeds would come to, for p counts runs, not tasks." if better or worse else ""
    return f"{head} {sentence[0].upper()}{sentence[1:]}.{counted}{_too_few(result)}"


def efficiency(result: Summaries) -> str:
    """Who is soonest as good as the baseline ends, and what each costs."""
    base = result.of(result.baseline)
    costs = [one for one in result.arms if one.cpu is not None and one is not base]
    said = []
    if base.seconds is not None:
        said.append(f"A run of {base.arm} takes {duration(base.seconds)} of processor time in the mean.")
    if costs:
        least, most = min(costs, key=_times), max(costs, key=_times)
        times = {one.arm: told(one.cpu, _hundredths) for one in (least, most) if one.cpu}
        if most is least:
            said.append(f"{least.arm} takes {times[least.arm]} times that.")
        else:
            said.append(
                f"Of the others {least.arm} takes least, {times[least.arm]} times that, and {most.arm} most, "
                f"{times[most.arm]} times."
            )
    soon = sorted(result.arms, key=lambda one: (one.steps.value, one.cost.value))[0]
    if math.isfinite(soon.steps.value):
        said.append(
            f"The first to be as good as the median run of {base.arm} is in the end: {soon.arm}, after "
            f"{told(soon.steps, share)} of the steps and {told(soon.cost, share)} of the processor time of {base.arm}, "
            f"median; it got there in {soon.reached} of {soon.runs} runs.{_itself(base) if soon is not base else ''}"
        )
    else:
        said.append(f"No way of control got as far as the median run of {base.arm} in more than half of its runs.")
    return " ".join(said)


def stability(result: Summaries) -> str:
    """Who fails, and how many fell after their best."""
    base, least = result.of(result.baseline), min(one.failures for one in result.arms)
    most = max(result.arms, key=lambda one: one.failures)
    steady = [one for one in result.arms if one.failures == least]
    if most.failures == least:
        head = f"{least} of {base.runs} runs failed, of every arm."
    else:
        fewest = f"Fewest failures, {least} of {base.runs} runs: {_most_of(result, steady)}"
        head = f"{fewest}; most, {most.failures}: {most.arm}."
    sure = [one for one in result.arms if one.against and one.against.failures_p < SURE]
    sentence = "No difference in failures is sure."
    if sure:
        sentence = f"The difference to {base.arm} is sure for {_named(sure)}."
    said = [head, sentence]
    if fallen := [(one.fallen, one) for one in result.arms if one.fallen and one.fallen.value >= 0.001]:
        most_lost, one = max(fallen, key=lambda pair: pair[0].value)
        part = "" if one.ended == one.runs else f" of its {one.ended} run{'s' * (one.ended > 1)} that ended"
        said.append(f"After its best, {one.arm} lost most: {interval(most_lost)} of score in the mean{part}.")
    return " ".join([*said, *_scatter(result), *_collapse(result)])


def unlearnt(result: Summaries, passable: Mapping[str, tuple[str, float]]) -> list[str]:
    """Warnings of settings in which most ways of control come to less than samples that are worth nothing.

    `passable`: setting -> the best kind of these, and its score.
    """
    said = []
    for name, (kind, score) in passable.items():
        means = [one.settings[name].value for one in result.arms if name in one.settings]
        if means and (middle := median(means)) < score:
            said.append(
                f"In {name} half of the ways of control score below {middle:.3f}, and {WORTHLESS[kind]} scores "
                f"{score:.3f}: nothing was learned there that the metric can see, so that neither places nor times say "
                "anything there. Train longer, or take an easier task."
            )
    return said


def told(estimate: Estimate, form: Callable[[float], str]) -> str:
    """0.61 (0.55 to 0.66), each number in a form; the value alone where draws do not differ."""
    value, low, high = (form(number) for number in (estimate.value, estimate.low, estimate.high))
    return value if value == low == high else f"{value} ({low} to {high})"


def interval(estimate: Estimate) -> str:
    """0.610 (0.550 to 0.660)."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def share(value: float) -> str:
    """75%; an infinite one is never reached."""
    return f"{value:.0%}" if math.isfinite(value) else "never"


def _hundredths(value: float) -> str:
    return f"{value:.2f}"


def _itself(base: Summary) -> str:
    """When the baseline first is as good as it ends: scores go up and down, so a first time comes early for all."""
    return f" {base.arm} itself first got there after {told(base.steps, share)} of the steps."


def _times(one: Summary) -> float:
    """CPU time, times the baseline's."""
    return one.cpu.value if one.cpu else 0.0


def _scatter(result: Summaries) -> list[str]:
    """Whose last scores are steadiest. An arm with failures is not: of runs that broke nothing scatters any more."""
    ranked = sorted(((one.spread, one) for one in result.arms if one.spread), key=lambda pair: pair[0].value)
    if len(ranked) < 2:
        return []
    most, restless = ranked[-1]
    low, high = f"{ranked[0][0].value:.3f}", f"{most.value:.3f}"
    if low == high:
        return [f"In the last fifth of a run scores scatter by {low} with every arm."]
    whole = [(spread, one) for spread, one in ranked if not one.failures]
    calm = f"{whole[0][1].arm} ({whole[0][0].value:.3f})" if whole and whole[0][1] is not restless else ""
    if calm and not any(one.failures for one in result.arms):
        return [f"In the last fifth of a run scores scatter least with {calm}, most with {restless.arm} ({high})."]
    rest = f"; of the arms without failures least with {calm}" if calm else ""
    return [f"In the last fifth of a run scores scatter most with {restless.arm} ({high}){rest}."]


def _collapse(result: Summaries) -> list[str]:
    """How often variety was lost."""
    seen = [(one.collapse, one.arm) for one in result.arms if one.collapse]
    if not seen:
        return []
    worst, arm = max(seen, key=lambda pair: pair[0].value)
    if not worst.value:
        return ["No reading found that variety was lost, so no sign of collapse."]
    least = min(one.value for one, _ in seen)
    where = f"most often with {arm}: in" if least < worst.value else "with every arm alike: in"
    clean = [name for one, name in seen if not one.value]
    rest = f"; never with {listed(clean) if len(clean) < FEW else f'{len(clean)} of the others'}" if clean else ""
    share = told(worst, _percent)
    return [f"Variety was lost, a sign of collapse, {where} {share} of the readings of the second half{rest}."]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _too_few(result: Summaries) -> str:
    """A warning where even the clearest outcome could not be sure: all n pairs the same way have p = 2 / 2^n.

    Pairs of equal scores do not count, two runs as good as what is real among them.
    """
    pairs, others = max(one.against.pairs for one in result.arms if one.against), len(result.arms) - 1
    if others * 2 / 2**pairs < SURE:
        return ""
    return f" With {pairs} pair{'s' * (pairs != 1)} of runs that differ nothing could be sure, however clear."


def _ahead(result: Summaries, arms: Sequence[Summary]) -> str:
    """Their names, and in how many settings each is ahead, where there are several."""
    total = len(result.thresholds)
    if total == 1:
        return _named(arms)
    return listed([f"{one.arm} (better in {one.against.ahead} of {total} settings)" for one in arms if one.against])


def _named(arms: Sequence[Summary]) -> str:
    return listed([one.arm for one in arms])


def _most_of(result: Summaries, arms: Sequence[Summary]) -> str:
    """Their names, or those of the others where these are fewer."""
    others = [one for one in result.arms if one not in arms]
    return f"all but {_named(others)}" if len(arms) >= FEW and len(others) < len(arms) else _named(arms)


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
