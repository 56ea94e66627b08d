"""Write `bursts`: SYNTHETIC windows of a solar radio spectrograph, as CSV files in one folder a type.

    python scripts/make_bursts.py FOLDER [--size 128] [--seed 0]

FOLDER/type_2/000.csv … (36 windows), type_3 (218) and type_5 (4), the numbers of a small set that somebody really
has. Nothing here was observed: the windows are drawn for tests and benchmarks, where real ones could not be shipped.

A window is size x size numbers, comma-separated, in decibels above the quiet receiver: a row a channel, from 90 MHz in
the first to 20 MHz in the last, a column a moment of 32 s. Type III: electron beams that fall through the whole band
within seconds. Type II: a shock's slow bands, split, at a frequency and at twice that. Type V: a type III and the broad
continuum that follows it. All over a receiver with uneven gain, noise and stations that never stop sending.

Each window depends on the seed, its type and its number alone; the same seed gives the same bytes. Takes 5 s at 128.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

COUNTS = {"type_2": 36, "type_3": 218, "type_5": 4}
SECONDS = 32.0
HIGH, LOW = 90.0, 20.0
"""MHz."""
SUN = 6.957e5
"""Radius of the Sun in km (IAU 2015 resolution B3)."""
LIGHT = 299_792.458
"""Speed of light in km/s."""

Window = NDArray[np.float64]
"""(size, size): channels from HIGH to LOW, moments from 0 to SECONDS."""


def channels(size: int) -> NDArray[np.float64]:
    """MHz of every row, (size, 1)."""
    return np.linspace(HIGH, LOW, size)[:, None]


def moments(size: int) -> NDArray[np.float64]:
    """Seconds of every column, (1, size)."""
    return np.linspace(0, SECONDS, size)[None]


def distance(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where in the corona plasma radiates at `frequency` (MHz), in km from the centre of the Sun.

    Newkirk 1961: 4.2e4 * 10^(4.32 R_sun / r) electrons a cm³; N of them oscillate at 8.98e-3 * sqrt(N) MHz.
    """
    return SUN * 2.16 / np.log10(frequency / (8.98e-3 * np.sqrt(4.2e4)))


def edges(frequency: NDArray[np.float64], low: float, high: float, softness: float) -> NDArray[np.float64]:
    """1 between two frequencies, 0 outside, in between over some `softness` MHz."""
    return 1 / (1 + np.exp((low - frequency) / softness)) / (1 + np.exp((frequency - high) / softness))


def pulse(delay: Window, rise: float, decay: NDArray[np.float64] | float) -> Window:
    """From 0 to 1 by half a Gaussian and back exponentially, at `delay` seconds after its top."""
    return np.where(delay < 0, np.exp(-((delay / rise) ** 2) / 2), np.exp(-np.maximum(delay, 0) / decay))


def beam(random: RandomState, size: int, start: float) -> Window:
    """Power of one type III burst, 0 to its peak: a beam of 0.1 to 0.4 c, which leaves the top channel at `start` s.

    At f MHz it decays within 63 / f s: Barrow and Achong 1975 measured 3.6, 3.1, 2.3, 1.8 s at 18, 22, 26, 36 MHz.
    """
    f, t = channels(size), moments(size)
    speed = random.uniform(0.1, 0.4) * LIGHT
    arrival = start + (distance(f) - distance(np.array(HIGH))) / speed
    reach = edges(f, random.uniform(15, 35), random.uniform(60, 110), 2.0)
    return decibels(random.uniform(10, 25)) * reach * pulse(t - arrival, 12 / f, 63 / f)


def type_2(random: RandomState, size: int) -> Window:
    """A shock of 500 to 2,000 km/s: a band and its harmonic, both split in two, of uneven brightness."""
    f, t = channels(size), moments(size)
    speed, start = random.uniform(500, 2000), random.uniform(28, 42)
    radius = distance(np.array(start)) + speed * t
    lane = 8.98e-3 * np.sqrt(4.2e4) * 10 ** (2.16 * SUN / radius)
    brightness = decibels(random.uniform(8, 18))
    flicker = 0.35 + 0.65 * smooth(random, size, 24)[None] ** 2
    split = random.uniform(1.08, 1.2)
    power = np.zeros((size, size))
    for factor, share in ((1, random.uniform(0.3, 1)), (2, 1.0)):
        for lobe, part in ((1.0, 1.0), (split, random.uniform(0.3, 1))):
            centre = lane * factor * lobe
            power += share * part * np.exp(-(((f - centre) / (0.018 * centre)) ** 2) / 2)
    return brightness * flicker * power


def type_3(random: RandomState, size: int) -> Window:
    """A group of one to four beams."""
    starts = random.uniform(1, 14) + np.cumsum(random.uniform(0, 5, random.randint(1, 5)))
    return np.sum([beam(random, size, start) for start in starts], axis=0)


def type_5(random: RandomState, size: int) -> Window:
    """A beam, and after it a continuum that lasts longer the lower the frequency."""
    f, t = channels(size), moments(size)
    start = random.uniform(2, 8)
    delay = t - start - random.uniform(2, 4)
    continuum = edges(f, 10, random.uniform(55, 80), 5.0) * pulse(delay, 1.5, random.uniform(400, 700) / f)
    return beam(random, size, start) + decibels(random.uniform(8, 15)) * continuum


DRAWN: dict[str, Callable[[RandomState, int], Window]] = {"type_2": type_2, "type_3": type_3, "type_5": type_5}


def decibels(level: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
    """Power of a level in dB."""
    return 10 ** (level / 10)


def smooth(random: RandomState, size: int, waves: int) -> NDArray[np.float64]:
    """A random curve from 0 to 1, (size,): so many cosines, the fast ones smaller."""
    places, order = np.linspace(0, 1, size), np.arange(1, waves + 1)
    phases, heights = random.uniform(0, 2 * np.pi, waves), random.standard_normal(waves) / order**0.5
    curve = (heights[:, None] * np.cos(np.pi * order[:, None] * places + phases[:, None])).sum(axis=0)
    return (curve - curve.min()) / (curve.max() - curve.min())


def receiver(random: RandomState, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gain of every channel and the stations in some of them, both in dB, (size, 1)."""
    gain = 3 * smooth(random, size, 5) + 0.5 * random.standard_normal(size)
    stations = np.zeros(size)
    stations[(random.uniform(0, 1, 4) * size).astype(int)] = random.uniform(4, 12, 4)
    return gain[:, None], stations[:, None]


def window(kind: str, number: int, size: int = 128, seed: int = 0) -> Window:
    """Window `number` of a type: (size, size) float64 in dB, two decimals."""
    gain, stations = receiver(RandomState([seed, 99]), size)
    random = RandomState([seed, list(DRAWN).index(kind), number])
    burst = DRAWN[kind](random, size)
    sending = stations * (random.uniform(0, 1, (1, size)) < random.uniform(0.5, 1, (size, 1)))
    level = 10 * np.log10(1 + burst) + gain + sending + 0.8 * random.standard_normal((size, size))
    return np.round(level, 2)


def windows(counts: dict[str, int], size: int = 128, seed: int = 0) -> Iterator[tuple[str, Window]]:
    """All windows with their paths: so many of each type."""
    for kind, count in counts.items():
        for number in range(count):
            yield f"{kind}/{number:03d}.csv", window(kind, number, size, seed)


def write(folder: Path, counts: dict[str, int] | None = None, size: int = 128, seed: int = 0) -> int:
    """Write them; how many there are."""
    for kind in (counts := COUNTS if counts is None else counts):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for path, values in windows(counts, size, seed):
        text = io.StringIO()
        np.savetxt(text, values, fmt="%.2f", delimiter=",")
        (folder / path).write_text(text.getvalue(), newline="\n")
    return sum(counts.values())


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=Path, help="where to write; made if it is not there")
    made.add_argument("--size", type=int, default=128, help="channels and moments of a window")
    made.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    asked = made.parse_args()
    if asked.folder.exists() and any(asked.folder.iterdir()):
        raise SystemExit(f"{asked.folder} is not empty; name a new folder")
    if asked.size < 8 or asked.seed < 0:
        raise SystemExit("--size must be at least 8 and --seed at least 0")
    print(f"{write(asked.folder, size=asked.size, seed=asked.seed)} synthetic windows in {asked.folder}")


if __name__ == "__main__":
    main()
