"""Student's t: how far means of a few runs scatter, whose deviation is itself estimated from these runs.

Student 1908, "The Probable Error of a Mean"; for whole degrees of freedom the distribution is a finite sum:
Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
"""

import math


def quantile(level: float, freedom: int) -> float:
    """The value that a share `level`, from 0.5 to below 1, lies below, of t with so many degrees of freedom, from 1 on.

    Raises ValueError for less.
    """
    if freedom < 1 or not 0.5 <= level < 1:
        raise ValueError(f"level = {level:g}, freedom = {freedom}: from 0.5 to below 1, and at least 1")
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # halving an angle comes to the last digit of a double long before
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * level - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """The share between -t and t, where t = sqrt(freedom) tan(angle)."""
    term, total = (math.cos(angle), math.cos(angle)) if freedom % 2 else (1.0, 1.0)
    for power in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if freedom == 1:
        return 2 / math.pi * angle
    if freedom % 2:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
