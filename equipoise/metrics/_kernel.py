"""The kernel distance between two sets of features."""

from torch import Tensor

from equipoise.errors import DataError


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018, "Demystifying MMD GANs").

        k(x, y) = (x·y / d + 1)³
        MMD² = Σ_{i≠j} k(x_i, x_j) / (m (m - 1)) + Σ_{i≠j} k(y_i, y_j) / (n (n - 1)) - 2 Σ_{i,j} k(x_i, y_j) / (m n)

    `first` (m, d) and `second` (n, d) of any float type; computed in float64 over all pairs at once, which takes
    8 m n bytes, instead of the paper's mean over blocks. 0 on average for sets of the same distribution, so often a
    little below it. Raises DataError for fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise DataError(f"a kernel distance needs 2 samples a side or more, not {len(first)} and {len(second)}")
    first, second = first.double(), second.double()
    across = _kernel(first, second).mean()
    return float(_mean_of_pairs(first) + _mean_of_pairs(second) - 2 * across)


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """k of each with each: (m, n)."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def _mean_of_pairs(features: Tensor) -> Tensor:
    """Mean of k over all pairs of two different rows: scalar."""
    kernel = _kernel(features, features)
    return (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))
