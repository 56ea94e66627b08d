"""The numbers of synthetic training runs: two players by their logits, and quality by its decay. No text, no faults.

Every run starts from the logits of the two players: normal distributions with a mean gap, a common offset and a
spread. Each row draws a minibatch from them, and the losses are the textbook formulas of these logits. So D(x),
D(G(z)), accuracies and losses belong together as in a real log, and minibatch noise has its real size. Nothing here
imports the package: this is the independent half of benchmarks/doctor.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Curve = Callable[[Array], Array]
"""A function of progress in [0, 1]."""
MINIBATCH = 64
"""Logits that are drawn per row; a larger `batch` only reduces the noise of their mean."""


@dataclass(frozen=True)
class Measured:
    """A metric: `at` (N,) bool, the rows where it was measured, and `values` (N,), meaningless elsewhere."""

    at: npt.NDArray[np.bool_]
    values: Array


@dataclass(frozen=True)
class Curves:
    """A run as numbers: `step` (N,) int64 per row, signals (N,) by name, metrics, and learning rate and other columns.

    Signals are named here as nobody prints them: d, g (losses), d_real, d_fake (parts), p_real, p_fake, p_fake_after
    (probabilities), accuracy, logit_real, logit_fake, signs_real, signs_fake, augment; with "@A" and "@B" in two games.
    """

    step: npt.NDArray[np.int64]
    signals: Mapping[str, Array]
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    others: Mapping[str, Array] = field(default_factory=dict)

    @property
    def progress(self) -> Array:
        """Share of the run at each row, in [0, 1]."""
        return self.step / max(1, self.step.max())

    def at(self, rows: npt.NDArray[np.int64]) -> "Curves":
        """Return these rows, in this order."""
        return Curves(
            self.step[rows],
            {name: values[rows] for name, values in self.signals.items()},
            {name: Measured(metric.at[rows], metric.values[rows]) for name, metric in self.metrics.items()},
            {name: values[rows] for name, values in self.others.items()},
        )


@dataclass(frozen=True)
class Players:
    """Logits of both players as functions of progress: real ~ N(offset + gap / 2, spread), fake ~ N(offset − gap / 2).

    `batch` samples per row; a log that prints means over many steps has a large one. `wander` is the standard deviation
    of a slow random walk of the gap, as a share of the gap and the spread together.
    """

    gap: Curve
    spread: Curve
    offset: Curve = lambda progress: 0 * progress
    batch: int = MINIBATCH
    wander: float = 0.15

    def logits(self, rng: np.random.Generator, progress: Array) -> tuple[Array, Array, Array]:
        """Draw logits of reals, fakes, and fakes after the discriminator's update, each (N, batch)."""
        rows, spread = len(progress), self.spread(progress)
        gap = self.gap(progress)
        gap = gap + self.wander * slow_noise(rng, rows) * np.minimum(np.abs(gap) + 0.1 * spread, 2.0)
        means = np.stack([gap / 2, -gap / 2, -1.1 * gap / 2]) + self.offset(progress)
        noise = rng.standard_normal((3, rows, MINIBATCH))
        centre = noise.mean(-1, keepdims=True)
        noise = noise - centre + centre * np.sqrt(MINIBATCH / self.batch)
        real, fake, fake_after = means[..., None] + spread[None, :, None] * noise
        return real, fake, fake_after


def slow_noise(rng: np.random.Generator, rows: int, length: float = 0.03) -> Array:
    """Return (N,) noise of unit variance whose correlation decays over a share `length` of the run."""
    decay = np.exp(-1 / max(1.0, length * rows))
    white = rng.standard_normal(rows) * np.sqrt(1 - decay**2)
    result = np.empty(rows)
    value = rng.standard_normal()
    for row in range(rows):
        value = result[row] = decay * value + white[row]
    return result


def softplus(logits: Array) -> Array:
    return np.logaddexp(0, logits)


def sigmoid(logits: Array) -> Array:
    return np.exp(-softplus(-logits))


def losses(family: str, real: Array, fake: Array, fake_after: Array) -> dict[str, Array]:
    """Compute the losses of a family from logits, averaged over the batch: d_real, d_fake, d, g."""
    if family in ("bce", "r1"):  # non-saturating, Goodfellow 2014; R1 adds a penalty on top
        parts = softplus(-real), softplus(fake), softplus(-fake_after)
    elif family == "lsgan":  # Mao 2017 with targets 1 and 0 and the factor 1/2 on both halves, as CycleGAN prints it
        parts = (real - 1) ** 2 / 2, fake**2 / 2, (fake_after - 1) ** 2
    elif family == "hinge":  # Lim & Ye 2017
        parts = np.maximum(0, 1 - real), np.maximum(0, 1 + fake), -fake_after
    else:  # Wasserstein, Arjovsky 2017
        parts = -real, fake, -fake_after
    d_real, d_fake, g = (part.mean(-1) for part in parts)
    return {"d": d_real + d_fake, "g": g, "d_real": d_real, "d_fake": d_fake}


def play(rng: np.random.Generator, family: str, players: Players, step: npt.NDArray[np.int64]) -> Curves:
    """Return the signals of a run with these players."""
    progress = step / max(1, step.max())
    real, fake, fake_after = players.logits(rng, progress)
    if family == "lsgan":  # The output itself is regressed to 1 and 0: logits of +2 and −2 count as 1 and 0.
        real, fake, fake_after = ((logits + 2) / 4 for logits in (real, fake, fake_after))
    signals = losses(family, real, fake, fake_after)
    if family in ("bce", "r1"):
        signals |= {"p_real": sigmoid(real).mean(-1), "p_fake": sigmoid(fake).mean(-1)}
        signals |= {"p_fake_after": sigmoid(fake_after).mean(-1)}
        signals |= {"accuracy": ((real > 0).mean(-1) + (fake < 0).mean(-1)) / 2}
    signals |= {"logit_real": real.mean(-1), "logit_fake": fake.mean(-1)}
    others = {}
    if family == "r1":
        others["r1"] = 0.03 * (1 + 0.3 * rng.random(len(step)))
        signals["d"] = signals["d"] + others["r1"]
    if family == "wgan":
        others["gp"] = 0.02 * np.abs(players.gap(progress)) * (0.5 + rng.random(len(step)))
        signals["d"] = signals["d"] + 10 * others["gp"] / 5
    return Curves(step, signals, others=others)


def decay(rng: np.random.Generator, first: tuple[float, float], last: tuple[float, float], pace: float = 0.15) -> Curve:
    """Return an exponential decay of a metric from a value in `first` to one in `last`, within about 3 × pace."""
    start, end = rng.uniform(*first), rng.uniform(*last)
    return lambda progress: end + (start - end) * np.exp(-progress / pace)


def measured(
    rng: np.random.Generator, progress: Array, curve: Curve, count: int, noise: float, fresh: bool = True
) -> Measured:
    """Measure a metric about `count` times at equal distances, with relative noise (standard deviation).

    `fresh`: the first measurement is not at the very first row, as in most programs.
    """
    rows = len(progress)
    every = max(1, rows // count)
    at = np.zeros(rows, dtype=bool)
    at[every - 1 if fresh else 0 :: every] = True
    return Measured(at, curve(progress) * np.exp(noise * rng.standard_normal(rows)))


def with_metric(curves: Curves, name: str, metric: Measured) -> Curves:
    return replace(curves, metrics={**curves.metrics, name: metric})


def with_gaps(rng: np.random.Generator, curves: Curves) -> Curves:
    """Drop a tenth of the rows at random and one block of 8 % in the middle third, as after a lost file."""
    rows = len(curves.step)
    keep = rng.random(rows) > 0.1
    start = int(rng.uniform(0.35, 0.6) * rows)
    keep[start : start + int(0.08 * rows)] = False
    keep[[0, -1]] = True
    return curves.at(np.flatnonzero(keep))


def with_restart(rng: np.random.Generator, curves: Curves) -> Curves:
    """Continue from an earlier checkpoint: the counter goes back by 3–10 %, and these rows are measured again."""
    rows = len(curves.step)
    until = int(rng.uniform(0.5, 0.8) * rows)
    back = max(2, int(rng.uniform(0.03, 0.1) * rows))
    order = np.concatenate([np.arange(until), np.arange(until - back, rows)])
    return curves.at(order)


def scaled(curves: Curves, factor: float) -> Curves:
    """Multiply the losses, as programs do that print sums over a batch or weighted totals."""
    kinds = ("d", "g", "d_real", "d_fake")
    return replace(
        curves,
        signals={
            name: values * factor if name.partition("@")[0] in kinds else values
            for name, values in curves.signals.items()
        },
    )


def two_games(first: Curves, second: Curves) -> Curves:
    """Join two games that share their rows, as CycleGAN prints them."""
    games = ((first, "@A"), (second, "@B"))
    signals = {name + game: values for curves, game in games for name, values in curves.signals.items()}
    others = {name + game: values for curves, game in games for name, values in curves.others.items()}
    return Curves(first.step, signals, {**first.metrics, **second.metrics}, others)
