"""Did each arm get its share of the requests? A check that may be looked at at any time.

Under shares that are as they were set, the e-value is a martingale that begins at 1, so it ever
reaches 1 / alpha with a chance of at most alpha. Where it does, requests of one arm are lost,
answered twice or assigned wrongly, and a comparison of the arms means nothing.

Source: Lindon and Malek 2022, "Anytime-valid inference for multinomial count data".
"""

import math
from collections.abc import Mapping

ALPHA = 0.001
_PRIOR_COUNT = 100.0  # how close to its share an arm is expected: some 5 points


def log_sample_ratio_evidence(counts: Mapping[float, tuple[int, int]]) -> float:
    """The logarithm of the e-value against shares as they were set.

    Args:
        counts: share of the challenger, within (0, 1) -> requests to the champion, and to the
            challenger, while it was set.
    """
    return sum(_log_evidence(share, *pair) for share, pair in counts.items())


def is_mismatch(log_evidence: float) -> bool:
    return log_evidence >= math.log(1 / ALPHA)


def _log_evidence(share: float, champion: int, challenger: int) -> float:
    """The likelihood of the counts under a Beta prior around the share, by that of the share."""
    a, b = _PRIOR_COUNT * share, _PRIOR_COUNT * (1 - share)
    expected = challenger * math.log(share) + champion * math.log(1 - share)
    return _log_beta(a + challenger, b + champion) - _log_beta(a, b) - expected


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
