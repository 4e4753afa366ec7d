"""Is an image of no known class told? Five digits are learnt, other things are shown.

    .venv/bin/python benchmarks/unknown.py --output runs/unknown

For each of three choices of five digits of MNIST-5k a run of `efficientnet_lite0` with a linear
head is trained with `unknown: 0.05`, as anybody would. Then its test digits stand against the five
other digits, against ELPV solar cells, and against noise. For both scores: the area under the ROC
curve with its 95 % interval (a bootstrap of both sides), whichever of the two the run chose. For
the chosen one: the share of known test digits that is turned away, which was promised to be at most
5 %, and of the others.

Exits with 1 where more known digits are turned away than a promise kept would let happen once in
forty. The tables go to stdout, all numbers to unknown.json.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binom

import holotype
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.bundle.embedding import embed
from holotype.bundle.image_sources import ImageFile
from holotype.bundle.inference import ood_scores
from holotype.bundle.manifest import OODScore
from holotype.dataset.index import Index, read_index, read_index_file
from holotype.dataset.sources.fetch import fetch
from holotype.evaluation.ood_selection import auroc
from holotype.files import write_json
from holotype.pipeline.training_run.training_options import Resuming

REJECTION = 0.05
KNOWN = ("01234", "56789", "02468")
SCORES: tuple[OODScore, ...] = ("energy", "neighbours")
RESAMPLES = 1000
OTHERS = 500  # solar cells, and images of noise


@dataclass(frozen=True)
class Row:
    """One choice of digits against one kind of other image, by one score."""

    known: str
    others: str
    score: str
    chosen: bool
    auroc: float
    low: float
    high: float
    caught: float | None  # of the others, by the sealed threshold


def digits(folder: Path, per_digit: int) -> Path:
    """MNIST-5k, the first so many of each digit."""
    source = folder / "mnist5k"
    if not source.exists():
        fetch("mnist5k", source)
    index = read_index(source)
    few = folder / f"mnist-{per_digit}"
    for label in index.classes:
        rows = index.table[index.table["label"] == label]["path"].head(per_digit)
        for path in rows:
            link = few / label / Path(path).name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(index.file(path).resolve())
    return few


def noise(folder: Path) -> Path:
    """Images of 28 x 28 grey values drawn at random."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(OTHERS):
        pixels_HW = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels_HW).save(folder / f"{number:03d}.png")
    return folder


def trained(data: Path, known: str, output: Path) -> Path:
    """The run that knows these digits."""
    folder = output / f"known-{known}"
    for digit in known:
        (folder / digit).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / digit).exists():
            (folder / digit).symlink_to((data / digit).resolve())
    run = output / f"run-{known}"
    holotype.train(
        folder, output=run, model="efficientnet_lite0", recipe="linear",
        overrides={"unknown": REJECTION, "references": True}, resuming=Resuming(resume=True),
    )  # fmt: skip
    return run


def scores_of(bundle: Bundle, files: Sequence[ImageFile]) -> dict[OODScore, NDArray[np.float64]]:
    embeddings = embed(bundle, files)
    decision = bundle.manifest.decision
    assert decision is not None
    assert decision.unknown is not None
    neighbours = decision.unknown.neighbours
    return {score: ood_scores(bundle, embeddings, score, neighbours) for score in SCORES}


def files_of(index: Index, most: int | None = None) -> list[ImageFile]:
    table = index.table if most is None else index.table.sample(most, random_state=0)
    pairs = zip(table["path"], table["sha256"], strict=True)
    return [ImageFile(path, index.file(path), sha256) for path, sha256 in pairs]


def interval(known_N: NDArray[np.float64], others_N: NDArray[np.float64]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    areas = [
        auroc(rng.choice(known_N, len(known_N)), rng.choice(others_N, len(others_N)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images-per-digit", type=int, default=500)
    arguments = parser.parse_args()
    output = arguments.output
    data = digits(output, arguments.images_per_digit)
    cells_table = output / "elpv" / "table.csv"
    cells = read_index(cells_table if cells_table.exists() else fetch("elpv", output / "elpv"))
    every_digit = read_index(data)
    noises = sorted(noise(output / "noise").glob("*.png"))
    rows, kept = [], []
    for known in KNOWN:
        run = trained(data, known, output)
        bundle = load_bundle(run)
        decision = bundle.manifest.decision
        assert decision is not None
        unknown = decision.unknown
        assert unknown is not None
        test = scores_of(bundle, files_of(read_index_file(run / "index.parquet").part("test")))
        table = every_digit.table[~every_digit.table["label"].isin(list(known))]
        elsewhere = Index(every_digit.root, table.reset_index(drop=True), every_digit.classes)
        others = {
            "other digits": scores_of(bundle, files_of(elsewhere)),
            "solar cells": scores_of(bundle, files_of(cells, OTHERS)),
            "noise": scores_of(bundle, [ImageFile(path.name, path) for path in noises]),
        }
        turned = int((test[unknown.score] < unknown.threshold).sum())
        count = len(test[unknown.score])
        bound = int(binom.ppf(0.975, count, REJECTION))
        kept.append((known, unknown.score, unknown.num_images, turned, count, bound))
        for what, scores in others.items():
            for score in SCORES:
                is_chosen = score == unknown.score
                caught = float((scores[score] < unknown.threshold).mean()) if is_chosen else None
                area = auroc(test[score], scores[score])
                low, high = interval(test[score], scores[score])
                rows.append(Row(known, what, score, is_chosen, area, low, high, caught))
    print("| known digits | shown | score | chosen | AUROC | 95 % interval | caught |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        caught = "" if row.caught is None else f"{row.caught:.1%}"
        print(
            f"| {row.known} | {row.others} | {row.score} | {'yes' if row.chosen else ''} "
            f"| {row.auroc:.4f} | {row.low:.4f} – {row.high:.4f} | {caught} |"
        )
    print("\n| known digits | score | validation | turned away | of test digits | share | bound |")
    print("|---|---|---|---|---|---|---|")
    for known, score, fitted, turned, count, bound in kept:
        share = turned / count
        print(f"| {known} | {score} | {fitted} | {turned} | {count} | {share:.1%} | {bound} |")
    names = ("known", "score", "num_images", "turned", "count", "bound")
    promises = [dict(zip(names, each, strict=True)) for each in kept]
    write_json(output / "unknown.json", {"areas": [asdict(row) for row in rows], "kept": promises})
    return 0 if all(turned <= bound for *_, turned, _, bound in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
