"""mAP and rank-k against pytorch-metric-learning's."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from holotype.comparison.retrieval.ranking_metrics import rank_queries, ranking_metrics
from holotype.errors import UsageError


def oracle(
    query_QD: NDArray[Any], query_labels_Q: NDArray[Any], refs: tuple[Any, Any] | None, k: int
) -> dict[str, float]:
    """mAP over all ranks, rank-1 and rank-k as pytorch-metric-learning computes them."""
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    class WithRankK(AccuracyCalculator):  # type: ignore[misc]
        def calculate_rank_k(self, knn_labels: Any, query_labels: Any, **_: Any) -> float:
            same = self.label_comparison_fn(query_labels[:, None], knn_labels)[:, :k]
            with_match = torch.isin(torch.arange(len(query_labels)), torch.where(~self._lone)[0])
            return float(same.any(dim=1)[with_match].double().mean())

        def requires_knn(self) -> list[str]:
            return [*super().requires_knn(), "rank_k"]

        _lone = torch.tensor(
            [int(((refs[1] if refs else query_labels_Q) == y).sum()) <= (refs is None)
             for y in query_labels_Q.tolist()]
        )  # fmt: skip

    calculator = WithRankK(
        include=("mean_average_precision", "precision_at_1", "rank_k"),
        k=len(refs[1]) if refs else len(query_labels_Q) - 1,
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity(), batch_size=64),
    )
    given: dict[str, float] = calculator.get_accuracy(
        torch.tensor(query_QD),
        torch.tensor(query_labels_Q),
        *((torch.tensor(refs[0]), torch.tensor(refs[1])) if refs else (None, None)),
    )
    return given


def unit(values_ND: NDArray[Any]) -> NDArray[np.float64]:
    return values_ND / np.linalg.norm(values_ND, axis=1, keepdims=True)


def named(labels_N: NDArray[Any]) -> list[str]:
    return [f"turtle {label}" for label in labels_N]


@pytest.mark.parametrize("seed", range(5))
def test_map_and_rank_k_of_random_embeddings_are_those_of_pytorch_metric_learning(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(0, 25, 80)  # some have one image only
    embedding_ND = rng.normal(size=(80, 6)) + 0.5 * rng.normal(size=(25, 6))[labels_N]
    expected = oracle(embedding_ND, labels_N, None, k=5)
    names, unit_ND = named(labels_N), unit(embedding_ND)
    ranked = rank_queries(unit_ND @ unit_ND.T, names, names, np.eye(80, dtype=bool))
    found = ranking_metrics(ranked, names)
    assert found.num_unanswerable == int((np.bincount(labels_N)[labels_N] == 1).sum())
    assert found.mean_average_precision.value == pytest.approx(
        expected["mean_average_precision"], abs=1e-9
    )
    assert found.rank[1].value == pytest.approx(expected["precision_at_1"], abs=1e-9)
    assert found.rank[5].value == pytest.approx(expected["rank_k"], abs=1e-9)


def test_map_and_rank_k_of_a_real_gallery_are_those_of_pytorch_metric_learning() -> None:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    pixels_ND, digits_N = load_digits(return_X_y=True)
    embedding_ND = PCA(16, random_state=0).fit_transform(pixels_ND)
    query, gallery = slice(0, 150), slice(150, 700)
    in_gallery = digits_N[gallery] != 7  # so that the queries of a 7 have no answer
    refs_RD, refs_R = embedding_ND[gallery][in_gallery], digits_N[gallery][in_gallery]
    expected = oracle(embedding_ND[query], digits_N[query], (refs_RD, refs_R), k=10)
    similarity_QR = unit(embedding_ND[query]) @ unit(refs_RD).T
    names = named(digits_N[query])
    found = ranking_metrics(rank_queries(similarity_QR, names, named(refs_R)), names)
    assert found.num_unanswerable == int((digits_N[query] == 7).sum()) > 0
    assert found.mean_average_precision.value == pytest.approx(
        expected["mean_average_precision"], abs=1e-9
    )
    assert found.rank[1].value == pytest.approx(expected["precision_at_1"], abs=1e-9)
    assert found.rank[10].value == pytest.approx(expected["rank_k"], abs=1e-9)


def test_excluded_pairs_are_as_good_as_absent() -> None:
    rng = np.random.default_rng(1)
    similarity_QR = rng.normal(size=(12, 30))
    queries, references = named(rng.integers(0, 6, 12)), named(rng.integers(0, 6, 30))
    absent_R = np.arange(30) % 3 == 0
    without = rank_queries(similarity_QR, queries, references, np.tile(absent_R, (12, 1)))
    kept = [name for name, absent in zip(references, absent_R, strict=True) if not absent]
    smaller = rank_queries(similarity_QR[:, ~absent_R], queries, kept)
    np.testing.assert_array_equal(without.first_match_Q, smaller.first_match_Q)
    np.testing.assert_array_equal(without.average_precision_Q, smaller.average_precision_Q)


def test_intervals_widen_where_the_images_are_of_few_individuals() -> None:
    rng = np.random.default_rng(2)
    good_I = rng.random(40) < 0.7  # an individual is found in all of its images or in none
    names = [f"turtle {n}" for n in range(40) for _ in range(10)]
    similarity_QR = np.where(np.repeat(good_I, 10)[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    by_name = np.array(names)
    ranked = [
        rank_queries(similarity_QR[by_name == name], [name] * 10, [name, "somebody else"])
        for name in dict.fromkeys(names)
    ]
    joined = type(ranked[0])(
        np.concatenate([one.average_precision_Q for one in ranked]),
        np.concatenate([one.first_match_Q for one in ranked]),
    )
    of_individuals = ranking_metrics(joined, names).rank[1]
    of_images = ranking_metrics(joined, [str(n) for n in range(400)]).rank[1]
    assert of_individuals.value == of_images.value == good_I.mean()
    width, naive = (one.high - one.low for one in (of_individuals, of_images))
    assert width > 2.5 * naive  # √10 is the truth


def test_the_curve_ends_where_rank_k_does_and_never_falls() -> None:
    rng = np.random.default_rng(3)
    names = named(rng.integers(0, 8, 60))
    ranked = rank_queries(rng.normal(size=(60, 60)), names, names, np.eye(60, dtype=bool))
    found = ranking_metrics(ranked, names, ranks=(1, 20), num_ranks=59)
    assert (np.diff(found.cumulative_match_K) >= 0).all()
    assert found.cumulative_match_K[[0, 19, 58]].tolist() == pytest.approx(
        [found.rank[1].value, found.rank[20].value, 1.0]
    )


def test_what_cannot_be_ranked_is_said() -> None:
    with pytest.raises(UsageError, match=r"shape \(2, 3\) for 2 queries and 2 images"):
        rank_queries(np.zeros((2, 3)), ["a", "b"], ["a", "b"])
    with pytest.raises(UsageError, match="not finite"):
        rank_queries(np.array([[np.nan]]), ["a"], ["a"])
    nobody = ranking_metrics(rank_queries(np.zeros((1, 1)), ["a"], ["b"]), ["a"])
    assert nobody.rank[1].value is None
    assert "no query has an image" in nobody.rank[1].method
    assert ranking_metrics(rank_queries(np.zeros((1, 0)), ["a"], []), ["a"]).num_unanswerable == 1
