"""The confidence interval of a share."""

import math

_Z = 1.959964  # 95%


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The 95% interval of the share behind `successes` of `total` (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    if not total:
        return 0.0, 1.0
    share = successes / total
    middle = share + _Z**2 / (2 * total)
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
