"""Symptoms of the game itself: who wins, whether the other still learns, and whether they go round in circles."""

import itertools
import math
import statistics
from collections.abc import Sequence

import numpy as np

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.history import History
from equipoise.diagnosis.sign import MILD, Sign, graded

SATURATED_RANK = 0.98
"""rank_train_fake of a discriminator that is all but never wrong: 99 pairs of 100 the right way round."""
SATURATED_PROBABILITY = 0.02
"""1 - D(x) and D(G(z)) of one whose loss gives probabilities: the same 99 of 100, as a mean over both sides."""
LOST = (8.0, 16.6, 40.0)
"""Loss of the generator in nats, where it is -log D(G(z)). 16.6 = 24 ln 2: D(G(z)) is below the last bit of a float32
next to 1, so the discriminator's own gradient is exactly 0 and nothing it does can bring the generator back. At 8, the
level at which DCGAN on CIFAR-10 still improves (StudioGAN's log), it is worth knowing."""
STARVED = (-0.7, -1.0, -2.0)
"""log10 of the generator's gradient norm against the run's own beginning; a tenth is an alarm (DESIGN's references: the
gradient vanishes as the discriminator comes to be right, Arjovsky and Bottou 2017, theorem 2.4)."""
AHEAD = (0.6, 0.75, 0.95)
"""D(x) - D(G(z)) while no fake is near a real. The textbook's game on digits, which comes through, stands at 0.45 to
0.58 in its first fifth; with a rate ten times too high, momentum of 0.9, or on 218 windows it passes 0.75 within a
tenth of the run (seed 100 of benchmarks/rescue.py)."""
STARTED = 0.1
"""Share of the run after which a fake should have come near a real."""
UNBOUNDED = (2.0, 3.0, 10.0)
"""Times that a critic's gradient has grown since its beginning, with no fake near a real: nothing holds it any more."""
FLAT = 0.01
"""|D(x) - D(G(z))| of a discriminator that says the same of everything, although its ranks tell the two apart."""
FEW = 0.3
"""Coverage up to which few reals have a fake near them."""
MANY = 2 / 3
"""Coverage from which so many have that a flat discriminator is an equilibrium."""
TOLD_APART = 0.15
"""rank_train_fake that says so: three times BLIND."""
LEARNT = 0.5
"""Of its loss at the beginning, what is left to a generator whose gradient may be small: it fell with the loss, as
where a difference of pixels is a part of it (pix2pix). A starved generator's loss stays, or rises."""
WON_FOR = 0.25
"""Share of the run for which a saturated discriminator with no fake near a real counts as won."""
BLIND = 0.05
"""|rank_train_fake| of a discriminator that tells nothing, averaged over 20 readings or more: twice the standard error
of 0.1 / sqrt(20)."""
EQUILIBRIUM_RANK = 0.1
"""|rank_train_fake| that counts as "cannot tell apart": about one standard error of a rank of 64 against 64 logits,
sqrt((n + m + 1) / (3 n m)) = 0.10 (Mann and Whitney 1947)."""
EQUILIBRIUM_SPAN = 0.1
"""The share of the run for which it must hold."""
CYCLE = (0.45, 0.6, 0.9)
"""Autocorrelation at one period of what counts as going round; noise of 64 readings stays below 2 / sqrt(64) = 0.25
(Bartlett 1946), and the highest of many lags seldom passes 0.4."""
SWING = 0.1
"""The least standard deviation, of a rank or relative to the level of a loss, that is worth calling a cycle."""


def discriminator_overpowering(history: History) -> Sign | None:
    """The discriminator is all but never wrong, and the generator does not live on it.

    Being right alone is none: DCGAN's discriminator is nearly always, and its FID improves for 42,000 steps. So one of
    these must be there too: a generator's loss beyond what can be undone, its gradient gone, or, over a quarter of the
    run, no fake near any real.
    """
    sure = _saturation(history)
    if not sure:
        return _far_ahead(history) or (None if sure is None else _by_losses(history))
    signs = [sign for sign in (_lost(history), _starved(history), _never_near(history), _far_ahead(history)) if sign]
    if not signs:
        return None
    severity = max(sign.severity for sign in signs)
    evidence = {name: value for sign in signs for name, value in sign.evidence.items()}
    confidence = min(1.0, 0.7 + 0.1 * len(signs) + 0.1 * (len(sure) - 1))
    return Sign(severity, confidence, {**sure, **evidence}, since=0 if any(sign.since == 0 for sign in signs) else None)


def vanishing_generator_gradient(history: History) -> Sign | None:
    """The generator's gradient is a small part of what it was, and not because it has nothing left to learn.

    What starves it is a discriminator that is sure (Arjovsky 2017, theorem 2.4). Where that gives probabilities, they
    must lie apart; and fakes that stand near reals have come there by a gradient.
    """
    sign, rank = _starved(history), history.last("rank_train_fake", 10)
    if sign is None or not rank or statistics.fmean(rank) < 0.8:
        return None
    margin, near = _margin(history), history.last("coverage", 3)
    if (margin is not None and margin < AHEAD[0]) or (near and statistics.fmean(near) > FEW):
        return None
    return Sign(sign.severity, 0.8, {**sign.evidence, "rank_train_fake": statistics.fmean(rank)})


def dead_discriminator(history: History) -> Sign | None:
    """The discriminator tells nothing although fakes are plainly not reals; or its loss has come to a standstill at 0.

    The second is for losses that have no bottom: a Wasserstein critic whose estimate is a hundredth of what it was.
    """
    ranks = history.last("rank_train_fake", 20)
    if len(ranks) == 20 and abs(statistics.fmean(ranks)) < BLIND:
        for name, apart in (("coverage", 0.1), ("diversity", 0.3)):
            seen = history.last(name, 3)
            if seen and statistics.fmean(seen) < apart:
                evidence = {"rank_train_fake": statistics.fmean(ranks), name: statistics.fmean(seen)}
                return Sign(0.8, 0.8, evidence)
    if flat := _flat(history):
        return flat
    start, now = history.early("loss_d", 20), history.last("loss_d", 20)
    if start is None or len(now) < 20 or start >= 0 or max(now) - min(now) <= 0:
        return None
    strongest = -min(value for _, value in history.whole("loss_d"))
    left = max(abs(value) for value in now) / strongest
    severity = graded(left, 0.02, 0.01, 0.0)
    return None if severity is None else Sign(severity, 0.7, {"loss_d": statistics.fmean(now), "of_strongest": left})


def oscillation(history: History) -> Sign | None:
    """Ranks or losses go round and round: the autocorrelation at some lag is high, and as low at half of it.

    Over the last 64 readings, once they all lie in the second half of the run so far: what settles swings at first.
    """
    result = []
    for name in ("rank_train_fake", "loss_g", "loss_d"):
        values = history.last(name, 64)
        steps = [point.step for point in history.recent if name in point.values][-64:]
        if len(values) < 64 or steps[0] < history.step / 2 or _unevenly(steps):
            continue
        swing = float(np.std(values)) / (1.0 if name.startswith("rank") else max(abs(statistics.fmean(values)), 1e-12))
        if swing < SWING:
            continue
        lag, strength = cycle(values)
        severity = graded(strength, *CYCLE)
        if severity is not None:
            evidence = {
                "autocorrelation": strength,
                "period": lag * (steps[-1] - steps[0]) / 63,
                f"swing_{name}": swing,
            }
            result.append(Sign(min(severity, 0.9), 0.7, evidence))
    return max(result, key=lambda sign: sign.severity, default=None)


def equilibrium(history: History) -> Sign | None:
    """The discriminator has not told reals from fakes for a tenth of the run. No ailment: severity 0."""
    places = {point.step: point.progress for point in (*history.spans, *history.filling)}
    ranks = [(places[step], rank) for step, rank in history.whole("rank_train_fake")]
    if not at_equilibrium(ranks) or dead_discriminator(history):
        return None
    return Sign(0.0, 0.8, {"rank_train_fake": ranks[-1][1]})


def at_equilibrium(history: Sequence[tuple[float, float]]) -> bool:
    """Whether the ranks of the last tenth of a run say that the discriminator cannot tell reals from fakes.

    `history`: (progress, rank_train_fake) in order. The mean and the change of the fitted line over the span must
    both lie within EQUILIBRIUM_RANK, and the readings must fill the span.
    """
    if not history:
        return False
    end = history[-1][0]
    span = [(progress, rank) for progress, rank in history if progress >= end - EQUILIBRIUM_SPAN]
    if len(span) < 3 or len(span) == len(history) or end < EQUILIBRIUM_SPAN:
        return False
    centre = sum(progress for progress, _ in span) / len(span)
    level = sum(rank for _, rank in span) / len(span)
    spread = sum((progress - centre) ** 2 for progress, _ in span)
    if spread == 0:
        return False
    slope = sum((progress - centre) * (rank - level) for progress, rank in span) / spread
    return abs(level) <= EQUILIBRIUM_RANK and abs(slope) * EQUILIBRIUM_SPAN <= EQUILIBRIUM_RANK


def cycle(values: Sequence[float]) -> tuple[int, float]:
    """The lag of the strongest cycle and its strength: the smaller of r(lag) and -r(lag / 2), r the autocorrelation.

    Of the values about the straight line through them; even lags from 6 values to half of them.
    """
    given = np.asarray(values, np.float64)
    count = len(given)
    at = np.arange(count) - (count - 1) / 2
    left = given - given.mean()
    left -= (left @ at) / (at @ at) * at
    total = float(left @ left)
    if total <= 1e-24 * max(1.0, float(given @ given)):
        return 0, 0.0
    r = np.correlate(left, left, "full")[count - 1 :] / total * count / np.arange(count, 0, -1)
    lags = np.arange(6, count // 2 + 1, 2)
    strength = np.minimum(r[lags], -r[lags // 2])
    return int(lags[strength.argmax()]), float(strength.max())


def _by_losses(history: History) -> Sign | None:
    """Where neither ranks nor probabilities are known, from losses alone: worth knowing, no more."""
    levels = history.levels
    if levels.overwhelmed_since is None or levels.loss_d is None or levels.loss_g is None:
        return None
    evidence = {"loss_d": levels.loss_d, "loss_d_at_most": levels.highest_d}
    return Sign(0.4, 0.5, {**evidence, "loss_g": levels.loss_g, "loss_g_at_least": levels.lowest_g})


def _saturation(history: History) -> dict[str, float] | None:
    """What says that the discriminator is all but never wrong; None if something says otherwise, empty if nothing can.

    Ranks are means over up to ten readings, for they scatter; probabilities over two.
    """
    ranks, real, fake = (
        history.last(name, count)
        for name, count in (("rank_train_fake", 10), ("probability_real", 2), ("probability_fake", 2))
    )
    result = {}
    if len(ranks) >= 2:
        result["rank_train_fake"] = statistics.fmean(ranks)
    if len(real) == 2:
        result["probability_real"] = statistics.fmean(real)
    if len(fake) == 2:
        result["probability_fake"] = statistics.fmean(fake)
    least = {"rank_train_fake": SATURATED_RANK, "probability_real": 1 - SATURATED_PROBABILITY}
    right = all(result[name] >= level for name, level in least.items() if name in result)
    return result if right and result.get("probability_fake", 0.0) <= SATURATED_PROBABILITY else None


def _lost(history: History) -> Sign | None:
    """-log D(G(z)) is beyond LOST: only where the loss has probabilities and falls as D(G(z)) rises."""
    fake, loss = history.last("probability_fake", 2), history.last("loss_g", 2)
    if len(fake) < 2 or len(loss) < 2:
        return None
    level = statistics.fmean(loss)
    severity = graded(level, *LOST)
    return None if severity is None else Sign(severity, 0.9, {"loss_g": level})


def _starved(history: History) -> Sign | None:
    """The gradient of the generator against the run's own beginning, unless its loss has fallen, too."""
    began, loss = history.early("loss_g", 10), history.last("loss_g", 10)
    if began is not None and began > 0 and loss and statistics.median(loss) < LEARNT * began:
        return None
    start, now = history.early("gradient_norm_g", 10), history.last("gradient_norm_g", 10)
    if not start or len(now) < 10 or history.step < 30:
        return None
    share = statistics.median(now) / start
    severity = graded(math.log10(max(share, 1e-12)), *STARVED)
    if severity is None:
        return None
    return Sign(severity, 0.8, {"gradient_norm_g": statistics.median(now), "of_its_beginning": share})


def _never_near(history: History) -> Sign | None:
    """For a quarter of the run the discriminator was as sure as now, and no fake came near a real."""
    start, whole = history.progress - WON_FOR, (*history.spans, *history.filling)
    if not whole or whole[0].progress > start:
        return None
    points = [point for point in whole if point.progress >= start]
    ranks = [point.values["rank_train_fake"] for point in points if "rank_train_fake" in point.values]
    near = [point.values["coverage"] for point in points if "coverage" in point.values]
    if len(near) < 3 or not ranks or min(ranks) < SATURATED_RANK or max(near) > 0.05:
        return None
    return Sign(SERIOUS, 0.7, {"coverage": max(near)})


def _far_ahead(history: History) -> Sign | None:
    """After a tenth of the run no fake has come near a real, and the discriminator is right by a wide margin.

    The margin is D(x) - D(G(z)); a critic has none, there it is the growth of its gradient.
    """
    near, ranks = [value for _, value in history.whole("coverage")], history.last("rank_train_fake", 10)
    seen = history.progress - next(iter((*history.spans, *history.filling))).progress
    if history.progress < STARTED or seen < 0.9 * STARTED or not near or max(near) > 0.05 or len(ranks) < 10:
        return None
    if statistics.fmean(ranks) < SATURATED_RANK:
        return None
    evidence = {"rank_train_fake": statistics.fmean(ranks), "coverage": max(near)}
    margin = _margin(history)
    if margin is not None:
        severity = graded(margin, *AHEAD)
        return None if severity is None else Sign(severity, 0.7, {**evidence, "margin": margin}, since=0)
    start, now = history.early("gradient_norm_d", 10), history.last("gradient_norm_d", 2)
    severity = graded(statistics.fmean(now) / start, *UNBOUNDED) if start and now else None
    if severity is None:
        return None
    return Sign(severity, 0.6, {**evidence, "gradient_norm_d": statistics.fmean(now)}, since=0)


def _margin(history: History) -> float | None:
    """D(x) - D(G(z)) over the last ten readings, None where the loss gives no probabilities."""
    real, fake = history.last("probability_real", 10), history.last("probability_fake", 10)
    return statistics.fmean(real) - statistics.fmean(fake) if real and fake else None


def _flat(history: History) -> Sign | None:
    """The discriminator tells fakes from reals, and yet says the same of both: its slope is penalised away.

    Only while few reals have a fake near them: a discriminator that has found its equilibrium is as flat. Where more
    have, or where ranks do not say that it tells the two apart, it is a hint.
    """
    near = history.last("coverage", 3)
    if not near or statistics.fmean(near) > MANY:
        return None
    real, fake, ranks = (history.last(name, 20) for name in ("probability_real", "probability_fake", "rank_train_fake"))
    if min(len(real), len(fake), len(ranks)) < 20:
        return None
    margin, rank = max(abs(x - y) for x, y in zip(real, fake, strict=True)), statistics.fmean(ranks)
    if margin > FLAT:
        return None
    told = rank >= TOLD_APART and statistics.fmean(near) <= FEW
    return Sign(0.6 if told else MILD, 0.7, {"margin": margin, "rank_train_fake": rank})


def _unevenly(steps: Sequence[int]) -> bool:
    gaps = [later - earlier for earlier, later in itertools.pairwise(steps)]
    return max(gaps) > 2 * max(1, min(gaps))
