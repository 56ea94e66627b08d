"""Criteria for a discriminator that has won by its losses, which say nothing about the quality of the samples."""

import statistics

from equipoise.diagnosis.history import RECENT, SignalHistory

JUMP = 4.0
"""Jump of both losses in standard deviations of their previous values, the discriminator's down, the generator's up.
Losses of healthy logs stay below 2.5."""
READINGS_AFTER_JUMP = 8
"""Readings after a jump that are compared with the other recent ones."""


def won_share(history: SignalHistory) -> float:
    """Return the share of the run so far for which the discriminator has won by its losses; 0 if it has not now."""
    since = history.levels.discriminator_won_since
    return 0.0 if since is None else max(1 - since / max(1, history.step), 1e-9)


def loss_jump(history: SignalHistory) -> float:
    """Return the jump of both losses in standard deviations (the smaller of the two); 0 if below JUMP.

    The deviation is robust: 1.4826 · median |loss − median(loss)|.
    """
    jumps = []
    name_g = "adversarial_g" if history.last("adversarial_g", 1) else "loss_g"
    for name, sign in (("loss_d", -1), (name_g, 1)):
        values = history.last(name, RECENT)
        before, after = values[:-READINGS_AFTER_JUMP], values[-READINGS_AFTER_JUMP:]
        if len(values) < RECENT or (name == "loss_d" and min(before) < 0):
            return 0.0  # a loss without a lower bound has no level to fall from
        centre = statistics.median(before)
        deviation = 1.4826 * statistics.median(abs(value - centre) for value in before)
        if deviation <= 1e-6 * abs(centre):
            return 0.0
        jumps.append(sign * (statistics.median(after) - centre) / deviation)
    return min(jumps) if min(jumps) >= JUMP else 0.0


def win_evidence(history: SignalHistory, won: float, jump: float) -> dict[str, float]:
    """Return the levels of the losses that show a win or a jump; empty if there is neither."""
    levels = history.levels
    evidence: dict[str, float] = {}
    if won and levels.loss_d is not None and levels.loss_g is not None:
        evidence |= {"loss_d": levels.loss_d, "loss_d_at_most": levels.highest_d}
        evidence |= {"loss_g": levels.loss_g, "loss_g_at_least": levels.lowest_g, "won_for": round(won, 6)}
    return {**evidence, "jump": jump} if jump else evidence


def was_measured_since(history: SignalHistory, step: int) -> bool:
    """Return whether a metric was measured in the second half of the time since `step`.

    Later losses are then no news: a metric shows the quality directly. An early value of a metric does not.
    """
    middle = step + (history.step - step) / 2
    return any(record.values[-1].step >= middle for record in history.metrics.values())
