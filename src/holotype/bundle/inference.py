"""Bundle + images -> predictions.

The probabilities of an image are the same whatever the batch, the order, the number of workers and
the state of the cache.

Shape suffixes: N images, D embedding, C classes, R rows of one call of the head.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.combination import log_mean_probability, log_softmax
from holotype.bundle.embedding import (
    Embeddings,
    ViewKey,
    cache_namespace,
    embed,
    embed_image,
    resolve_views,
)
from holotype.bundle.image_sources import ImageFile, ImageSource
from holotype.bundle.manifest import OODScore
from holotype.bundle.onnx_runtime import DoneCallback, run_session
from holotype.bundle.ood_scores import knn_similarity_N, negative_energy_N
from holotype.bundle.views import PLAIN, ViewSet
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index
from holotype.errors import CorruptBundle, DatasetError, did_you_mean
from holotype.imaging.decode import Image
from holotype.predictions import UNLABELLED, Predictions, softmax

HEAD_ROWS = 64  # the head always sees this many rows: another number may round otherwise


def run_head(bundle: Bundle, embeddings_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits (N, C) of embeddings.

    Raises:
        CorruptBundle: the numbers are not finite, or not one for each class.
    """
    N, C = len(embeddings_ND), len(bundle.classes)
    logits_NC = np.empty((N, C), np.float32)
    block_RD = np.zeros((HEAD_ROWS, embeddings_ND.shape[1]), np.float32)
    for start in range(0, N, HEAD_ROWS):
        rows = embeddings_ND[start : start + HEAD_ROWS]
        block_RD[: len(rows)] = rows
        (logits_RC,) = run_session(bundle.head, block_RD, ["logits"])
        if logits_RC.shape != (HEAD_ROWS, C):
            raise CorruptBundle(
                f"{bundle.name}: the head gives {logits_RC.shape[1:]} numbers an image, "
                f"but the manifest names {C} classes; train or export it again."
            )
        logits_NC[start : start + HEAD_ROWS] = logits_RC[: len(rows)]
    if not np.isfinite(logits_NC).all():
        raise CorruptBundle(
            f"{bundle.name}: its graphs give numbers that are not finite; train or export it again."
        )
    return logits_NC


def combined_logits(
    bundle: Bundle, embeddings: Embeddings, views: ViewSet | None = None
) -> NDArray[np.float32]:
    """The logits (N, C) that the temperature divides.

    Those of the head, for one view and no members. Else the logarithm of a mean of
    probabilities: over the views, each at temperature 1; over the members, each at its own.
    """
    if bundle.members:
        answers = [
            log_softmax(combined_logits(member, embeddings, views), member.temperature)
            for member in bundle.members
        ]
        assert bundle.ensemble_weights is not None
        weighted = bundle.ensemble_weights.weights_CM is not None
        weights_CM = bundle.ensemble_weights.weights_for(len(bundle.classes)) if weighted else None
        return log_mean_probability(answers, weights_CM)
    namespace, seen = cache_namespace(bundle), resolve_views(bundle, views)
    logits = [run_head(bundle, embeddings.by_view[ViewKey(namespace, view)]) for view in seen]
    return (
        logits[0]
        if len(seen) == 1
        else log_mean_probability([log_softmax(each) for each in logits])
    )


def ood_scores(
    bundle: Bundle, embeddings: Embeddings, score: OODScore, neighbours: int
) -> NDArray[np.float64]:
    """The OOD score of each image (N); see `bundle.ood_scores`.

    Raises:
        CorruptBundle: the score needs references, and the bundle has none.
    """
    plain_ND = embeddings.by_view[ViewKey(cache_namespace(bundle), PLAIN)]
    if score == "energy":
        return negative_energy_N(run_head(bundle, plain_ND))
    if bundle.references is None:
        raise CorruptBundle(
            f"{bundle.name}: unknown images are found by the nearest training images, but it "
            "holds none; train it again."
        )
    return knn_similarity_N(bundle.references, plain_ND, neighbours)


def is_unknown(bundle: Bundle, embeddings: Embeddings) -> NDArray[np.bool_] | None:
    """Whether each image (N) is of no known class; None where that was not sealed.

    None for an ensemble: the thresholds of its members promise nothing for the whole.
    """
    unknown = bundle.manifest.decision.unknown if bundle.manifest.decision else None
    if unknown is None or bundle.members:
        return None
    scores_N = ood_scores(bundle, embeddings, unknown.score, unknown.neighbours)
    return np.asarray(scores_N < unknown.threshold, np.bool_)


def embed_index(
    bundle: Bundle,
    index: Index,
    *,
    views: ViewSet | None = None,
    use_cache: bool = True,
    workers: int | None = None,
    on_progress: DoneCallback | None = None,
) -> Embeddings:
    """The embeddings of the images of an index; see `embed`."""
    table = index.table
    files = [
        ImageFile(path, index.file(path), sha256)
        for path, sha256 in zip(table["path"], table["sha256"], strict=True)
    ]
    return embed(
        bundle, files, views=views, use_cache=use_cache, workers=workers, on_progress=on_progress
    )


def predict_index(
    bundle: Bundle,
    index: Index,
    *,
    views: ViewSet | None = None,
    use_cache: bool = True,
    workers: int | None = None,
    on_progress: DoneCallback | None = None,
) -> Predictions:
    """Predictions for the labelled images of an index, in its order.

    Args:
        views: to average before a decision is sealed, so that one can be chosen; afterwards
            those that are sealed, and no others.
        use_cache, workers, on_progress: see `embed`.

    Raises:
        DatasetError: a label is none of the bundle's classes.
        BundleError: these views cannot be had from this bundle.
    """
    table = index.table
    number_of = known_classes(bundle, index)
    embeddings = embed_index(
        bundle, index, views=views, use_cache=use_cache, workers=workers, on_progress=on_progress
    )
    logits_NC = combined_logits(bundle, embeddings, views)
    rows = table.iloc[embeddings.positions]
    return Predictions(
        classes=bundle.classes,
        ids=tuple(rows["path"]),
        sha256=tuple(embeddings.sha256),
        targets_N=np.array([number_of[label] for label in rows["label"]], np.int64),
        weights_N=rows["weight"].to_numpy(np.float64),
        groups=tuple(rows["group"]),
        folds_N=rows["fold"].to_numpy(np.int64),
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC, bundle.temperature),
        refused=tuple(embeddings.refused),
        warnings=embeddings.warnings,
        bundle_sha256=bundle.sha256,
    )


def predictions_of_index(index: Index, logits_NC: NDArray[np.float32]) -> Predictions:
    """Predictions for all images of an index from logits that are known, at temperature 1."""
    table = index.table
    return Predictions(
        classes=index.classes,
        ids=tuple(table["path"]),
        sha256=tuple(table["sha256"]),
        targets_N=index.targets_N,
        weights_N=table["weight"].to_numpy(np.float64),
        groups=tuple(table["group"]),
        folds_N=table["fold"].to_numpy(np.int64),
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC),
    )


def known_classes(bundle: Bundle, index: Index) -> dict[str, int]:
    """The number of each class in the logits, by its name.

    Raises:
        DatasetError: a label of the index is none of them.
    """
    number_of = {class_name(name): number for number, name in enumerate(bundle.classes)}
    for label in index.table["label"].unique():
        if label not in number_of:
            raise DatasetError(
                f"the data has a class {label!r} that the classifier does not know"
                f"{did_you_mean(label, number_of)} It knows: {', '.join(bundle.classes)}. "
                "Rename the class in the data, or train with it."
            )
    return number_of


def with_labels(found: Predictions, bundle: Bundle, index: Index) -> Predictions:
    """Predictions of images of an index with what the index says of them.

    Args:
        found: whose ids are paths of the index.
    """
    number_of = known_classes(bundle, index)
    rows = index.table.set_index("path").loc[list(found.ids)]
    return replace(
        found,
        targets_N=np.array([number_of[label] for label in rows["label"]], np.int64),
        weights_N=rows["weight"].to_numpy(np.float64),
        groups=tuple(rows["group"]),
        folds_N=rows["fold"].to_numpy(np.int64),
        unknown_N=None,
    )


def predict_images(
    bundle: Bundle,
    sources: Sequence[ImageSource],
    *,
    workers: int | None = None,
    on_progress: DoneCallback | None = None,
) -> Predictions:
    """Predictions for images without labels, and whether each is unknown; nothing is cached.

    Args:
        sources: see `image_sources`.
        workers, on_progress: see `embed`.
    """
    embeddings = embed(bundle, sources, use_cache=False, workers=workers, on_progress=on_progress)
    return predict_embeddings(bundle, sources, embeddings)


def predict_embeddings(
    bundle: Bundle, sources: Sequence[ImageSource], embeddings: Embeddings
) -> Predictions:
    """Predictions for images whose embeddings are known, and whether each is unknown."""
    logits_NC = combined_logits(bundle, embeddings)
    N = len(logits_NC)
    return Predictions(
        classes=bundle.classes,
        ids=tuple(sources[position].id for position in embeddings.positions),
        sha256=tuple(embeddings.sha256),
        targets_N=np.full(N, UNLABELLED, np.int64),
        weights_N=np.ones(N),
        groups=("",) * N,
        folds_N=np.full(N, -1, np.int64),
        logits_NC=logits_NC,
        probabilities_NC=softmax(logits_NC, bundle.temperature),
        unknown_N=is_unknown(bundle, embeddings),
        refused=tuple(embeddings.refused),
        warnings=embeddings.warnings,
        bundle_sha256=bundle.sha256,
    )


def image_probabilities(bundle: Bundle, image: Image) -> NDArray[np.float64]:
    """The probabilities (C) of one decoded image."""
    logits_NC = combined_logits(bundle, embed_image(bundle, image))
    return np.asarray(softmax(logits_NC, bundle.temperature)[0])


def concatenated(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of the same classes as one table, in the order of the parts."""

    def stacked(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    arrays = ("targets_N", "weights_N", "folds_N", "logits_NC", "probabilities_NC")
    tuples = ("ids", "sha256", "groups", "refused")
    fields: dict[str, Any] = {name: stacked(name) for name in arrays}
    fields |= {name: sum((getattr(part, name) for part in parts), ()) for name in tuples}
    if parts[0].unknown_N is not None:
        fields["unknown_N"] = stacked("unknown_N")
    warnings = {name: said for part in parts for name, said in part.warnings.items()}
    return replace(parts[0], **fields, warnings=warnings)
