"""Only answers to the same images stand side by side."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from holotype.comparison.aligned_predictions import align_predictions
from holotype.errors import NotComparable
from holotype.predictions import Predictions
from tests.comparison.made import several


def test_rows_and_columns_are_brought_into_one_order() -> None:
    found = several(40, 4)
    first, other = found["run 0"], found["run 1"]
    rows, columns = np.random.default_rng(0).permutation(40), np.array([2, 0, 3, 1])
    shuffled = other.select(rows)
    shuffled = replace(
        shuffled,
        classes=tuple(other.classes[c] for c in columns),
        targets_N=np.argsort(columns)[shuffled.targets_N],
        logits_NC=shuffled.logits_NC[:, columns],
        probabilities_NC=shuffled.probabilities_NC[:, columns],
        ids=tuple(f"moved/{name}" for name in shuffled.ids),
    )
    plain = align_predictions({"a": first, "b": other}, "test")
    answers = align_predictions({"a": first, "b": shuffled}, "test")
    assert answers.first.targets_N.tolist() == answers.predictions[1].targets_N.tolist()
    assert answers.predicted_MN.tolist() == plain.predicted_MN.tolist()


def test_images_without_label_or_weight_do_not_count() -> None:
    found = several(30)
    weights_N, targets_N = np.ones(30), found["run 0"].targets_N.copy()
    weights_N[:4], targets_N[4:7] = 0, -1
    found = {n: replace(p, weights_N=weights_N, targets_N=targets_N) for n, p in found.items()}
    assert len(align_predictions(found, "test").first) == 23


def _fewer(p: Predictions) -> Predictions:
    return p.select(np.arange(35))


def _relabelled(p: Predictions) -> Predictions:
    targets_N = p.targets_N.copy()
    targets_N[3] = (targets_N[3] + 1) % 3
    return replace(p, targets_N=targets_N)


def _reweighed(p: Predictions) -> Predictions:
    return replace(p, weights_N=np.where(np.arange(40) == 5, 0.5, 1.0))


def _regrouped(p: Predictions) -> Predictions:
    return replace(p, groups=tuple("xy"[n % 2] for n in range(40)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_fewer, "35 are in both, 5 of 'run 0' only ('folder/0035.png'"),
        (_relabelled, "1 have different labels: 'folder/0003.png' is 'class"),
        (_reweighed, "'folder/0005.png' weighs 1 in 'run 0' and 0.5 in 'run 2'"),
        (_regrouped, "different groups"),
    ],
)
def test_the_difference_is_named(change: Callable[[Predictions], Predictions], says: str) -> None:
    found = several(40)
    found["run 2"] = change(found["run 2"])
    with pytest.raises(NotComparable) as refused:
        align_predictions(found, "test")
    assert says in str(refused.value)
    assert "Runs with equal images: 1: 'run 0', 'run 1'; 2: 'run 2'." in str(refused.value)


def test_different_classes_are_named() -> None:
    found = several(40)
    other = replace(found["run 1"], classes=("class 0", "class 1", "newt"))
    with pytest.raises(NotComparable, match=r"only 'run 0' has 'class 2'; only 'run 1' .*'newt'"):
        align_predictions({"run 0": found["run 0"], "run 1": other}, "test")


def test_groups_that_were_renamed_are_the_same_groups() -> None:
    found = several(40, groups=5)
    first = found["run 0"]
    renamed = replace(found["run 1"], groups=tuple(f"specimen {g}" for g in first.groups))
    assert align_predictions({"a": first, "b": renamed}, "test").units.count == 5
