"""The values that a metric can have at all, by its name."""

import math
import re
from functools import lru_cache

MAX_FID = 1e4
"""Largest credible FID. Inception's 2,048 features are means of rectified activations and mostly below 1; 10,000 is
reached only if each of them is off by more than 2. Pure noise has 300 to 500."""
MIN_FID = 0.01
"""Smallest credible FID. Its means alone differ by tr(Σ)(1/N + 1/M) for two samples of reals, with tr(Σ) near 200 about
0.008 for N = M = 50,000; with the covariances it is near 1 (bias: Chong and Forsyth 2020; Bińkowski 2018)."""
CLASSES = 1000
"""The Inception score is exp E KL(p(y|x) ‖ p(y)), in [1, number of classes]."""
_WORDS = re.compile("[a-z]+")


def metric_words(name: str) -> list[str]:
    """Return the words of a metric's name in lower case: "fid50k_full" -> fid, k, full."""
    return _WORDS.findall(name.lower())


def is_kernel_distance(name: str) -> bool:
    """Return whether a metric is a kernel distance, whose unbiased estimate scatters about 0 for perfect samples."""
    return any(word in ("kd", "kid") for word in metric_words(name))


@lru_cache(maxsize=64)
def possible_range(name: str) -> tuple[float, float]:
    """Return the smallest and the largest credible value of a metric; infinite where nothing is known."""
    words = metric_words(name)
    if "std" in words or "deviation" in words:
        return -math.inf, math.inf
    if "fid" in words:
        return MIN_FID, MAX_FID
    if {"fd", "swd", "lpips"} & set(words):
        return 0.0, math.inf
    if {"precision", "recall"} & set(words):
        return 0.0, 100.0
    if "is" in words or "inception" in words:
        return 1.0, float(CLASSES)
    return -math.inf, math.inf


def is_possible(name: str, value: float) -> bool:
    """Return whether a metric can have a value: finite and in its range."""
    low, high = possible_range(name)
    return math.isfinite(value) and low <= value <= high
