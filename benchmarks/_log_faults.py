"""Synthetic runs that fail, each fault at three strengths.

A strength is a physical size, and each size is stated next to the fault. "weak" is at the edge of what healthy runs do,
so that a careful expert may or may not name it; "medium" is what an expert names at once; "strong" leaves no doubt.
Every run is healthy until its onset, except where the fault is there from the first row. `onset` is a share of the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from _log_curves import Array, Curves, Players, decay, measured, play, slow_noise, with_metric
from _log_healthy import counter, dcgan, hinge, r1_logistic, stylegan2, wgan_gp, with_fid

STRENGTHS = ("weak", "medium", "strong")
FaultMaker = Callable[[np.random.Generator, int, int], Curves]
"""Generator of random numbers, number of rows, strength 0, 1 or 2 -> a run."""


def after(progress: Array, onset: float, over: float = 0.05) -> Array:
    """Return 0 before the onset and 1 after it, linear over a share `over` of the run."""
    return np.clip((progress - onset) / over, 0, 1)


def strong_discriminator(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses only. D's loss falls to a quarter, 2 % or 0.1 % of chance and stays there for 40, 50, 65 % or more."""
    onset = rng.uniform(0.05, (0.6, 0.5, 0.35)[strength])
    final = (4.2, 9.0, 15.5)[strength]
    players = Players(lambda p: 1.8 + (final - 1.8) * after(p, onset), lambda p: 1 + 0 * p)
    return play(rng, "bce", players, counter(rng, rows))


def strong_discriminator_and_quality(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """The same with FID that stops to improve at the onset and gets worse by 1.3, 1.6 or 3 times."""
    onset = rng.uniform(0.25, 0.5)
    final = (4.2, 9.0, 15.5)[strength]
    players = Players(lambda p: 1.8 + (final - 1.8) * after(p, onset), lambda p: 1 + 0 * p)
    curves = play(rng, "bce", players, counter(rng, rows))
    return worse(rng, curves, onset, (1.3, 1.6, 3.0)[strength], over=0.15)


def strong_generator(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses only. D is wrong on both: its loss is 1.4, 4 or 50 times chance, G's near 0, for the last 60 % or all."""
    onset = rng.choice([-0.1, rng.uniform(0.1, 0.35)])
    final = (-1.0, -5.5, -70.0)[strength]
    players = Players(
        lambda p: 1.8 + (final - 1.8) * after(p, onset), lambda p: 1 + after(p, onset) * abs(final) / 20, wander=0.05
    )
    return play(rng, "bce", players, counter(rng, rows))


def never_learned(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """FID falls by 15, 5 or 0 % of its first value, from 200–450, in 12 to 60 measurements. D wins meanwhile."""
    players = Players(lambda p: 7 * (1 - np.exp(-p / 0.02)), lambda p: 1 + 0 * p)
    curves = play(rng, "bce", players, counter(rng, rows))
    first, share = rng.uniform(200, 450), (0.15, 0.05, 0.0)[strength]
    fid = measured(rng, curves.progress, lambda p: first * (1 - share * p), int(rng.integers(12, 61)), 0.012)
    return with_metric(curves, "fid", fid)


def at_chance(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses at the value of chance from the first row: deviations of a logit of 0.3, 0.03 or 0.0005, gap 0.1, 0, 0."""
    spread, gap = (0.3, 0.03, 5e-4)[strength], (0.1, 0.0, 0.0)[strength]
    players = Players(lambda p: gap + 0 * p, lambda p: spread + 0 * p, wander=0.0)
    return play(rng, "bce", players, counter(rng, rows))


def pinned(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """The loss of G is exactly the clip of its logarithm in the last 20 %, the last 50 % or all rows; D has won.

    −log(1e−7) of Keras, −log(1e−12), the 100 of torch's BCELoss, or −log(1e−8).
    """
    clip = float(rng.choice([16.11809565, 27.63102112, 100.0, 18.42068074]))
    onset = (0.8, 0.5, -0.1)[strength]
    players = Players(lambda p: 1.8 + 20 * after(p, onset - 0.1, 0.1), lambda p: 1 + 0 * p)
    curves = play(rng, "bce", players, counter(rng, rows))
    is_pinned = curves.progress >= onset
    signals = dict(curves.signals)
    signals["g"] = np.where(is_pinned, clip, np.minimum(signals["g"], clip))
    for name in ("p_fake", "p_fake_after"):
        signals[name] = np.where(is_pinned, np.exp(-clip), signals[name])
    return replace(curves, signals=signals)


def worse(rng: np.random.Generator, curves: Curves, onset: float, ratio: float, over: float) -> Curves:
    """Add FID that improves until the onset and then rises to `ratio` times its best over a share `over` of the run."""
    count = int(rng.integers(15, 61))
    curve = decay(rng, (150, 350), (8, 45), pace=onset / 4)
    fid = measured(
        rng,
        curves.progress,
        lambda p: curve(np.minimum(p, onset)) * ratio ** after(p, onset, over),
        count,
        0.02,
    )
    return with_metric(curves, "fid", fid)


def any_losses(rng: np.random.Generator, rows: int) -> Curves:
    """Return a healthy run of a random family without metrics: the losses need not show a loss of quality."""
    families = (dcgan, hinge, wgan_gp, r1_logistic)
    maker = families[int(rng.integers(len(families)))]
    return replace(maker(rng, rows), metrics={})


def sudden_collapse(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """FID rises to 1.3, 1.6 or 3 times its best within 2 % of the run and stays there to the end."""
    return worse(rng, any_losses(rng, rows), rng.uniform(0.3, 0.7), (1.3, 1.6, 3.0)[strength], over=0.02)


def slow_collapse(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """FID drifts up to 1.3, 1.6 or 3 times its best, evenly from 35–55 % to the end of the run."""
    onset = rng.uniform(0.35, 0.55)
    return worse(rng, any_losses(rng, rows), onset, (1.3, 1.6, 3.0)[strength], over=1 - onset)


def collapse_of_score(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """The Inception score (higher is better) falls to 1/1.3, 1/1.6 or 1/3 of its best; no FID."""
    curves, onset = any_losses(rng, rows), rng.uniform(0.3, 0.7)
    best, ratio = rng.uniform(6, 9.5), (1.3, 1.6, 3.0)[strength]

    def score(progress: Array) -> Array:
        learned = 1 + (best - 1) * (1 - np.exp(-np.minimum(progress, onset) * 4 / onset))
        return np.maximum(1, learned * ratio ** -after(progress, onset, 0.04))

    metric = measured(rng, curves.progress, score, int(rng.integers(15, 61)), 0.012)
    return with_metric(curves, "is", metric)


def oscillation(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses only. The gap of the logits swings by ±0.6, ±2 or ±5 with a period of 5–10 % of the run, from 20 % on."""
    amplitude, period = (0.6, 2.0, 5.0)[strength], rng.uniform(0.05, 0.1)
    players = Players(
        lambda p: 1.8 + amplitude * after(p, 0.2) * np.sin(2 * np.pi * p / period), lambda p: 1 + 0 * p, batch=256
    )
    return play(rng, "bce", players, counter(rng, rows))


def oscillation_of_quality(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses as above, and FID swings with them: 1.3, 1.6 or 3 times from trough to peak, period 12–20 % of the run."""
    amplitude, period = (0.6, 2.0, 5.0)[strength], rng.uniform(0.12, 0.2)

    def swing(p: Array) -> Array:
        return after(p, 0.2) * np.sin(2 * np.pi * p / period)

    players = Players(lambda p: 1.8 + amplitude * swing(p), lambda p: 1 + 0 * p, batch=256)
    curves = play(rng, "bce", players, counter(rng, rows))
    curve, ratio = decay(rng, (150, 300), (20, 45), pace=0.1), (1.3, 1.6, 3.0)[strength]
    fid = measured(rng, curves.progress, lambda p: curve(p) * ratio ** (swing(p) / 2), 60, 0.02)
    return with_metric(curves, "fid", fid)


def not_a_number(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Both losses are NaN in the last 3 rows, the last 10 % or the last 70 %, at least 3 rows."""
    curves = dcgan(rng, rows)
    share = (0.0, 0.1, 0.7)[strength]
    lost = np.arange(rows) >= rows - max(3, int(share * rows))
    signals = {name: np.where(lost, np.nan, values) for name, values in curves.signals.items()}
    metrics = {name: replace(metric, at=metric.at & ~lost) for name, metric in curves.metrics.items()}
    return replace(curves, signals=signals, metrics=metrics)


def explosion(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """Losses only. Both losses grow exponentially over the last 10, 20 or 40 %: to 100, 1e6 or 1e12 times."""
    curves = play(rng, "hinge", Players(lambda p: 1.5 + 0 * p, lambda p: 1 + 0 * p), counter(rng, rows))
    share, factor = (0.1, 0.2, 0.4)[strength], (1e2, 1e6, 1e12)[strength]
    growth = factor ** after(curves.progress, 1 - share, share)
    signals = {name: (np.abs(values) + 0.3) * growth for name, values in curves.signals.items() if name in ("d", "g")}
    return replace(curves, signals=signals)


def overfitting(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """StyleGAN2 statistics: signs of reals rise to 0.75, 0.9 or 0.98 and FID to 1.1, 1.4 or 2.5 times its best.

    Half of the runs have ADA, whose p rises to 0.5, 0.85 or 1; in the others p is 0 (`--aug=noaug`).
    """
    curves, onset = replace(stylegan2(rng, rows), metrics={}), rng.uniform(0.25, 0.45)
    grown = after(curves.progress, onset, 0.25)
    level, limit = (0.75, 0.9, 0.98)[strength], (0.5, 0.85, 1.0)[strength] * int(rng.integers(2))
    signs = 0.55 + (level - 0.55) * grown + 0.01 * slow_noise(rng, rows)
    signals = dict(curves.signals)
    signals["signs_real"] = np.clip(signs * (1 - np.exp(-curves.progress / 0.02)), -1, 1)
    signals["signs_fake"] = -np.clip(signs + 0.01 * slow_noise(rng, rows), -1, 1)
    signals["augment"] = limit * np.clip(curves.progress / (onset + 0.3), 0, 1)
    signals["d"] = signals["d"] * (1 - grown * (0.2, 0.6, 0.9)[strength])
    signals["g"] = signals["g"] + grown * (0.5, 2.0, 5.0)[strength]
    return worse(rng, replace(curves, signals=signals), onset, (1.1, 1.4, 2.5)[strength], over=0.4)


def broken_metric(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """FID that cannot be: a few negative or absurd values, all near −1 (covariances of 2 samples), or NaN or 1e50."""
    curves = with_fid(rng, replace(any_losses(rng, rows), metrics={}))
    fid = curves.metrics["fid"]
    places = np.flatnonzero(fid.at)
    values = fid.values.copy()
    if strength == 0:
        values[rng.choice(places, max(1, len(places) // 10), replace=False)] = rng.choice([-3.5, 8.1e11])
    elif strength == 1:
        values[places] = -np.abs(rng.normal(1, 0.3, len(places)))
    else:
        values[places] = np.nan if rng.integers(2) else 10 ** rng.uniform(45, 58, len(places))
    return with_metric(curves, "fid", replace(fid, values=values))


def dead_discriminator(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """A critic that stops to tell: its output and its estimate are 3 %, 0.1 % or 0 of what they were, for the last
    30 %, 50 % or 90 % of the run. Wasserstein losses, printed without a metric."""
    onset, left = (0.7, 0.5, 0.1)[strength], (0.03, 1e-3, 0.0)[strength]
    curves = replace(wgan_gp(rng, rows), metrics={}, others={})
    factor = 1 - (1 - left) * after(curves.progress, onset, 0.02)
    return replace(curves, signals={name: values * factor for name, values in curves.signals.items()})


def plateau(rng: np.random.Generator, rows: int, strength: int) -> Curves:
    """FID falls from 200–350 to 80–140 and improves no more for the last 30, 60 or 80 % of the run."""
    curves, onset = any_losses(rng, rows), (0.7, 0.4, 0.2)[strength]
    curve = decay(rng, (200, 350), (80, 140), pace=onset / 4)
    fid = measured(rng, curves.progress, lambda p: curve(np.minimum(p, onset)), int(rng.integers(30, 61)), 0.015)
    return with_metric(curves, "fid", fid)


class Fault(NamedTuple):
    """A kind of failing runs, what an expert calls it, what else may be said, and the verdicts that are right.

    `names`: one of them must be named. `also`: consequences that an expert may name as well. `weak_verdicts`: what is
    also right at the strength "weak".
    """

    make: FaultMaker
    names: tuple[str, ...]
    also: tuple[str, ...]
    verdicts: tuple[str, ...]
    weak_verdicts: tuple[str, ...] = ()


OPEN = ("unhealthy", "unknown")
"""Losses show the fault; what became of quality is unknown."""
EDGE = ("healthy", "unknown")

FAULTS: Mapping[str, Fault] = {
    "strong discriminator, losses": Fault(
        strong_discriminator, ("discriminator overpowering",), ("vanishing gradient", "constant loss"), OPEN, EDGE
    ),
    "strong discriminator, FID": Fault(
        strong_discriminator_and_quality,
        ("discriminator overpowering", "collapse"),
        ("discriminator overpowering", "collapse", "plateau", "vanishing gradient"),
        ("unhealthy",),
        EDGE,
    ),
    "strong generator": Fault(strong_generator, ("generator overpowering",), ("dead discriminator",), OPEN, EDGE),
    "never learned, FID": Fault(
        never_learned,
        ("never learned",),
        ("discriminator overpowering", "plateau", "vanishing gradient"),
        ("unhealthy",),
        EDGE,
    ),
    "never learned, losses": Fault(
        at_chance, ("never learned", "dead discriminator", "constant loss"), ("equilibrium",), OPEN, EDGE
    ),
    "loss at a clip": Fault(
        pinned, ("constant loss",), ("discriminator overpowering", "vanishing gradient"), OPEN, EDGE
    ),
    "sudden collapse": Fault(sudden_collapse, ("collapse",), ("plateau",), ("unhealthy",), EDGE),
    "slow collapse": Fault(slow_collapse, ("collapse",), ("plateau",), ("unhealthy",), EDGE),
    "collapse of the Inception score": Fault(collapse_of_score, ("collapse",), ("plateau",), ("unhealthy",), EDGE),
    "oscillation, losses": Fault(oscillation, ("oscillation",), (), OPEN, EDGE),
    "oscillation, FID": Fault(
        oscillation_of_quality,
        ("oscillation", "collapse"),
        ("oscillation", "collapse", "plateau"),
        ("unhealthy",),
        EDGE,
    ),
    "NaN": Fault(not_a_number, ("divergence",), (), ("diverged",)),
    "explosion": Fault(explosion, ("divergence",), ("generator overpowering", "oscillation"), ("diverged",), OPEN),
    "overfitting of D": Fault(
        overfitting,
        ("discriminator overfitting",),
        ("discriminator overpowering", "collapse", "plateau"),
        ("unhealthy",),
        EDGE,
    ),
    "broken metric": Fault(broken_metric, ("broken metric",), (), OPEN, EDGE),
    "critic at rest": Fault(
        dead_discriminator, ("dead discriminator", "constant loss", "never learned"), ("equilibrium",), OPEN, EDGE
    ),
    "plateau": Fault(plateau, ("plateau",), ("equilibrium",), ("healthy", "unhealthy")),
}
