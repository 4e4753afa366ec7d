"""The adjusted Rand index against scikit-learn's."""

import numpy as np
import pytest

from holotype.errors import UsageError
from holotype.identification.metrics.discovery_metrics import adjusted_rand_index


@pytest.mark.parametrize("seed", range(10))
def test_the_index_is_scikit_learns(seed: int) -> None:
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    names = [f"turtle {n}" for n in rng.integers(0, 9, 70)]
    clusters = np.where(
        rng.random(70) < 0.3, rng.integers(0, 9, 70), [int(name[-1]) for name in names]
    ).tolist()
    found = adjusted_rand_index(clusters, names)
    assert found.value == pytest.approx(adjusted_rand_score(names, clusters), abs=1e-12)
    assert found.low < found.value < found.high <= 1


def test_intervals_cover_the_index_of_many_individuals() -> None:
    """Each individual is split into two clusters with probability 1/3; no two are ever mixed."""

    def drawn(rng: np.random.Generator, individuals: int) -> tuple[list[str], list[str]]:
        parts = [1 + int(rng.random() < 1 / 3) for _ in range(individuals)]
        clusters = [f"{n}.{k % parts[n]}" for n in range(individuals) for k in range(6)]
        return clusters, [str(n) for n in range(individuals) for _ in range(6)]

    from sklearn.metrics import adjusted_rand_score

    clusters, names = drawn(np.random.default_rng(0), 2000)
    truth = adjusted_rand_score(names, clusters)
    rng = np.random.default_rng(1)
    found = [adjusted_rand_index(*drawn(rng, 25)) for _ in range(200)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.9


def test_degenerate_clusterings_have_a_value_and_no_false_certainty() -> None:
    assert adjusted_rand_index([0, 0], ["a", "a"]).value == 1
    assert adjusted_rand_index([0, 1], ["a", "a"]).value == 0
    both = adjusted_rand_index([0, 0, 1, 1], ["a", "a", "b", "b"])
    assert (both.low, both.high) == (-0.5, 1)
    assert adjusted_rand_index([0], ["a"]).value is None
    with pytest.raises(UsageError, match="2 clusters for 1"):
        adjusted_rand_index([0, 1], ["a"])
