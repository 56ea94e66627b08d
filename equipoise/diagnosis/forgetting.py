"""The symptom of a discriminator that suddenly knows far less than it did."""

import itertools
import statistics

from equipoise.diagnosis.history import History
from equipoise.diagnosis.sign import Sign, graded

BEFORE = 4
"""Readings that say what it knew."""
STEADY = 0.15
"""The most that they may differ by: in a game that swings, a low rank is no news."""
FALL = 0.2
"""The least fall of the rank: ten standard errors of a mean over 50 steps of a rank of 64 against 64 logits."""
SPAN = 25
"""Steps that a reading must be the mean of: the ranks of single steps scatter too much."""
LEFT = (0.6, 0.45, 0.1)
"""The share of its rank that is left. A healthy discriminator loses some hundredths from reading to reading; one whose
weights were drawn anew kept 9 and 36 % (seeds 100 and 101 of benchmarks/rescue.py)."""


def discriminator_forgetting(history: History) -> Sign | None:
    """From one reading to the next the discriminator lost most of what told reals from fakes, after a steady time.

    Learning does not do that; what does it is a step that ruined its weights or its optimizer's state, or that put
    others in their place. (Forgetting that creeps shows as mode dropping: Thanh-Tung and Tran 2018.)
    """
    points = [point for point in history.recent if "rank_train_fake" in point.values][-BEFORE - 1 :]
    gaps = [later.step - earlier.step for earlier, later in itertools.pairwise(points)]
    if len(points) <= BEFORE or min(gaps) < SPAN or max(gaps) > min(gaps):
        return None
    *before, now = (point.values["rank_train_fake"] for point in points)
    knew = statistics.median(before)
    if max(before) - min(before) > STEADY or knew - now < FALL:
        return None
    severity = graded(max(now, 0.0) / knew, *LEFT)
    if severity is None:
        return None
    return Sign(severity, 0.7, {"rank_train_fake": now, "rank_before": knew}, since=points[-2].step)
