"""Learnt against frozen embeddings on individuals that training never saw, and new individuals.

    .venv/bin/python benchmarks/identification.py --seeds 0 1 2 3 4 --output runs/identification

`micro-ct`: specimens are individuals; two thirds of those of every species train, the others are
judged. Queries and gallery are slices of the same held-out specimens, without those of the query's
own quarter of the specimen: neighbouring slices are near copies. `mnist`: the digits 0 to 4 are
learnt; of 5 to 9 three are enrolled and two are new, drawn anew in each of 20 splits, and the
threshold is fitted to the gallery alone, each image against the others. The rate at which known
digits are called new is held against three bounds: of all splits together that of a binomial count;
of each split that of a beta-binomial one, since its threshold is fitted to 300 images and so has
itself a rate with a spread of 1.3 points; and an interval with digits as the sampling units. Writes
`identification.json` into the output and the tables to stdout.

Nothing was chosen on the seeds 0 to 4; what was tried, on seeds from 100, is in docs/log.md.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom, binom

import holotype
from holotype.comparison.retrieval.paired_difference import paired_difference
from holotype.comparison.retrieval.ranking_metrics import rank_queries, ranking_metrics
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct
from holotype.evaluation.intervals import SamplingUnits, proportion
from holotype.identification.metrics.open_set_metrics import open_set_accuracy, open_set_roc
from holotype.identification.new_individual import threshold_for_new

SPECIMENS, SLICES, SIZE, QUARTERS = 9, 24, 64, 4
NUM_SPLITS, ENROLLED, GALLERY_IMAGES, RATE = 20, 3, 100, 0.05


def micro_ct(folder: Path, seed: int) -> pd.DataFrame:
    """path, label (the specimen), group (a quarter of it), seen: whether it trains."""
    if not (folder / "table.csv").is_file():
        make_micro_ct(folder, specimens=SPECIMENS, slices=SLICES, size=SIZE, seed=seed)
    table = pd.read_csv(folder / "table.csv", dtype=str)
    specimen = table["label"] + " " + table["path"].map(lambda path: Path(path).parent.name)
    z = table["path"].str.extract(r"z-(\d+)")[0].astype(int)
    number = table["path"].str.extract(r"specimen-(\d+)")[0].astype(int)
    return pd.DataFrame(
        {
            "path": [str(folder.absolute() / path) for path in table["path"]],
            "label": specimen,
            "group": specimen + " " + (z * QUARTERS // SLICES).astype(str),
            "seen": (number % 3) < 2,
        }
    )


def learn(table: pd.DataFrame, output: Path, settings: Sequence[str]) -> Path:
    """The run of `identify` on a table; one that is finished is taken as it is."""
    if not (output / "report" / "index.html").is_file():
        holotype.train(
            table, output=output, recipe="identify", ratios=(0.75, 0.25, 0), image_size=SIZE,
            overrides=list(settings), resuming=holotype.Resuming(resume=True),
        )  # fmt: skip
    return output


def judged_ct(seed: int, output: Path, settings: Sequence[str]) -> dict[str, Any]:
    table = micro_ct(output / f"micro-ct-{seed}", seed)
    seen, unseen = table[table["seen"]], table[~table["seen"]]
    assert not set(seen["label"]) & set(unseen["label"])
    run = learn(seen[["path", "label", "group"]], output / f"run-ct-{seed}", settings)
    names, quarters_N = list(unseen["label"]), np.array(unseen["group"])
    excluded_NN = quarters_N[:, None] == quarters_N
    result: dict[str, Any] = {"seed": seed, "individuals": len(set(names)), "images": len(names)}
    precision: dict[str, NDArray[np.float64]] = {}
    first: dict[str, NDArray[np.float64]] = {}
    for name, path in (("frozen", run / "stages" / "whitening"), ("learnt", run)):
        embedded_NE = holotype.load(path).embed(list(unseen["path"])).astype(np.float64)
        ranked = rank_queries(embedded_NE @ embedded_NE.T, names, names, excluded_NN)
        scores = ranking_metrics(ranked, names)
        precision[name] = ranked.average_precision_Q
        first[name] = np.where(ranked.answerable_Q, ranked.first_match_Q == 1, np.nan)
        result[name] = {
            "mAP": scores.mean_average_precision.to_json(),
            **{f"rank-{k}": one.to_json() for k, one in scores.rank.items()},
        }
    for metric, values in (("mAP", precision), ("rank-1", first)):
        margin = paired_difference(values["learnt"], values["frozen"], names)
        result[f"margin of {metric}"] = [margin.value, margin.low, margin.high]
    return result


def mnist(output: Path) -> pd.DataFrame:
    folder = output / "mnist5k"
    if not folder.is_dir():
        holotype.fetch("mnist5k", output=folder)
    files = sorted(folder.rglob("*.png"))
    return pd.DataFrame({"path": [str(f.absolute()) for f in files],
                         "label": [f.parent.name for f in files]})  # fmt: skip


def judged_mnist(output: Path, first_split: int, settings: Sequence[str]) -> dict[str, Any]:
    table = mnist(output)
    learnt = table[table["label"].isin(list("01234"))].reset_index(drop=True)
    run = learn(learnt, output / "run-mnist", settings)
    held_out = table[table["label"].isin(list("56789"))].reset_index(drop=True)
    embedded_NE = holotype.load(run).embed(list(held_out["path"])).astype(np.float64)
    digits_N = np.array(held_out["label"])
    rows = [_one_split(embedded_NE, digits_N, first_split + number) for number in range(NUM_SPLITS)]
    return {"splits": rows, **rate_over_splits(rows)}


def rate_over_splits(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How often known digits were called new, and what a stated rate allows.

    `by digit` is the mean over the digits with a t-interval: images of one digit are alike, and of
    five of them three are enrolled in every split, so that splits are no independent trials.
    """
    new, queries = sum(row["called new"] for row in rows), sum(row["queries"] for row in rows)
    digits = sorted({digit for row in rows for digit in row["by digit"]})
    counts = np.array([[row["by digit"].get(d, (0, 0)) for d in digits] for row in rows]).sum(0)
    called_N, of_N = np.repeat(1.0, new), np.repeat(0.0, queries - new)
    names = [d for d, (one, _) in zip(digits, counts, strict=True) for _ in range(one)]
    names += [d for d, (one, all_) in zip(digits, counts, strict=True) for _ in range(all_ - one)]
    by_digit = proportion(
        np.concatenate([called_N, of_N]), np.ones(queries), SamplingUnits.of_groups(names)
    )
    over = sum(row["rate"] > row["bound of the rate"] for row in rows)
    return {
        "called new": new, "queries": queries, "rate": new / queries,
        "binomial bound of all": int(binom.ppf(0.95, queries, RATE)),
        "splits over their bound": over,
        "so many allowed": int(binom.ppf(0.95, len(rows), 0.05)),
        "rate of each digit": {
            digit: int(one) / int(of) for digit, (one, of) in zip(digits, counts, strict=True)
        },
        "by digit": by_digit.to_json(),
    }  # fmt: skip


def _one_split(
    embedded_NE: NDArray[np.float64], digits_N: NDArray[np.str_], seed: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    known = sorted(rng.choice(np.unique(digits_N), ENROLLED, replace=False).tolist())
    gallery = np.concatenate(
        [rng.permutation(np.flatnonzero(digits_N == d))[:GALLERY_IMAGES] for d in known]
    )
    queries = np.setdiff1d(np.arange(len(digits_N)), gallery)
    among = embedded_NE[gallery] @ embedded_NE[gallery].T
    np.fill_diagonal(among, -np.inf)
    fitted = threshold_for_new(among.max(axis=1), digits_N[gallery].tolist(), RATE)
    similarity = embedded_NE[queries] @ embedded_NE[gallery].T
    best_Q, truth = similarity.max(axis=1), digits_N[queries].tolist()
    named = digits_N[gallery][similarity.argmax(axis=1)]
    known_Q = np.isin(truth, known)
    called_new_Q = best_Q < fitted.threshold
    predicted = [None if new else str(n) for new, n in zip(called_new_Q, named, strict=True)]
    accuracy = open_set_accuracy(predicted, truth, known)
    roc = open_set_roc(best_Q, named == truth, known_Q, truth)
    # Of n further queries, how many are called new by a threshold fitted to N: beta-binomial.
    k, N = int(np.floor(RATE * (len(gallery) + 1))), len(gallery)
    count = int(called_new_Q[known_Q].sum())
    bound = betabinom.ppf(0.95, known_Q.sum(), k, N + 1 - k)
    digit_Q = np.array(truth)
    by_digit = {
        digit: (int(called_new_Q[digit_Q == digit].sum()), int((digit_Q == digit).sum()))
        for digit in known
    }
    return {
        "seed": seed, "enrolled": known, "queries": int(known_Q.sum()), "called new": count,
        "rate": count / int(known_Q.sum()), "by digit": by_digit,
        "bound of the rate": float(bound) / int(known_Q.sum()),
        "BAKS": accuracy.known.value, "BAUS": accuracy.unknown.value,
        "AUROC": roc.area_known_unknown.value,
    }  # fmt: skip


def _text(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, default=Path("runs/identification"))
    parser.add_argument("--set", nargs="*", default=[], help="keys of the recipe")
    parser.add_argument("--only", choices=["micro-ct", "mnist"])
    parser.add_argument("--first-split", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    if options.only != "mnist":
        found["micro-ct"] = [judged_ct(seed, options.output, options.set) for seed in options.seeds]
        for row in found["micro-ct"]:
            print(f"seed {row['seed']}: {row['individuals']} individuals, {row['images']} images")
            for name in ("frozen", "learnt"):
                print(f"  {name}", ", ".join(f"{k} {_text(v)}" for k, v in row[name].items()))
            for key in ("margin of mAP", "margin of rank-1"):
                print(f"  {key} {row[key][0]:+.3f} [{row[key][1]:+.3f}, {row[key][2]:+.3f}]")
    if options.only != "micro-ct":
        found["mnist"] = judged_mnist(options.output, options.first_split, options.set)
        for row in found["mnist"]["splits"]:
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
        print({k: v for k, v in found["mnist"].items() if k != "splits"})
    (options.output / "identification.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
