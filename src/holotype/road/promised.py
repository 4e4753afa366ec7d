"""What a bundle promises beside its probabilities: sets of classes, and when it says "unknown"."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.bundle.manifest import Decision, Unknown
    from holotype.bundle.references import References
    from holotype.dataset.index import Index
    from holotype.evaluation.conformal import SetScores
    from holotype.predictions import Predictions
    from holotype.training.recipe import Recipe


def references_from(bundle: "Bundle", index: "Index") -> "References":
    """The training pictures as the bundle's backbone sees them, without those left out."""
    from holotype.bundle.inference import embed_index
    from holotype.bundle.references import references_of

    training = _counted(index.part("train"))
    embeddings = embed_index(bundle, training)
    table = training.table.iloc[embeddings.positions]
    return references_of(
        embeddings.embeddings_ND, _targets(training)[embeddings.positions], table["path"].tolist()
    )


def told_unknown(
    recipe: "Recipe", bundle: "Bundle", index: "Index", notes: list[str]
) -> "tuple[Bundle, Unknown | None]":
    """How unknown pictures are told, and the bundle with the references that this may need.

    Args:
        bundle: not sealed yet.
        notes: of the report; what was chosen is added.
    """
    from holotype.bundle.inference import embed_index, familiarity_of
    from holotype.bundle.manifest import Unknown
    from holotype.bundle.unknown import NEIGHBOURS
    from holotype.evaluation.unknown import choose_score, rejection_threshold

    assert recipe.unknown is not None
    training, validation = _counted(index.part("train")), _counted(index.part("val"))
    learnt, seen = embed_index(bundle, training), embed_index(bundle, validation)
    choice = choose_score(
        learnt.embeddings_ND, _targets(training)[learnt.positions],
        seen.embeddings_ND, _targets(validation)[seen.positions],
        num_classes=len(bundle.classes), seed=recipe.seed,
        energies_V=familiarity_of(bundle, seen, "energy", NEIGHBOURS),
    )  # fmt: skip
    notes.append(choice.note())
    if choice.score == "neighbours" and bundle.references is None:
        bundle = bundle.with_references(references_from(bundle, index))
        notes.append(
            "The bundle keeps the embeddings and names of the training pictures, since unknown "
            "pictures are told by them. Whoever gets the bundle gets these too."
        )
    scores_V = familiarity_of(bundle, seen, choice.score, NEIGHBOURS)
    threshold = rejection_threshold(scores_V, recipe.unknown)
    if threshold is None:  # a picture became unreadable since it was counted
        notes.append("Too few validation pictures remain to say when a picture is unknown.")
        return bundle, None
    notes.append(
        f"At most {recipe.unknown:.1%} of pictures of known classes are answered with unknown, "
        f"with a confidence of 95 %; on the {len(scores_V):,} validation pictures it was "
        f"{float(np.mean(scores_V < threshold)):.1%}."
    )
    return bundle, Unknown(
        choice.score, threshold, recipe.unknown, num_fitted=len(scores_V), neighbours=NEIGHBOURS
    )


def sealed_with_sets(
    bundle: "Bundle",
    decision: "Decision",
    index: "Index",
    out_of_fold: "Predictions | None" = None,
) -> "Bundle":
    """Seal the decision, and what sets of classes rest on where pictures were held back for them.

    Args:
        index: its part `cal` is what is held back.
        out_of_fold: what takes its place where it has no pictures.
    """
    from holotype.bundle.inference import predict
    from holotype.evaluation.decision import with_sets

    held_back = index.part("cal")
    if len(held_back):
        # A bundle of members has no views of its own: each of them has sealed its.
        views = None if bundle.members else decision.views
        said, _ = predict(bundle, held_back, views=views)
        return bundle.with_decision(*with_sets(decision, said, "cal"))
    if out_of_fold is not None:
        return bundle.with_decision(*with_sets(decision, out_of_fold, "out_of_fold"))
    return bundle.with_decision(decision)


def scores_of_sets(bundle: "Bundle", test: "Predictions | None") -> "list[SetScores]":
    """What the sets of a bundle are worth on test; nothing without sets or without test."""
    from holotype.evaluation.conformal import judge_sets

    held_back = bundle.manifest.decision.held_back if bundle.manifest.decision else None
    if bundle.calibrated is None or held_back is None or test is None:
        return []
    return judge_sets(bundle.calibrated, held_back, test)


def _counted(index: "Index") -> "Index":
    """Without the pictures that a person left out, which weigh 0."""
    return index.without(set(index.table.loc[index.table["weight"] == 0, "path"]))


def _targets(index: "Index") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    number_of = {name: number for number, name in enumerate(index.classes)}
    return np.array([number_of[label] for label in index.table["label"]], np.int64)
