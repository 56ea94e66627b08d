"""Wilson's score interval of a share, such as of comparisons won.

Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American Statistical
Association 22. Unlike the usual interval of a mean it is not empty for 0 of N, and stays within [0, 1].
"""

import math
from statistics import NormalDist


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bounds of the interval of the share `count` / `total`, in [0, 1]. Raises ValueError for no cases.

    (p + z²/2N ± z sqrt(p (1 − p)/N + z²/4N²)) / (1 + z²/N): all shares q with |p − q| <= z sqrt(q (1 − q)/N), where p
    is the observed share and z the normal quantile of (1 + confidence) / 2.
    """
    if total < 1:
        raise ValueError("a share needs at least one case")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
