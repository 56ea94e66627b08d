"""Write `bursts`: SYNTHETIC windows of a solar radio spectrograph, as CSV files in one folder per type.

    python scripts/make_bursts.py FOLDER [--size 128] [--seed 0]

FOLDER/type_2/000.csv … (36 windows), type_3 (218) and type_5 (4), the counts of a small real data set. Nothing here was
observed: the windows are generated for tests and benchmarks, because real ones could not be included.

A window has size x size numbers, comma-separated, in decibels above the quiet receiver: a row per channel, from 90 MHz
in the first to 20 MHz in the last, and columns over 32 s. Type III: electron beams that cross the whole band within
seconds. Type II: slow bands of a shock, split, at a frequency and at twice that. Type V: a type III followed by a broad
continuum. All with uneven gain, noise and continuously transmitting stations.

Each window depends only on the seed, its type and its number; the same seed gives the same bytes. Takes 5 s at 128.
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
"""(size, size): channels from HIGH to LOW, times from 0 to SECONDS."""


def channels(size: int) -> NDArray[np.float64]:
    """Return the frequency of every row in MHz, (size, 1)."""
    return np.linspace(HIGH, LOW, size)[:, None]


def times(size: int) -> NDArray[np.float64]:
    """Return the time of every column in seconds, (1, size)."""
    return np.linspace(0, SECONDS, size)[None]


def distance(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where in the corona plasma radiates at `frequency` (MHz), in km from the centre of the Sun.

    Newkirk 1961: 4.2e4 * 10^(4.32 R_sun / r) electrons per cm³; N of them oscillate at 8.98e-3 * sqrt(N) MHz.
    """
    return SUN * 2.16 / np.log10(frequency / (8.98e-3 * np.sqrt(4.2e4)))


def edges(frequency: NDArray[np.float64], low: float, high: float, softness: float) -> NDArray[np.float64]:
    """Return 1 between two frequencies and 0 outside, with transitions of about `softness` MHz."""
    return 1 / (1 + np.exp((low - frequency) / softness)) / (1 + np.exp((frequency - high) / softness))


def pulse(delay: Window, rise: float, decay: NDArray[np.float64] | float) -> Window:
    """Return a pulse that rises as half a Gaussian and decays exponentially, at `delay` seconds after its maximum."""
    return np.where(delay < 0, np.exp(-((delay / rise) ** 2) / 2), np.exp(-np.maximum(delay, 0) / decay))


def beam(random: RandomState, size: int, start: float) -> Window:
    """Return the power of one type III burst: a beam of 0.1 to 0.4 c that leaves the top channel at `start` s.

    At f MHz it decays within 63 / f s: Barrow and Achong 1975 measured 3.6, 3.1, 2.3, 1.8 s at 18, 22, 26, 36 MHz.
    """
    f, t = channels(size), times(size)
    speed = random.uniform(0.1, 0.4) * LIGHT
    arrival = start + (distance(f) - distance(np.array(HIGH))) / speed
    reach = edges(f, random.uniform(15, 35), random.uniform(60, 110), 2.0)
    return decibels(random.uniform(10, 25)) * reach * pulse(t - arrival, 12 / f, 63 / f)


def type_2(random: RandomState, size: int) -> Window:
    """Return a shock of 500 to 2,000 km/s: a band and its harmonic, both split in two, of uneven brightness."""
    f, t = channels(size), times(size)
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
    """Return a group of one to four beams."""
    starts = random.uniform(1, 14) + np.cumsum(random.uniform(0, 5, random.randint(1, 5)))
    return np.sum([beam(random, size, start) for start in starts], axis=0)


def type_5(random: RandomState, size: int) -> Window:
    """Return a beam followed by a continuum that lasts longer at lower frequencies."""
    f, t = channels(size), times(size)
    start = random.uniform(2, 8)
    delay = t - start - random.uniform(2, 4)
    continuum = edges(f, 10, random.uniform(55, 80), 5.0) * pulse(delay, 1.5, random.uniform(400, 700) / f)
    return beam(random, size, start) + decibels(random.uniform(8, 15)) * continuum


TYPES: dict[str, Callable[[RandomState, int], Window]] = {"type_2": type_2, "type_3": type_3, "type_5": type_5}


def decibels(level: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
    """Return the power of a level in dB."""
    return 10 ** (level / 10)


def smooth(random: RandomState, size: int, waves: int) -> NDArray[np.float64]:
    """Return a random curve from 0 to 1, (size,): a sum of `waves` cosines with decreasing amplitudes."""
    places, order = np.linspace(0, 1, size), np.arange(1, waves + 1)
    phases, heights = random.uniform(0, 2 * np.pi, waves), random.standard_normal(waves) / order**0.5
    curve = (heights[:, None] * np.cos(np.pi * order[:, None] * places + phases[:, None])).sum(axis=0)
    return (curve - curve.min()) / (curve.max() - curve.min())


def receiver(random: RandomState, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gain of every channel and the stations in some of them, both in dB, (size, 1)."""
    gain = 3 * smooth(random, size, 5) + 0.5 * random.standard_normal(size)
    stations = np.zeros(size)
    stations[(random.uniform(0, 1, 4) * size).astype(int)] = random.uniform(4, 12, 4)
    return gain[:, None], stations[:, None]


def window(kind: str, number: int, size: int = 128, seed: int = 0) -> Window:
    """Return window `number` of a type: (size, size) float64 in dB, two decimals."""
    gain, stations = receiver(RandomState([seed, 99]), size)
    random = RandomState([seed, list(TYPES).index(kind), number])
    burst = TYPES[kind](random, size)
    transmission = stations * (random.uniform(0, 1, (1, size)) < random.uniform(0.5, 1, (size, 1)))
    level = 10 * np.log10(1 + burst) + gain + transmission + 0.8 * random.standard_normal((size, size))
    return np.round(level, 2)


def windows(counts: dict[str, int], size: int = 128, seed: int = 0) -> Iterator[tuple[str, Window]]:
    """Yield all windows with their paths."""
    for kind, count in counts.items():
        for number in range(count):
            yield f"{kind}/{number:03d}.csv", window(kind, number, size, seed)


def write(folder: Path, counts: dict[str, int] | None = None, size: int = 128, seed: int = 0) -> int:
    """Write the windows, and return their number."""
    for kind in (counts := COUNTS if counts is None else counts):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for path, values in windows(counts, size, seed):
        text = io.StringIO()
        np.savetxt(text, values, fmt="%.2f", delimiter=",")
        (folder / path).write_text(text.getvalue(), newline="\n")
    return sum(counts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder; created if it does not exist")
    parser.add_argument("--size", type=int, default=128, help="rows and columns of a window")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    args = parser.parse_args()
    if args.folder.exists() and any(args.folder.iterdir()):
        raise SystemExit(f"{args.folder} is not empty; choose a new folder")
    if args.size < 8 or args.seed < 0:
        raise SystemExit("--size must be at least 8 and --seed at least 0")
    print(f"{write(args.folder, size=args.size, seed=args.seed)} synthetic windows in {args.folder}")


if __name__ == "__main__":
    main()
