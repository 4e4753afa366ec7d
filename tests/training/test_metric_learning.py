"""Losses against pytorch-metric-learning; batches, validation and whitening by their properties."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from holotype.training.heads.training_data import TrainingData
from holotype.training.heads.whitening import fit_whitening, unit_length
from holotype.training.metric_learning.arcface import arcface_losses
from holotype.training.metric_learning.identity_batches import identity_batches
from holotype.training.metric_learning.retrieval_validation import EmbeddedViews, retrieval_scores
from holotype.training.metric_learning.triplet import semi_hard_triplet_loss


def drawn(seed: int, N: int = 40, E: int = 12, C: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    embeddings = torch.randn(N, E, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(C, E, dtype=torch.float64, requires_grad=True)
    return embeddings, torch.randint(0, C, (N,)), directions


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("margin", "scale"), [(0.5, 64.0), (0.2, 16.0), (1.2, 8.0)])
def test_arcface_and_its_gradients_are_those_of_pytorch_metric_learning(
    seed: int, margin: float, scale: float
) -> None:
    """With the largest margin some angles lie beyond π - margin."""
    from pytorch_metric_learning.losses import ArcFaceLoss

    embeddings, targets, directions = drawn(seed)
    unit = torch.nn.functional.normalize
    cosines = unit(embeddings, dim=1) @ unit(directions, dim=1).T
    if margin > 1:
        own = cosines.detach().gather(1, targets[:, None]).arccos()
        assert (own > np.pi - margin).any()
    loss = arcface_losses(cosines, targets, margin=margin, scale=scale).mean()
    found = torch.autograd.grad(loss, (embeddings, directions))
    oracle = ArcFaceLoss(7, 12, margin=np.degrees(margin), scale=scale)
    oracle.W.data = directions.detach().T.clone()
    again = embeddings.detach().requires_grad_()
    expected = oracle(again, targets)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6, rel=1e-9)
    torch.testing.assert_close(found[0], again.grad, atol=1e-6, rtol=1e-9)
    torch.testing.assert_close(found[1], oracle.W.grad.T, atol=1e-6, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_triplet_loss_and_its_gradients_are_those_of_pytorch_metric_learning(
    seed: int, margin: float
) -> None:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import TripletMarginMiner

    embeddings, targets, _ = drawn(seed)
    loss = semi_hard_triplet_loss(
        torch.nn.functional.normalize(embeddings, dim=1), targets, margin=margin
    )
    (found,) = torch.autograd.grad(loss, embeddings)
    distance = LpDistance(normalize_embeddings=True, p=2, power=2)
    again = embeddings.detach().requires_grad_()
    mined = TripletMarginMiner(margin, "semihard", distance=distance)(again, targets)
    expected = TripletMarginLoss(margin, distance=distance)(again, targets, mined)
    expected.backward()
    assert len(mined[0]) > 0
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(found, again.grad, atol=1e-6, rtol=0)


def test_a_batch_without_semi_hard_triplets_has_no_loss_and_no_gradient() -> None:
    apart = torch.eye(4, requires_grad=True)
    loss = semi_hard_triplet_loss(apart, torch.arange(4), margin=0.2)
    loss.backward()
    assert loss.item() == 0
    assert float(apart.grad.abs().sum()) == 0


@pytest.mark.parametrize("batch_size", [8, 12, 64])
def test_batches_hold_k_images_of_each_of_p_classes_and_all_come_in_turn(batch_size: int) -> None:
    rng = np.random.default_rng(0)
    targets_N = np.concatenate([np.full(count, c) for c, count in enumerate([30, 4, 2, 1, 9, 9])])
    batches = identity_batches(
        targets_N, rng, num_batches=30, batch_size=batch_size, images_per_identity=4
    )
    drawn_C = np.zeros(6, int)
    for rows in batches:
        assert len(set(rows.tolist())) == len(rows) <= batch_size
        classes, counts = np.unique(targets_N[rows], return_counts=True)
        assert len(classes) == min(batch_size // 4, 6)
        expected = np.minimum(4, np.bincount(targets_N))[classes]
        np.testing.assert_array_equal(counts, expected)
        drawn_C[classes] += 1
    assert drawn_C.max() - drawn_C.min() <= 1
    assert set(np.concatenate(batches).tolist()) == set(range(len(targets_N)))


def gallery(embeddings: NDArray[Any], targets: list[int], encounters: list[int]) -> EmbeddedViews:
    return EmbeddedViews(
        torch.tensor(embeddings, dtype=torch.float64),
        torch.tensor(targets, dtype=torch.int64),
        torch.tensor(encounters, dtype=torch.int64),
        torch.ones(len(targets)),
    )


def test_validation_is_leave_one_out_and_never_compares_images_of_one_encounter() -> None:
    """Against scikit-learn's nearest neighbour, and the softmax written out."""
    rng = np.random.default_rng(1)
    unit_ND = unit_length(rng.normal(size=(30, 5)))
    targets_N, encounters_N = rng.integers(0, 4, 30), rng.integers(0, 12, 30)
    found = retrieval_scores(
        gallery(unit_ND[:20], targets_N[:20].tolist(), encounters_N[:20].tolist()),
        gallery(unit_ND[20:], targets_N[20:].tolist(), [-1] * 10),
        scale=7.0,
    )
    right, losses = [], []
    for query in range(20):
        others = [
            n for n in range(30)
            if n != query and (n >= 20 or encounters_N[n] != encounters_N[query])
        ]  # fmt: skip
        cosines = unit_ND[others] @ unit_ND[query]
        same = targets_N[others] == targets_N[query]
        if same.any():
            right.append(same[cosines.argmax()])
            shares = np.exp(7 * cosines) / np.exp(7 * cosines).sum()
            losses.append(-np.log(shares[same].sum()))
    assert found is not None
    assert found.rank_1 == pytest.approx(np.mean(right))
    assert found.log_loss == pytest.approx(np.mean(losses), rel=1e-5)
    nothing = gallery(np.zeros((0, 5)), [], [])
    assert retrieval_scores(gallery(unit_ND[:2], [0, 1], [-1, -1]), nothing, scale=1.0) is None


def training_data(features_ND: NDArray[Any], targets_N: NDArray[Any], classes: int) -> TrainingData:
    count = len(features_ND)
    return TrainingData(
        features_ND.astype(np.float32), targets_N, np.ones(count), [""] * count, classes
    )


def test_whitened_embeddings_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(2)
    features_ND = rng.normal(size=(200, 10)) @ rng.normal(size=(10, 10)) + 3
    data = training_data(features_ND, rng.integers(0, 3, 200), 3)
    projection = fit_whitening(data, dimensions=6, shrinkage=0.0)
    pca = PCA(6, whiten=True).fit(unit_length(features_ND))
    expected = unit_length(pca.transform(unit_length(features_ND)))
    found = projection(data.features_ND)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)
    assert projection.variance == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-4)


@pytest.mark.parametrize(("images", "dimensions"), [(5, 8), (40, 12), (1, 4)])
def test_whitening_of_few_images_has_zeros_beyond_their_rank(images: int, dimensions: int) -> None:
    rng = np.random.default_rng(3)
    data = training_data(rng.normal(size=(images, 10)), np.zeros(images, np.int64), 2)
    projection = fit_whitening(data, dimensions, shrinkage=0.1)
    rank = min(images - 1, 10, dimensions)
    assert (np.abs(projection.weight_ED).sum(axis=1) > 0).tolist() == [
        n < rank for n in range(dimensions)
    ]
    assert np.isfinite(projection(data.features_ND)).all()
    assert (projection.directions_CE[1] == 0).all()  # a class without an image
