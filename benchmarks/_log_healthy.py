"""Healthy synthetic runs of twelve kinds, and runs on which nobody can judge.

What makes them healthy is the field's experience with the real programs: quality improves and stays, whatever the
losses look like. FID has a sampling error of 1–3 % on 10,000 to 50,000 samples, and runs fluctuate by as much again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from _log_curves import (
    Array,
    Curves,
    Players,
    decay,
    measured,
    play,
    scaled,
    slow_noise,
    two_games,
    with_metric,
    with_restart,
)

Maker = Callable[[np.random.Generator, int], Curves]
"""Generator of random numbers, number of rows -> a run."""


def counter(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Return the step of each row: every 1, 10, 50 or 100 steps, from the first or from that many."""
    every = int(rng.choice([1, 10, 50, 100]))
    return np.arange(rows) * every + every * int(rng.integers(2))


def balanced(low: float = 1.4, high: float = 2.2) -> Players:
    """Return players of which neither wins: D(x) 0.6–0.8. The gap rises in the first twentieth and is then constant."""
    level = (low + high) / 2
    return Players(lambda p: level * (1 - np.exp(-p / 0.02)) * (1 + 0.15 * np.exp(-p / 0.1)), lambda p: 1.2 + 0 * p)


def with_fid(
    rng: np.random.Generator, curves: Curves, noise: float = 0.02, last: tuple[float, float] = (8.0, 45.0)
) -> Curves:
    """Add FID that improves all the time, 12 to 60 measurements."""
    count = int(rng.integers(12, 61))
    curve = decay(rng, (150, 350), last, pace=float(rng.uniform(0.1, 0.25)))
    return with_metric(curves, "fid", measured(rng, curves.progress, curve, count, noise))


def dcgan(rng: np.random.Generator, rows: int) -> Curves:
    return with_fid(rng, play(rng, "bce", balanced(), counter(rng, rows)))


def dcgan_low_loss(rng: np.random.Generator, rows: int) -> Curves:
    """The discriminator's loss falls to 0.01–0.1 as in many good runs on images, and FID improves all the same."""
    final = rng.uniform(6.5, 9.5)
    players = Players(lambda p: 2 + (final - 2) * (1 - np.exp(-p / 0.2)), lambda p: 1.2 + 0 * p)
    return with_fid(rng, play(rng, "bce", players, counter(rng, rows)))


def hinge(rng: np.random.Generator, rows: int) -> Curves:
    players = Players(lambda p: 1.2 + 0.9 * (1 - np.exp(-p / 0.3)), lambda p: 0.9 + 0 * p, batch=256)
    return with_fid(rng, play(rng, "hinge", players, counter(rng, rows)))


def cyclegan(rng: np.random.Generator, rows: int) -> Curves:
    """Two games with least squares; no such program measures FID."""
    step = counter(rng, rows)
    games = [play(rng, "lsgan", balanced(1.2, 2.4), step) for _ in "AB"]
    for game in games:
        progress = game.progress
        cycle = decay(rng, (2.0, 4.0), (0.6, 1.2))(progress) * np.exp(0.2 * rng.standard_normal(rows))
        game.others.update(cycle=cycle, idt=0.4 * cycle * np.exp(0.1 * rng.standard_normal(rows)))
    return two_games(*games)


def wgan_gp(rng: np.random.Generator, rows: int) -> Curves:
    """The estimate of the distance decays with the distance, so the loss approaches 0 from below; the offset drifts."""
    start, end = rng.uniform(20, 60), rng.uniform(2, 5)
    players = Players(
        lambda p: (end + (start - end) * np.exp(-p / 0.2)) * (1 - np.exp(-p / 0.005)),
        lambda p: 1.5 + 0 * p,
        lambda p: 4 * np.sin(5 * p),
    )
    return with_fid(rng, play(rng, "wgan", players, counter(rng, rows)))


def stylegan2(rng: np.random.Generator, rows: int) -> Curves:
    """ADA at work: signs of reals near the target 0.6, p rises to a value far below 1 and stays."""
    players = Players(lambda p: 0.6 + 1.0 * (1 - np.exp(-p / 0.05)), lambda p: 1.2 + 0 * p, batch=1024)
    curves = with_fid(rng, play(rng, "r1", players, np.arange(rows) * 4))
    progress = curves.progress
    target, limit = 0.6 + 0 * progress, rng.uniform(0.1, 0.45)
    signs = {
        "signs_real": np.clip(target - 0.3 * np.exp(-progress / 0.03) + 0.03 * slow_noise(rng, rows, 0.01), -1, 1),
        "signs_fake": -0.55 + 0.03 * slow_noise(rng, rows, 0.01),
        "augment": limit * (1 - np.exp(-progress / 0.3)),
    }
    return replace(curves, signals={**curves.signals, **signs})


def r1_logistic(rng: np.random.Generator, rows: int) -> Curves:
    players = Players(lambda p: 0.5 + 0.7 * (1 - np.exp(-p / 0.1)), lambda p: 1.0 + 0 * p, batch=256)
    return with_fid(rng, play(rng, "r1", players, counter(rng, rows)))


def pix2pix(rng: np.random.Generator, rows: int) -> Curves:
    """A conditional discriminator is fairly sure of itself, and the L1 term falls."""
    curves = play(rng, "bce", balanced(1.6, 2.8), counter(rng, rows))
    l1 = decay(rng, (40, 60), (12, 25))(curves.progress) * np.exp(0.12 * rng.standard_normal(rows))
    return replace(curves, others={"l1": l1})


def late_plateau(rng: np.random.Generator, rows: int) -> Curves:
    """FID reaches a good value after half of the run and stays there."""
    curves = play(rng, "bce", balanced(), counter(rng, rows))
    floor, start = rng.uniform(4, 15), rng.uniform(100, 250)

    def curve(progress: Array) -> Array:
        remaining = np.maximum(0, 1 - progress / 0.55)
        return floor + (start - floor) * remaining**2

    count = int(rng.integers(20, 61))
    return with_metric(curves, "fid", measured(rng, curves.progress, curve, count, 0.025))


def small_data(rng: np.random.Generator, rows: int) -> Curves:
    """FID of a thousand samples fluctuates by 10–20 % from measurement to measurement, around a falling mean."""
    curves = play(rng, "hinge", Players(lambda p: 1.5 + 0 * p, lambda p: 1 + 0 * p), counter(rng, rows))
    return with_fid(rng, curves, noise=float(rng.uniform(0.07, 0.1)), last=(25, 60))


def cosine(rng: np.random.Generator, rows: int) -> Curves:
    """The learning rate follows a half cosine; the losses drift as the steps get smaller, and FID gains at the end."""
    step = counter(rng, rows)
    players = Players(lambda p: 1.5 + 0.8 * (1 - np.cos(np.pi * p)) / 2, lambda p: 1.2 + 0 * p)
    curves = with_fid(rng, play(rng, "bce", players, step))
    return replace(curves, others={"lr": 1e-4 * (1 + np.cos(np.pi * curves.progress))})


def restarted(rng: np.random.Generator, rows: int) -> Curves:
    return with_restart(rng, dcgan(rng, rows))


HEALTHY: Mapping[str, Maker] = {
    "balanced DCGAN": dcgan,
    "DCGAN with a low loss of D": dcgan_low_loss,
    "hinge": hinge,
    "CycleGAN": cyclegan,
    "WGAN-GP": wgan_gp,
    "StyleGAN2 with ADA": stylegan2,
    "R1": r1_logistic,
    "pix2pix": pix2pix,
    "late plateau": late_plateau,
    "noisy FID": small_data,
    "cosine learning rate": cosine,
    "restarted": restarted,
}


def one_row(rng: np.random.Generator, rows: int) -> Curves:
    """A single row with a FID that nobody can compare with anything."""
    curves = play(rng, "bce", balanced(), np.asarray([1000]))
    return with_metric(curves, "fid", measured(rng, curves.progress, lambda p: 60 + 0 * p, 1, 0.02))


def few_rows(rng: np.random.Generator, rows: int) -> Curves:
    return play(rng, "bce", balanced(), np.arange(3) * 100)


def losses_only(rng: np.random.Generator, rows: int) -> Curves:
    return play(rng, "bce", balanced(), counter(rng, rows))


def wasserstein_only(rng: np.random.Generator, rows: int) -> Curves:
    return replace(wgan_gp(rng, rows), metrics={})


def scaled_losses_only(rng: np.random.Generator, rows: int) -> Curves:
    return scaled(losses_only(rng, rows), float(rng.choice([64, 1000, 0.01])))


UNKNOWN: Mapping[str, Maker] = {
    "one row": one_row,
    "three rows": few_rows,
    "losses without quality": losses_only,
    "Wasserstein without quality": wasserstein_only,
    "losses on another scale": scaled_losses_only,
}
