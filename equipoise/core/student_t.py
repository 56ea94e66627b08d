"""Quantiles of Student's t distribution, for confidence intervals of the mean of a few runs.

Student 1908, "The Probable Error of a Mean". For integer degrees of freedom the distribution function is a finite sum:
Abramowitz and Stegun 1964, 26.7.3 and 26.7.4. It is written out here because SciPy would add 144 MB to an installation
for this one function; the tests compare it with `scipy.stats.t.ppf`.
"""

import math


def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t distribution: t with P(T <= t) = probability.

    Raises ValueError unless 0.5 <= probability < 1 and degrees_of_freedom >= 1.
    """
    if degrees_of_freedom < 1 or not 0.5 <= probability < 1:
        raise ValueError(
            f"probability = {probability:g}, degrees_of_freedom = {degrees_of_freedom}: "
            "they must be in [0.5, 1), and at least 1"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # more than enough for the precision of a double
        middle = (low + high) / 2
        is_low = _central_probability(middle, degrees_of_freedom) < 2 * probability - 1
        low, high = (middle, high) if is_low else (low, middle)
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def _central_probability(angle: float, degrees_of_freedom: int) -> float:
    """Return A(t|ν) = P(-t < T < t) for t = sqrt(ν) tan(angle), ν degrees of freedom.

    ν = 1     2/π θ
    ν odd     2/π {θ + sin θ [cos θ + 2/3 cos³ θ + … + (2·4…(ν-3)) / (3·5…(ν-2)) cos^(ν-2) θ]}
    ν even    sin θ {1 + 1/2 cos² θ + (1·3)/(2·4) cos⁴ θ + … + (1·3…(ν-3)) / (2·4…(ν-2)) cos^(ν-2) θ}
    """
    is_odd = degrees_of_freedom % 2 == 1
    term = total = math.cos(angle) if is_odd else 1.0
    for power in range(3 if is_odd else 2, degrees_of_freedom - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if degrees_of_freedom == 1:
        return 2 / math.pi * angle
    if is_odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
