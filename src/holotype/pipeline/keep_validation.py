"""Keep the images of validation in the bundle, as `holotype watch` compares with them."""

from dataclasses import replace

import numpy as np

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import embed_index, is_unknown
from holotype.bundle.validation.validation_images import WATCH_REFERENCE, ValidationImages
from holotype.dataset.image_facts import facts_of_files
from holotype.dataset.index import Index
from holotype.predictions import Predictions


def with_validation_images(
    bundle: Bundle, index: Index, predictions: Predictions, *, with_embeddings: bool
) -> Bundle:
    """The bundle with what it says of the images of validation, and what they are like.

    Args:
        bundle: sealed.
        predictions: of them, by this bundle.
    """
    validation = index.part("val")
    answered = validation.table["path"].isin(predictions.ids)
    validation = replace(validation, table=validation.table[answered].reset_index(drop=True))
    found = embed_index(bundle, validation)  # from the cache
    paths = validation.table["path"].iloc[found.positions].tolist()
    row_of = {name: row for row, name in enumerate(predictions.ids)}
    rows = np.array([row_of[path] for path in paths], np.int64)
    facts, formats = facts_of_files(
        [validation.file(path) for path in paths],
        preprocessing=bundle.preprocessing,
    )
    unknown_N = is_unknown(bundle, found)
    groups = [predictions.groups[row] or f"image {row}" for row in rows.tolist()]
    embeddings_ND = found.embeddings_ND if with_embeddings else found.embeddings_ND[:, :0]
    images = ValidationImages(
        probabilities_NC=predictions.probabilities_NC[rows],
        embeddings_ND=embeddings_ND.astype(np.float16),
        unknown_N=np.full(len(rows), np.nan) if unknown_N is None else unknown_N.astype(np.float64),
        targets_N=predictions.targets_N[rows],
        groups_N=np.unique(groups, return_inverse=True)[1].astype(np.int64),
        formats=tuple(formats),
        facts=facts,
    )
    return bundle.with_extra(WATCH_REFERENCE, images.to_bytes(), bundle.manifest)
