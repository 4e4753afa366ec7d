"""Cells photographed twice, as queries among all other solar cells: rank-1 by cosine and by fusion.

    .venv/bin/python benchmarks/identification_pairs.py --output runs/pairs
    .venv/bin/python benchmarks/identification_pairs.py --output runs/pairs \\
        --classifier learnt=runs/cells

One module of ELPV was photographed twice, the second time out of focus; `reviewed_pairs.csv` has
the pairs that were checked by eye. Every image of a pair is a query; the gallery is all other
images, in which its partner is one of 2,623. The pair rule is fitted on the queries of other pairs
(five folds). The audit finds some of these pairs by registration, which the fusion uses too, so
they are told apart from the others: on them fusion is flattered. Intervals are by pair.

The matching was designed on these very pairs (docs/log.md): what is printed is a fit, not a test.

Without --classifier the frozen embedding is that of `--recipe linear`: pretrained weights.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import holotype
from holotype.bundle.image_sources import ImageFile
from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates.search import find_near_duplicates
from holotype.evaluation.intervals import SamplingUnits, proportion
from holotype.identification.matching.gallery_calibration import fit_calibration
from holotype.identification.matching.rank_individuals import rank_individuals
from holotype.identification.storage.embed_images import embed_images
from holotype.identification.storage.gallery_images import GalleryImage, GalleryImages, ImageBlock
from holotype.progress import to_stderr

FOLDS = 5
REVIEWED = Path(__file__).parent / "reviewed_pairs.csv"


def reviewed_pairs() -> list[tuple[str, str]]:
    """The pairs of one cell, by the names of their files."""
    with REVIEWED.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == "elpv"]
    members = [row["members"].split() for row in rows if row["verdict"] == "same"]
    return [(first, second) for first, second in members]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--classifier", action="append", default=[], metavar="NAME=RUN")
    options = parser.parse_args()
    table = options.output / "cells" / "table.csv"
    if not table.exists():
        holotype.fetch("elpv", output=table.parent)
    named = dict(one.split("=", 1) for one in options.classifier)
    if not named:
        run = options.output / "frozen"
        if not (run / "bundle").exists():
            holotype.train(table, output=run, recipe="linear")
        named = {"frozen": str(run)}
    pairs = reviewed_pairs()
    found_by_audit = audited_pairs(table)
    for name, classifier in named.items():
        report(name, embedded(table, pairs, classifier), pairs, found_by_audit)


def audited_pairs(table: Path) -> set[frozenset[str]]:
    """The pairs that the audit finds without labels."""
    index = read_index(table)
    found = find_near_duplicates(compute_fingerprints(index), index)
    return {frozenset(map(file_name, (one.first, one.second))) for one in found.pairs}


def file_name(path: str) -> str:
    return path.rpartition("/")[2]


def embedded(table: Path, pairs: list[tuple[str, str]], classifier: str) -> ImageBlock:
    """All cells; the individual is the pair, or the cell itself."""
    pair_of = {name: f"pair {n:02d}" for n, pair in enumerate(pairs) for name in pair}
    listed = []
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = (
                Path(row["path"]) if Path(row["path"]).is_absolute() else table.parent / row["path"]
            )
            name = file_name(row["path"])
            image = GalleryImage(pair_of.get(name, name), name, "", encounter=name)
            listed.append((image, ImageFile(name, path)))
    return embed_images(holotype.load(classifier).bundle, listed, to_stderr()).block


def report(
    name: str,
    block: ImageBlock,
    pairs: list[tuple[str, str]],
    found_by_audit: set[frozenset[str]],
) -> None:
    gallery = GalleryImages((block,))
    row_of = {image.file: row for row, image in enumerate(block.images)}
    rows = [row_of[image] for pair in pairs for image in pair]
    pair_Q = np.repeat(np.arange(len(pairs)), 2)
    hidden = [np.arange(len(block)) == row for row in rows]
    ranked = list(rank_individuals(block, [[row] for row in rows], gallery, hidden_N=hidden))
    by_cosine = rank_individuals(
        block, [[row] for row in rows], gallery, hidden_N=hidden, register=False
    )
    cosine_QI = np.stack([one.pairs[0].measures_IF[:, 0] for one in by_cosine])
    own_Q = gallery.individual_N[rows]
    cosine_rank_Q, fused_rank_Q = np.empty(len(rows)), np.empty(len(rows))
    for fold in range(FOLDS):
        others = np.flatnonzero(pair_Q % FOLDS != fold)
        rule = fit_calibration(gallery, [ranked[q] for q in others], own_Q[others]).rule
        assert rule.is_fitted
        for q in np.flatnonzero(pair_Q % FOLDS == fold):
            score_I = ranked[q].scores(rule)
            cosine_I = np.nan_to_num(cosine_QI[q], nan=-np.inf)
            fused_rank_Q[q] = 1 + (score_I > score_I[own_Q[q]]).sum()
            cosine_rank_Q[q] = 1 + (cosine_I > cosine_I[own_Q[q]]).sum()
    audited_Q = np.array([frozenset(pairs[p]) in found_by_audit for p in pair_Q])
    for what, chosen_Q in (
        ("all pairs", np.ones(len(rows), bool)),
        ("found by the audit", audited_Q),
        ("others", ~audited_Q),
    ):
        if not chosen_Q.any():
            continue
        units = SamplingUnits.of_groups([str(p) for p in pair_Q[chosen_Q]])
        ones = np.ones(int(chosen_Q.sum()))
        cells = [
            str(proportion(hit_Q[chosen_Q], ones, units))
            for hit_Q in (cosine_rank_Q == 1, cosine_rank_Q <= 8, fused_rank_Q == 1)
        ]
        print(f"| {name}, {what} | {len(set(pair_Q[chosen_Q]))} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    print("| embedding | pairs | cosine, rank 1 | cosine, rank 8 | fusion, rank 1 |")
    print("|---|---|---|---|---|")
    main()
