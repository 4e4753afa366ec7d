"""Runs of `identify` compared as what they are for: finding images of the same individual."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import embed_index
from holotype.comparison.retrieval.search_comparison import (
    SearchComparison,
    SearchedImages,
    compare_searches,
)
from holotype.dataset.index import Index, read_index_file
from holotype.errors import InvalidRecipe
from holotype.pipeline.compared.compared_runs import LoadedRun
from holotype.progress import Progress
from holotype.run_directory import RunDirectory
from holotype.training.config.resolve import read_fields
from holotype.training.metric_learning.encounters import encounter_numbers

MAX_QUERIES = 2000  # of more, so many are searched with, evenly spread


def search_with(
    found: Sequence[LoadedRun], progress: Progress
) -> tuple[SearchComparison | None, list[str]]:
    """Searches with the embeddings of runs, where any was trained for them; and notes.

    Images of individuals that no run trained on find each other, where all runs held out the same
    ones; else images of test search among those of training and test. Images of one encounter do
    not find each other.
    """
    if not any(_embeds_individuals(run) for run in found):
        return None, []
    asked = [
        (run.candidate.name, run.candidate.path, run.bundle, run.index)
        for run in found
        if run.bundle is not None and run.index is not None and not run.bundle.members
    ]
    if not asked:
        return None, []
    names, bundles = [name for name, *_ in asked], [bundle for _, _, bundle, _ in asked]
    kept = [RunDirectory(path).root_run.unseen for _, path, _, _ in asked]
    tables = [read_index_file(file) if file.is_file() else None for file in kept]
    unseen = [one for one in tables if one is not None]
    if len(unseen) == len(asked) and _are_same(unseen):
        index, what = unseen[0], "individuals that did not train"
        is_query_N = np.ones(len(index), bool)
    else:
        parts = [index.part("test") for *_, index in asked]
        if not len(parts[0]) or not _are_same(parts):
            note = "Nothing is searched for: the runs held out no images that are the same."
            return None, [note]
        whole, what = asked[0][3], "training and test, with images of test"
        table = whole.table[whole.table["split"].isin(["train", "test"])].reset_index(drop=True)
        index, is_query_N = replace(whole, table=table), (table["split"] == "test").to_numpy()
    return _searched(dict(zip(names, bundles, strict=True)), index, is_query_N, what, progress)


def _searched(
    bundles: dict[str, Bundle],
    index: Index,
    is_query_N: NDArray[np.bool_],
    what: str,
    progress: Progress,
) -> tuple[SearchComparison | None, list[str]]:
    queries = np.flatnonzero(is_query_N)
    is_query_N = np.zeros(len(index), bool)
    is_query_N[queries[:: -(-len(queries) // MAX_QUERIES)]] = True
    embedded = {}
    for name, bundle in bundles.items():
        with progress.bar(f"embedding with {name}") as update:
            embedded[name] = embed_index(
                bundle, index, on_progress=lambda done: update(done, len(index))
            )
    shared = set.intersection(*(set(one.positions) for one in embedded.values()))
    rows = np.array(sorted(shared), np.int64)
    if not is_query_N[rows].any():
        return None, ["Nothing is searched for: the images are not where the runs had them."]
    images = SearchedImages(
        tuple(index.table["label"].iloc[rows]), encounter_numbers(index)[rows], is_query_N[rows]
    )
    found = compare_searches(
        {
            name: one.embeddings_ND[np.searchsorted(one.positions, rows)]
            for name, one in embedded.items()
        },
        images,
        what,
    )
    if found is None:
        return None, ["Nothing is searched for: no image has another of its individual."]
    return found, []


def _embeds_individuals(run: LoadedRun) -> bool:
    """Whether its recipe has an embedding as its head."""
    try:
        head = read_fields(str(RunDirectory(run.candidate.path).recipe)).get("head")
    except InvalidRecipe:  # of an ensemble
        return False
    return isinstance(head, dict) and head.get("embedding") is not None


def _are_same(indexes: Sequence[Index]) -> bool:
    first, *others = (set(zip(one.table["sha256"], one.table["label"], strict=True))
                      for one in indexes)  # fmt: skip
    return all(one == first for one in others)
