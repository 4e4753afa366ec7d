"""What is said of an image by weights that never saw it, and who is left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from holotype.comparison.aligned_predictions import AlignedPredictions, align_predictions
from holotype.dataset.index import Index
from holotype.ensembles.ensemble_weights import METHODS, choose_method, fit_weights
from holotype.ensembles.fit_ensemble import MemberPredictions, assign_held_out_folds, fit
from holotype.predictions import Predictions, softmax

CLASSES = ("a", "b", "c")


def said(
    logits_NC: np.ndarray, targets_N: np.ndarray, groups: list[str] | None = None
) -> Predictions:
    N = len(targets_N)
    return Predictions(
        classes=CLASSES,
        ids=tuple(f"{n:04d}.png" for n in range(N)),
        sha256=tuple(f"{n:064x}" for n in range(N)),
        targets_N=targets_N,
        weights_N=np.ones(N),
        groups=tuple(groups or [""] * N),
        folds_N=np.full(N, -1),
        logits_NC=logits_NC.astype(np.float32),
        probabilities_NC=softmax(logits_NC),
    )


def made_member_predictions(
    quality: list[float], *, images: int = 120, seed: int = 0, copies: int = 1
) -> MemberPredictions:
    """Members that know the truth to some extent; each image several times, as one group."""
    rng = np.random.default_rng(seed)
    targets_N = rng.integers(3, size=images)
    logits_MNC = rng.normal(size=(len(quality), images, 3))
    for member, known in enumerate(quality):
        logits_MNC[member, np.arange(images), targets_N] += known
    groups = [str(n // copies) for n in range(images * copies)] if copies > 1 else None
    answers = align_predictions(
        {
            str(member): said(
                np.repeat(logits_NC, copies, axis=0), np.repeat(targets_N, copies), groups
            )
            for member, logits_NC in enumerate(logits_MNC)
        },
        "validation",
    )
    return MemberPredictions(answers, np.repeat(np.arange(images) % 5, copies))


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_a_fold_say_nothing_in_what_is_said_of_it(method: str) -> None:
    member_predictions = made_member_predictions([2.0, 0.5, 1.0])
    held = member_predictions.fold_N == 3
    targets_N = member_predictions.aligned.first.targets_N.copy()
    targets_N[held] = (targets_N[held] + 1) % 3
    lied = tuple(
        replace(each, targets_N=targets_N) for each in member_predictions.aligned.predictions
    )
    other = MemberPredictions(
        replace(member_predictions.aligned, predictions=lied), member_predictions.fold_N
    )
    first, second = (
        fit(one, method).held_out.probabilities_NC for one in (member_predictions, other)
    )
    np.testing.assert_array_equal(first[held], second[held])
    assert np.abs(first[~held] - second[~held]).max() > 1e-6


def test_a_member_that_misleads_is_left_out_and_the_rest_weigh_1() -> None:
    fitted = fit(made_member_predictions([2.0, -1.0, 2.0], images=600), "weighted")
    assert fitted.members == (0, 2)
    assert fitted.weights_CM is not None
    assert fitted.weights_CM.shape == (3, 2)
    np.testing.assert_allclose(fitted.weights_CM.sum(axis=1), 1)


def test_the_best_member_is_that_of_the_lowest_log_loss() -> None:
    member_predictions = made_member_predictions([0.5, 2.0, 1.0])
    losses = [
        log_loss(each.targets_N, each.probabilities_NC, labels=[0, 1, 2])
        for each in member_predictions.aligned.predictions
    ]
    assert member_predictions.best == int(np.argmin(losses)) == 1
    np.testing.assert_allclose(member_predictions.losses_M, losses)


def test_auto_takes_the_plain_mean_of_few_images() -> None:
    assert fit(made_member_predictions([3.0, 0.0], images=8), None).method == "average"
    assert fit(made_member_predictions([3.0, 0.0], images=400), None).method != "average"


def test_images_said_many_times_weigh_no_more_than_their_groups() -> None:
    """Ten copies of each image as one group: neither trust nor certainty may grow."""
    once, often = (
        made_member_predictions([1.2, 0.8], images=30),
        made_member_predictions([1.2, 0.8], images=30, copies=10),
    )
    one, many = fit(once, "adaptive"), fit(often, "adaptive")
    assert one.weights_CM is not None
    assert many.weights_CM is not None
    np.testing.assert_allclose(one.weights_CM, many.weights_CM, atol=1e-6)
    for seed in range(3):
        one, many = (
            fit(made_member_predictions([1.3, 0.4], images=40, seed=seed, copies=copies), None)
            for copies in (1, 10)
        )
        assert one.method == many.method
        assert one.losses["weighted"] == pytest.approx(many.losses["weighted"], abs=1e-6)


def test_one_fold_alone_gives_the_plain_mean() -> None:
    member_predictions = made_member_predictions([3.0, 0.0])
    images = member_predictions.aligned.first
    choice = choose_method(
        member_predictions.probabilities_MNC,
        images.targets_N,
        images.weights_N,
        np.zeros(120, np.int64),
    )
    assert choice.method == "average"
    np.testing.assert_allclose(choice.weights_MC, 0.5)


def test_the_temperature_is_that_of_a_regression_on_the_logarithm() -> None:
    """One number that multiplies log-odds of two classes: scikit-learn's slope without bias."""
    member_predictions = made_member_predictions([2.0, 1.5], images=500)
    two = tuple(
        replace(
            each, classes=("a", "b"), targets_N=each.targets_N % 2,
            logits_NC=each.logits_NC[:, :2], probabilities_NC=softmax(each.logits_NC[:, :2]),
        )
        for each in member_predictions.aligned.predictions
    )  # fmt: skip
    answers = AlignedPredictions(
        member_predictions.aligned.names, two, member_predictions.aligned.units
    )
    fitted = fit(MemberPredictions(answers, member_predictions.fold_N), "average")
    mean_NC = np.mean([each.probabilities_NC for each in two], axis=0)
    odds_N = np.log(mean_NC[:, 1] / mean_NC[:, 0])
    for fold in range(5):
        held = member_predictions.fold_N == fold
        slope = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(
            odds_N[~held, None], two[0].targets_N[~held]
        )
        expected = slope.predict_proba(odds_N[held, None])[:, 1]
        np.testing.assert_allclose(fitted.held_out.probabilities_NC[held, 1], expected, atol=1e-4)


def test_groups_and_copies_share_a_fold_and_others_are_spread() -> None:
    N = 60
    groups = [f"g{n // 3}" if n < 30 else "" for n in range(N)]
    table = pd.DataFrame(
        {
            "path": [f"{n:02d}.png" for n in range(N)], "label": [CLASSES[n % 3] for n in range(N)],
            "group": groups, "split": "val", "fold": -1, "weight": 1.0,
            "sha256": [f"{n:064x}" for n in range(N)], "width": 9, "height": 9, "format": "PNG",
        }
    )  # fmt: skip
    index = Index(root=None, table=table, classes=CLASSES)
    ids = table["path"].tolist()[::-1]
    copies = [frozenset({"31.png", "40.png", "59.png"})]
    fold_of = dict(zip(ids, assign_held_out_folds(index, ids, copies), strict=True))
    assert len({fold_of[name] for name in copies[0]}) == 1
    for first in range(0, 30, 3):
        assert len({fold_of[f"{first + n:02d}.png"] for n in range(3)}) == 1
    assert set(fold_of.values()) == set(range(5))
    alone = assign_held_out_folds(index, ids[:1], [])
    assert alone.tolist() == [0]


def test_equal_shares_whatever_the_weights_of_images_are_scaled_by() -> None:
    member_predictions = made_member_predictions([1.2, 0.8])
    images = member_predictions.aligned.first
    weights = [
        fit_weights(
            "adaptive", member_predictions.probabilities_MNC, images.targets_N, np.full(120, scale)
        )
        for scale in (1.0, 0.001)
    ]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-8)
