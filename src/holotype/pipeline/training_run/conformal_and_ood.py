"""What a bundle promises beside its probabilities: sets of classes, and when it says "unknown"."""

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import embed_index, ood_scores, predict_index
from holotype.bundle.manifest import Decision, OODDetector
from holotype.bundle.ood_scores import NEIGHBOURS
from holotype.bundle.references import References, make_references
from holotype.dataset.index import Index
from holotype.evaluation.conformal import PredictionSetScores, evaluate_prediction_sets
from holotype.evaluation.ood_threshold import choose_ood_score, fit_ood_threshold
from holotype.evaluation.post_hoc_calibration import with_prediction_sets
from holotype.predictions import Predictions
from holotype.training.config.recipe import Recipe


def build_references(bundle: "Bundle", index: "Index") -> "References":
    """The training images as the bundle's backbone sees them, without those left out."""
    training = _with_positive_weight(index.part("train"))
    embeddings = embed_index(bundle, training)
    table = training.table.iloc[embeddings.positions]
    return make_references(
        embeddings.embeddings_ND, training.targets_N[embeddings.positions], table["path"].tolist()
    )


def fit_ood_rejection(
    recipe: "Recipe", bundle: "Bundle", index: "Index", notes: list[str]
) -> "tuple[Bundle, OODDetector | None]":
    """How unknown images are told, and the bundle with the references that this may need.

    Args:
        bundle: not sealed yet.
        notes: of the report; what was chosen is added.
    """
    assert recipe.unknown is not None
    training, validation = (
        _with_positive_weight(index.part("train")),
        _with_positive_weight(index.part("val")),
    )
    train_embeddings, val_embeddings = (
        embed_index(bundle, training),
        embed_index(bundle, validation),
    )
    choice = choose_ood_score(
        train_embeddings.embeddings_ND, training.targets_N[train_embeddings.positions],
        val_embeddings.embeddings_ND, validation.targets_N[val_embeddings.positions],
        num_classes=len(bundle.classes), seed=recipe.seed,
        energies_V=ood_scores(bundle, val_embeddings, "energy", NEIGHBOURS),
    )  # fmt: skip
    notes.append(choice.note())
    if choice.score == "neighbours" and bundle.references is None:
        bundle = bundle.with_references(build_references(bundle, index))
        notes.append(
            "The bundle keeps the embeddings and names of the training images, since unknown "
            "images are told by them. Whoever gets the bundle gets these too."
        )
    scores_V = ood_scores(bundle, val_embeddings, choice.score, NEIGHBOURS)
    threshold = fit_ood_threshold(scores_V, recipe.unknown)
    if threshold is None:  # an image became unreadable since it was counted
        notes.append("Too few validation images remain to say when an image is unknown.")
        return bundle, None
    notes.append(
        f"At most {recipe.unknown:.1%} of images of known classes are answered with unknown, "
        f"with a confidence of 95 %; on the {len(scores_V):,} validation images it was "
        f"{float(np.mean(scores_V < threshold)):.1%}."
    )
    return bundle, OODDetector(
        choice.score, threshold, recipe.unknown, num_images=len(scores_V), neighbours=NEIGHBOURS
    )


def seal_with_calibration_set(
    bundle: "Bundle",
    decision: "Decision",
    index: "Index",
    out_of_fold: "Predictions | None" = None,
) -> "Bundle":
    """Seal the decision, and what sets of classes rest on where images were held back for them.

    Args:
        index: its part `cal` is what is held back.
        out_of_fold: what takes its place where it has no images.
    """
    calibration_set = index.part("cal")
    if len(calibration_set):
        # A bundle of members has no views of its own: each of them has sealed its.
        views = None if bundle.members else decision.views
        calibration_predictions = predict_index(bundle, calibration_set, views=views)
        return bundle.with_decision(*with_prediction_sets(decision, calibration_predictions, "cal"))
    if out_of_fold is not None:
        return bundle.with_decision(*with_prediction_sets(decision, out_of_fold, "out_of_fold"))
    return bundle.with_decision(decision)


def prediction_set_scores(
    bundle: "Bundle", test: "Predictions | None"
) -> "list[PredictionSetScores]":
    """What the sets of a bundle are worth on test; nothing without sets or without test."""
    calibration_set = bundle.manifest.decision.calibration_set if bundle.manifest.decision else None
    if bundle.conformal_scores is None or calibration_set is None or test is None:
        return []
    return evaluate_prediction_sets(bundle.conformal_scores, calibration_set, test)


def _with_positive_weight(index: "Index") -> "Index":
    """Without the images that a person left out, which weigh 0."""
    return index.without(set(index.table.loc[index.table["weight"] == 0, "path"]))
