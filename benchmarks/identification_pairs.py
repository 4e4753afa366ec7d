"""Cells photographed twice, as queries among all other solar cells: frozen, learnt and fused.

    .venv/bin/python benchmarks/identification_pairs.py --output runs/pairs
    .venv/bin/python benchmarks/identification_pairs.py --output runs/pairs \\
        --classifier other=runs/cells

One module of ELPV was photographed twice, the second time out of focus; `reviewed_pairs.csv` has
the pairs that were checked by eye. Every image of a pair is a query; the gallery is all other
images, in which its partner is one of 2,623. The pair rule is fitted on the queries of other pairs
(five folds). The audit finds some of these pairs by registration, which the fusion uses too, so
they are told apart from the others: on them fusion is flattered. Intervals are by pair, and
differences are paired by query.

- `frozen`: the embedding of `--recipe linear`, pretrained weights, never trained on cells.
- `whitened`, `learnt`: the two stages of `--recipe identify` on cells of no pair. Each of them is
  an individual of four images: itself and three that are made of it, out of focus, darker or
  lighter and shifted. No image of a pair, and so none of their cells, is seen by either.

The matching was designed on these very pairs (docs/log.md): what is printed of the fusion is a fit,
not a test. That second images are out of focus was known when the copies were chosen.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageFilter

import holotype
from holotype.bundle.image_sources import ImageFile
from holotype.comparison.retrieval.paired_difference import paired_difference
from holotype.dataset.audit_fingerprints import compute_fingerprints
from holotype.dataset.index import read_index
from holotype.dataset.near_duplicates.search import find_near_duplicates
from holotype.evaluation.intervals import SamplingUnits, proportion
from holotype.identification.matching.gallery_calibration import fit_calibration
from holotype.identification.matching.rank_individuals import rank_individuals
from holotype.identification.storage.embed_images import embed_images
from holotype.identification.storage.gallery_images import GalleryImage, GalleryImages, ImageBlock
from holotype.progress import to_stderr

FOLDS, COPIES = 5, 3
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
    parser.add_argument("--cells", type=int, default=600, help="of no pair, to learn from")
    parser.add_argument("--classifier", action="append", default=[], metavar="NAME=RUN")
    options = parser.parse_args()
    table = options.output / "cells" / "table.csv"
    if not table.exists():
        holotype.fetch("elpv", output=table.parent)
    pairs = reviewed_pairs()
    named = dict(one.split("=", 1) for one in options.classifier)
    if not named:
        frozen, learnt = options.output / "frozen", options.output / "learnt"
        if not (frozen / "bundle").exists():
            holotype.train(table, output=frozen, recipe="linear")
        if not (learnt / "bundle").exists():
            copies = made_copies(table, pairs, options.cells, options.output / "copies")
            holotype.train(copies, output=learnt, recipe="identify", ratios=(0.75, 0.25, 0))
        whitened = learnt / "stages" / "whitening"
        named = {"frozen": str(frozen), "whitened": str(whitened), "learnt": str(learnt)}
    found_by_audit = audited_pairs(table)
    print("| embedding | pairs | cosine, rank 1 | cosine, rank 8 | fusion, rank 1 |")
    print("|---|---|---|---|---|")
    hits = {
        name: report(name, embedded(table, pairs, classifier), pairs, found_by_audit)
        for name, classifier in named.items()
    }
    if len(hits) > 1:
        first, *others = hits
        pair_of_query = [str(number) for number in np.repeat(np.arange(len(pairs)), 2)]
        for name in others:
            cells = [
                str(paired_difference(own_Q, there_Q, pair_of_query))
                for own_Q, there_Q in zip(hits[name], hits[first], strict=True)
            ]
            print(f"| {name} - {first} | {len(pairs)} | " + " | ".join(cells) + " |")


def made_copies(table: Path, pairs: list[tuple[str, str]], cells: int, folder: Path) -> Path:
    """A table of cells of no pair, each with three images that are made of it."""
    in_pairs = {name for pair in pairs for name in pair}
    files = [file for file in image_files(table) if file.name not in in_pairs]
    rng = np.random.default_rng(0)
    chosen = sorted(files[row] for row in rng.permutation(len(files))[:cells])
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label"]
    for file in chosen:
        lines.append(f"{file},{file.stem}")
        with PillowImage.open(file) as opened:
            image = opened.convert("L")
        for number in range(COPIES):
            blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
            pixels = np.asarray(blurred, np.float64) * rng.uniform(0.8, 1.2)
            down, right = rng.integers(-6, 7, 2)
            height, width = pixels.shape
            framed = np.pad(pixels, 6, mode="reflect")
            shifted = framed[6 + down : 6 + down + height, 6 + right : 6 + right + width]
            copy = folder.absolute() / f"{file.stem}-{number}.png"
            PillowImage.fromarray(shifted.clip(0, 255).astype(np.uint8)).save(copy)
            lines.append(f"{copy},{file.stem}")
    listed = folder / "table.csv"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed


def image_files(table: Path) -> list[Path]:
    """The images of a table, in its order."""
    with table.open(newline="", encoding="utf-8") as file:
        return [(table.parent / row["path"]).absolute() for row in csv.DictReader(file)]


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
    for path in image_files(table):
        image = GalleryImage(pair_of.get(path.name, path.name), path.name, "", encounter=path.name)
        listed.append((image, ImageFile(path.name, path)))
    return embed_images(holotype.load(classifier).bundle, listed, to_stderr()).block


def report(
    name: str,
    block: ImageBlock,
    pairs: list[tuple[str, str]],
    found_by_audit: set[frozenset[str]],
) -> list[NDArray[np.float64]]:
    """Print its rows; whether each query was right, by each of the three columns."""
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
    hits = [
        hit_Q.astype(np.float64)
        for hit_Q in (cosine_rank_Q == 1, cosine_rank_Q <= 8, fused_rank_Q == 1)
    ]
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
        cells = [str(proportion(hit_Q[chosen_Q] == 1, ones, units)) for hit_Q in hits]
        print(f"| {name}, {what} | {len(set(pair_Q[chosen_Q]))} | " + " | ".join(cells) + " |")
    return hits


if __name__ == "__main__":
    main()
