"""Symptoms in the samples: how various, how near to reals, whether copies, whether they still get better."""

import statistics

from equipoise.diagnosis.history import History
from equipoise.diagnosis.sign import MILD, Sign, graded

ALIKE = (0.5, 0.3, 0.1)
"""Diversity against reals; below 0.5 a collapse is suspected, below 0.3 it is an alarm."""
FORGOTTEN = (0.6, 0.45, 0.1)
"""Coverage against the best the run has had. 128 reals give it a standard error of 0.04 at 0.5."""
CHANCE = 0.2
"""Coverage that single readings of 128 reals may reach by chance."""
NOWHERE = 0.05
"""Coverage up to which no fake counts as near a real. That is so at the start of every run; after a tenth of one whose
knobs stand far from what is published it is a hint (seed 100 of benchmarks/rescue.py)."""
OVERFIT = (0.3, 0.5, 0.9)
"""rank_train_held_out: 0.5 is an alarm; it scatters by 0.05 with 256 logits a side, by 0.15 with 16 held-out reals."""
COPIED = (0.3, 0.5, 0.9)
"""As a rank: 0.5 says that three fakes of four stand nearer to one training real than held-out reals do."""
PLATEAU = 0.4
"""The share of the run, and of its measurements, that have passed since the best one."""
MEASUREMENTS = 8
"""A plateau needs so many."""
YOUNG = 2 / 3
"""Up to this share of the run a generator that never was various may still be young: slow games draw noise, alike for
every latent, for twenty epochs and bursts after a hundred (benchmarks/first_epoch_collapse.md)."""
NEWBORN = 0.1
"""Up to this share of the run nothing is said of a generator that never was various."""
TO_KNOW = 0.4
"""The most severe that a finding gets which nothing should be done about."""


def mode_collapse(history: History) -> Sign | None:
    """Fakes are alike: far less various than reals, after having been more so; or still, late in the run."""
    seen, most = history.last("diversity", 3), max((value for _, value in history.whole("diversity")), default=0.0)
    if len(seen) < 2:
        return None
    now = statistics.median(seen)
    severity = graded(now, *ALIKE)
    if severity is None or (most < 2 * now and history.progress < NEWBORN):
        return None
    never = most < ALIKE[0]
    if never and history.progress < YOUNG:
        severity = min(severity, TO_KNOW)
    return Sign(severity, 0.8, {"diversity": now, "diversity_at_most": most}, since=0 if never else None)


def mode_dropping(history: History) -> Sign | None:
    """Reals that had fakes near them have none any more, though the fakes are not all alike; or never had any."""
    seen, spread = history.last("coverage", 4), history.last("diversity", 2)
    whole = [value for _, value in history.whole("coverage")]
    if len(whole) >= 2 and max(whole) <= CHANCE and statistics.median(whole[-5:]) <= NOWHERE:
        return Sign(MILD, 0.6, {"coverage": max(whole)}, since=0) if history.progress >= NEWBORN else None
    if len(seen) < 4 or len(whole) < 8 or (spread and statistics.fmean(spread) < ALIKE[1]):
        return None
    best = max(statistics.fmean(whole[i : i + 3]) for i in range(len(whole) - 2))
    now = statistics.fmean(seen)
    severity = graded(now / best, *FORGOTTEN) if best >= 0.3 else None
    return None if severity is None else Sign(severity, 0.6, {"coverage": now, "coverage_at_best": best})


def discriminator_overfitting(history: History) -> Sign | None:
    """The discriminator scores reals that it trains on above reals that it has not seen: it learns them by heart."""
    seen = history.last("rank_train_held_out", 4)
    if len(seen) < 2:
        return None
    severity = graded(statistics.fmean(seen), *OVERFIT)
    return None if severity is None else Sign(severity, 0.9, {"rank_train_held_out": statistics.fmean(seen)})


def memorisation(history: History) -> Sign | None:
    """Fakes stand nearer to single training reals than held-out reals do: they are copies."""
    seen = history.last("copying", 4)
    if len(seen) < 4:
        return None
    severity = graded(statistics.fmean(seen), *COPIED)
    return None if severity is None else Sign(severity, 0.6, {"copying": statistics.fmean(seen)})


def plateau(history: History) -> Sign | None:
    """A metric has not got better for a good part of the run, nor much worse: more steps bring little."""
    for name, measured in history.measured.items():
        late = sum(1 for each in measured.values if each.step > measured.best.step)
        waited = (history.step - measured.best.step) / max(1, history.step)
        if measured.count >= MEASUREMENTS and waited >= PLATEAU and late >= PLATEAU * measured.count:
            return Sign(MILD, 0.6, {f"{name}_best": measured.best.value, "share_of_run_since": waited})
    return None
