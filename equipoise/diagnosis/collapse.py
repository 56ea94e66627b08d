"""Collapse: quality is lost, and does not come back. Judged forwards only: at each reading only the past is known.

A metric says so by itself when it is far from its best. It is measured seldom, so it is asked less of when the losses
say that the discriminator has won: then a small loss of quality is taken for the beginning of a large one. Without any
metric, what is left is how long it has won already.
"""

import math
import statistics

from equipoise.diagnosis.criteria import CRITERIA, Criteria
from equipoise.diagnosis.history import RECENT, History, Measured
from equipoise.diagnosis.sign import Sign, graded

WORST = 3.0
"""Times as bad as the best at which nothing is left to lose; the field logs end at 2.8 to 5."""
NOTHING = 0.05
"""A score below this, where higher is better, is none."""
SCATTER = 5
"""A kernel distance to 1,000 digits has a standard error of some 0.003 near 0; the default recipe's first is 0.03, and
at a twentieth of that a good run with 0.0031, 0.0040 and 0.0039 was called a collapse."""
LASTING = 0.05
"""All values of the last twentieth of the run so far must be worse, not the last alone: often measured, a metric is
seen to scatter."""
JUMP = 4.0
"""Both losses jump by so many deviations of what they did before, the discriminator's down, the generator's up; losses
of healthy logs stay below 2.5 in either."""
SUDDEN = 8
"""Readings after a jump that are compared with the rest of what is recent."""


def collapse(history: History, criteria: Criteria = CRITERIA) -> Sign | None:
    """A lasting loss of quality; once found, it stays so until the quality is back."""
    held, jump = _held(history), _jump(history)
    signs = [_by_metric(history, name, held, jump, criteria) for name in history.measured]
    result = [sign for sign in signs if sign]
    if result:
        return max(result, key=lambda sign: sign.severity)
    if history.measured or history.last("rank_train_fake", 1) or _thrives(history):
        return None  # losses alone are for logs that have nothing better
    if held >= criteria.held or (held > 0 and "collapse" in history.since):
        return Sign(0.6, 0.6, _evidence(history, held, jump))
    return Sign(0.6, 0.5, _evidence(history, held, jump)) if jump else None


def _by_metric(history: History, name: str, held: float, jump: float, criteria: Criteria) -> Sign | None:
    """What a metric says, with the losses beside it."""
    measured = history.measured[name]
    ratios = [worse_by(name, measured, each.value) for each in measured.values]
    late = sum(1 for each in measured.values if each.step > (1 - LASTING) * history.step)
    worse = min(ratios[-max(1, late) :])
    twice = min(ratios[-max(2, late) :])
    alone = worse >= criteria.lost or twice >= criteria.lost_twice
    beside = worse >= criteria.lost_with_losses if held or jump else False
    by_time = worse >= criteria.lost_with_time and held >= criteria.held
    lasting = worse >= criteria.lost_with_losses and "collapse" in history.since
    if not (alone or beside or by_time or lasting):
        return None
    severity = max(0.6, graded(min(worse, WORST), criteria.lost_twice, criteria.lost, WORST) or 0.0)
    confidence = 0.9 if twice >= criteria.lost else 0.8 if alone else 0.7
    evidence = {name: measured.values[-1].value, f"{name}_at_best": measured.best.value}
    return Sign(severity, confidence, {**evidence, **_evidence(history, held, jump)})


def _held(history: History) -> float:
    """The share of the run so far for which the discriminator has won by its losses; 0 if it has not now."""
    since = history.levels.overwhelmed_since
    return 0.0 if since is None else max(1 - since / max(1, history.step), 1e-9)


def _jump(history: History) -> float:
    """By how many deviations both losses have jumped, the smaller of the two, if by JUMP or more; else 0."""
    jumps = []
    for name, sign in (("loss_d", -1), ("loss_g", 1)):
        values = history.last(name, RECENT)
        before, after = values[:-SUDDEN], values[-SUDDEN:]
        if len(values) < RECENT or (name == "loss_d" and min(before) < 0):
            return 0.0  # a loss without a bottom has no level to fall from
        centre = statistics.median(before)
        deviation = 1.4826 * statistics.median(abs(value - centre) for value in before)
        if deviation <= 1e-6 * abs(centre):
            return 0.0
        jumps.append(sign * (statistics.median(after) - centre) / deviation)
    return min(jumps) if min(jumps) >= JUMP else 0.0


def _thrives(history: History) -> bool:
    """Whether fakes are as near to reals as they ever were, by coverage: losses alone then prove nothing."""
    seen, best = history.last("coverage", 2), max((value for _, value in history.whole("coverage")), default=0.0)
    return bool(seen) and statistics.fmean(seen) >= 0.6 * best > 0


def _evidence(history: History, held: float, jump: float) -> dict[str, float]:
    """What the losses say, where they say something."""
    levels = history.levels
    result: dict[str, float] = {}
    if held and levels.loss_d is not None and levels.loss_g is not None:
        result |= {"loss_d": levels.loss_d, "loss_d_at_most": levels.highest_d}
        result |= {"loss_g": levels.loss_g, "loss_g_at_least": levels.lowest_g, "won_for": held}
    return {**result, "jump": jump} if jump else result


def worse_by(name: str, measured: Measured, value: float) -> float:
    """How many times as bad as the best so far; 1 is as good, infinite if it is no number.

    value / best, turned over where higher is better. Kernel distances are unbiased, so they scatter about 0 at their
    best: there a best below a fifth of the first value counts as that. A score of which higher is better, most of
    them shares, is not told from 0 below a twentieth of 1.
    """
    best = measured.best.value
    if not math.isfinite(value):
        return math.inf
    if measured.better == "higher":
        return max(best, NOTHING) / max(value, NOTHING)
    floor = max(best, abs(measured.first.value) / SCATTER) if name.startswith(("kd_", "kid")) else best
    return value / floor if floor > 0 else 1.0
