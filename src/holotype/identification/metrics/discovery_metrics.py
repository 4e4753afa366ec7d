"""How well clusters of images are individuals: the adjusted Rand index.

Shape suffixes: N images, I individuals, K clusters.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from holotype.errors import UsageError
from holotype.evaluation.intervals import Estimate, SamplingUnits, jackknife_variance, undefined
from holotype.identification.metrics.identity_intervals import interval_of_range

LOWEST = -0.5  # of the adjusted Rand index (Chacón and Rastrojo 2023)


def adjusted_rand_index(clusters: Sequence[Hashable], identities: Sequence[str]) -> Estimate:
    """Agreement of clusters and individuals on pairs of images, corrected for chance.

    1 where the clusters are the individuals, 0 on average for clusters drawn at random. The
    interval comes from the jackknife over individuals.

    Args:
        clusters: N names or numbers.
        identities: N names.

    Raises:
        UsageError: not as many clusters as identities.

    Source:
        Hubert and Arabie 1985, "Comparing Partitions"; as scikit-learn's `adjusted_rand_score`.

    Example:
        >>> adjusted_rand_index([0, 0, 1, 1], ["ada", "ada", "bo", "bo"]).value
        1.0
    """
    if len(clusters) != len(identities):
        raise UsageError(
            f"{len(clusters)} clusters for {len(identities)} identities; expected one per image."
        )
    if len(identities) < 2:
        return undefined("needs two images")
    units = SamplingUnits.of_groups(identities)
    numbers = {name: n for n, name in enumerate(dict.fromkeys(clusters))}
    contingency_IK = np.zeros((units.count, len(numbers)), np.int64)
    cluster_N = np.array([numbers[name] for name in clusters])
    np.add.at(contingency_IK, (units.unit_N, cluster_N), 1)
    value = _of_contingency(contingency_IK)
    if units.count < 3:  # of two, the jackknife leaves one, and any clusters agree with that
        return Estimate(value, LOWEST, 1.0, "fewer than 3 individuals: the interval is unknown")
    without_I = np.array(
        [_of_contingency(np.delete(contingency_IK, one, axis=0)) for one in range(units.count)]
    )
    variance = jackknife_variance(value, without_I)
    method = f"jackknife over {units.count} individuals"
    return interval_of_range(value, variance, units.count, method, LOWEST, 1.0)


def _of_contingency(contingency_IK: NDArray[np.int64]) -> float:
    def pairs(counts: NDArray[np.int64]) -> float:
        return float((counts * (counts - 1)).sum()) / 2

    together = pairs(contingency_IK)
    of_individuals, of_clusters = (pairs(contingency_IK.sum(axis=axis)) for axis in (1, 0))
    images = int(contingency_IK.sum())
    by_chance = of_individuals * of_clusters / (images * (images - 1) / 2) if images > 1 else 0.0
    most = (of_individuals + of_clusters) / 2
    return 1.0 if most == by_chance else (together - by_chance) / (most - by_chance)
