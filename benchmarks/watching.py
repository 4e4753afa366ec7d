"""What does `holotype watch` keep? Quiet years, planted changes, estimated accuracy.

    .venv/bin/python benchmarks/watching.py --output runs/watching [--years 200] [--runs 50]

Two classifiers are trained (`watching_images.py`): ELPV solar cells and MNIST digits without the 9.
Then everything is simulated on what they said of held-out images. Exits with 1 where less was seen
than is aimed at: 5 % of quiet years with an alarm, 9 of 10 changes found, 8 of 10 named rightly, 9
of 10 intervals right. Names of an unseen digit and intervals on ELPV are not; docs/watching.md has
what was seen. The tables go to stdout, all numbers to watching.json.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from watching_changes import (
    KINDS,
    accuracy_under_reweighting,
    changes_found,
    declines_under_novelty,
)
from watching_images import prepared
from watching_quiet import image_table, quiet_years

from holotype.files import write_json
from holotype.watching.diagnosis.two_sample_tests import principal_components

DATASETS = ("elpv", "digits")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/watching"))
    parser.add_argument("--years", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--alike", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--dataset", choices=DATASETS, nargs="+", default=DATASETS)
    parser.add_argument("--only", choices=("quiet", "changes", "accuracy"))
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    kept = True
    for dataset in arguments.dataset:
        arrays = prepared(arguments.output, dataset)
        tables = {name: image_table(each) for name, each in arrays.items()}
        reference = int(arrays["none"]["is_val"].sum())
        if arguments.only in (None, "quiet"):
            for alike in arguments.alike:
                years = quiet_years(
                    tables["none"], reference, range(arguments.years), alike, arguments.seed
                )
                print(
                    f"{dataset}, {alike} alike: {years.with_alarm} of {years.years} quiet years "
                    f"with an alarm; {years.with_alarm_by_window} by a test of each window",
                    flush=True,
                )
                results[f"{dataset} quiet {alike}"] = asdict(years)
                kept &= years.with_alarm <= 0.05 * years.years
        if arguments.only in (None, "changes"):
            for change in [name for name in tables if name != "none"] + ["class triples"]:
                found = changes_found(tables, change, arguments.runs, arguments.seed)
                kind = KINDS.get(change, "input")
                print(
                    f"{dataset}, {change}: found {found.share_found:.0%} {found.within}, named "
                    f"{kind} {found.share_named(kind):.0%} {dict(found.named)} by "
                    f"{dict(found.looks)} windows, at the alarm {dict(found.first_named)}, ended "
                    f"{found.cleared}, accuracy declined {found.declined}, alarms before "
                    f"{found.early} of {found.runs}",
                    flush=True,
                )
                results[f"{dataset} {change}"] = vars(found)
                kept &= found.share_found >= 0.9 and found.share_named(kind) >= 0.8
        if arguments.only in (None, "accuracy"):
            kept &= _accuracy(dataset, tables, arguments, results)
    write_json(arguments.output / "watching.json", results)
    return 0 if kept else 1


def _accuracy(
    dataset: str, tables: dict[str, Any], arguments: argparse.Namespace, results: dict[str, Any]
) -> bool:
    images = tables["none"]
    (components,) = principal_components(images.embeddings_ND, images.embeddings_ND)
    features = {f"direction {n + 1}": components[:, n] for n in (0, 1, 4)}
    features["brightness"] = images.facts["brightness"]
    kept = True
    for repeated in (False, True):
        answered, covered = 0, 0
        drawn = "600 with repetition" if repeated else "each once"
        for name, feature_N in features.items():
            found = accuracy_under_reweighting(
                tables, feature_N, arguments.runs, arguments.seed, repeated=repeated
            )
            width = float(np.mean(found.widths)) if found.widths else float("nan")
            print(
                f"{dataset}, more images along {name}, {drawn}: {found.answered} of {found.runs} "
                f"answered; {found.covered} held the window's accuracy, {found.covered_source} "
                f"that of its source; mean width {width:.3f}",
                flush=True,
            )
            results[f"{dataset} accuracy {name}, {drawn}"] = {
                **asdict(found), "widths": None, "width": width,
            }  # fmt: skip
            answered += found.answered
            covered += found.covered_source if repeated else found.covered
        kept &= covered >= 0.9 * answered > 0
        print(f"{dataset}, {drawn}: {covered} of {answered} right", flush=True)
    if "unseen" in tables:
        declined = declines_under_novelty(tables, arguments.runs, arguments.seed)
        print(f"{dataset}, unseen at 20 %: {declined} of {arguments.runs} declined")
        results[f"{dataset} accuracy unseen"] = declined
        kept &= declined >= 0.9 * arguments.runs
    return kept


if __name__ == "__main__":
    sys.exit(main())
