"""Planted defects on real images: what the audit finds of them, and what cleanvision finds.

    .venv/bin/python benchmarks/planted.py --set elpv --seed 1
    .venv/bin/python benchmarks/planted.py --set mnist5k --seed 1 --labels

A given split (train and test folders) holds the images of the set and, planted beside them:
near-duplicates of 3 % of the images by each kind of change (`planted_changes.py`), in the split of
their originals; as many of mixed kinds ("leak"), and as many equal files, in the other split;
damaged files, 1 % of each kind; and 2 % of the images in the folder of another class. Both
programs get the same folder.

Recall counts a copy as found if it is in one cluster with its original. Precision counts reported
pairs; pairs of two images of the set itself are printed separately, since the sets hold copies of
their own (`reviewed_pairs.csv`). Intervals are Wilson's, 95 %.
"""

import argparse
import contextlib
import io
import itertools
import logging
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from planted_changes import REPORTED, ROUGH, TUNING, changes

from holotype.dataset.auditing.audit_without_network import audit
from holotype.dataset.index import read_index
from holotype.dataset.sources.fetch import fetch
from holotype.evaluation.intervals import wilson

SHARE_OF_COPIES, SHARE_OF_DAMAGES, SHARE_OF_WRONG_LABELS = 0.03, 0.01, 0.02
STRENGTHS = {"reported": REPORTED, "tuning": TUNING, "rough": ROUGH}
_EQUAL = "leak of an equal file"
SMALLEST_WITH_TEXT = 64  # pixels; eight-pixel letters cover a smaller image


@dataclass
class Planted:
    """What was planted, by path below the folder; an image and its copies are a family."""

    name: str
    folder: Path
    number_of: dict[str, int] = field(default_factory=dict)  # by the name of the file in the set
    family: dict[str, int] = field(default_factory=dict)
    copies: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    damaged: dict[str, set[str]] = field(default_factory=dict)
    wrong_labels: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)  # images of the set itself


def damages(file: bytes, rng: np.random.Generator) -> dict[str, bytes]:
    """The same file, damaged in several ways."""
    flipped = bytearray(file)
    for position in rng.integers(0, 33, 4):  # signature and IHDR of a PNG
        flipped[position] ^= 1 << int(rng.integers(8))
    return {
        "truncated": file[: len(file) // 2],
        "empty": b"",
        "zero bytes": bytes(len(file)),
        "html": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "flipped header": bytes(flipped),
        "cut after the header": file[:40],
    }


def plant(name: str, seed: int, strengths: str, folder: Path, limit: int | None) -> Planted:
    """Write the folder, all random choices drawn from the seed."""
    rng = np.random.default_rng([seed, len(name)])
    own = {"seed": 100 + seed} if name == "micro-ct" else {}
    index = read_index(fetch(name, folder.parent / "source", **own))
    rows = list(zip(index.table["path"], index.table["label"], strict=True))
    if limit:
        rows = [rows[k] for k in sorted(rng.permutation(len(rows))[:limit])]
    classes = sorted({label for _, label in rows})
    done = Planted(name, folder)
    done.number_of = {Path(path).name: number for number, (path, _) in enumerate(rows)}
    part_of = np.where(rng.random(len(rows)) < 0.25, "test", "train")
    wrong = set(rng.permutation(len(rows))[: round(SHARE_OF_WRONG_LABELS * len(rows))].tolist())
    places = []
    for number, (path, label) in enumerate(rows):
        if number in wrong:
            label = str(rng.choice([other for other in classes if other != label]))
        place = f"{part_of[number]}/{label}/{number:05d}.png"
        _write(folder / place, (index.root / path).read_bytes())
        done.family[place] = number
        if number in wrong:
            done.wrong_labels.add(place)
        places.append(place)
    done.own = set(places)
    todo = changes(STRENGTHS[strengths])
    kinds = list(todo)
    if min(Image.open(folder / places[0]).size) < SMALLEST_WITH_TEXT:
        kinds.remove("text")
    for kind in [*kinds, "leak", _EQUAL]:
        for number in rng.permutation(len(rows))[: round(SHARE_OF_COPIES * len(rows))].tolist():
            part, label, file = places[number].split("/")
            if kind in ("leak", _EQUAL):
                part = "train" if part == "test" else "test"
            copy = f"{part}/{label}/{file[:-4]} {kind}.png"
            if kind == _EQUAL:
                _write(folder / copy, (folder / places[number]).read_bytes())
            else:
                change = todo[kinds[number % len(kinds)] if kind == "leak" else kind]
                changed = change(Image.open(folder / places[number]), rng)
                stream = io.BytesIO()
                changed.save(stream, "PNG", compress_level=1)
                _write(folder / copy, stream.getvalue())
            done.family[copy] = number
            done.copies.setdefault(kind, []).append((places[number], copy))
    for number in rng.permutation(len(rows))[: round(SHARE_OF_DAMAGES * len(rows))].tolist():
        for kind, file in damages((folder / places[number]).read_bytes(), rng).items():
            part, label, _ = places[number].split("/")
            path = (
                f"{part}/{label}/damaged {number:05d} {kind}.{'jpg' if kind == 'html' else 'png'}"
            )
            _write(folder / path, file)
            done.damaged.setdefault(kind, set()).add(path)
    return done


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@dataclass
class ProgramReport:
    """What a program reported of the folder."""

    program: str
    seconds: float
    cpu_seconds: float  # of all its threads and processes
    pairs: set[frozenset[str]]  # reported as copies, one by one
    clusters: list[frozenset[str]]
    unreadable: set[str]
    leaks: list[frozenset[str]] | None = None


def by_holotype(planted: Planted) -> ProgramReport:
    started, cpu_started = time.perf_counter(), _cpu_seconds()
    findings = audit(read_index(planted.folder))
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
    pairs = {frozenset((pair.first, pair.second)) for pair in findings.near_duplicates}
    for duplicate in findings.exact_duplicates:
        pairs |= {frozenset(two) for two in itertools.combinations(duplicate.paths, 2)}
    leaks = [frozenset(leak.paths) for leak in findings.leaks if leak.kind == "duplicates"]
    return ProgramReport(
        "holotype",
        seconds,
        cpu_seconds,
        pairs,
        list(findings.duplicate_clusters),
        set(findings.unusable_paths),
        leaks,
    )


def by_cleanvision(planted: Planted) -> ProgramReport:
    """All default checks of Imagelab; every two members of a near-duplicate set are a pair."""
    from cleanvision import Imagelab

    logging.disable(logging.CRITICAL)
    started, cpu_started = time.perf_counter(), _cpu_seconds()
    unreadable: set[str] = set()
    stopped = ""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Imagelab(data_path=str(planted.folder))
        try:
            lab.find_issues()
        except Exception as error:  # failing on damaged files is part of the result
            stopped = f"{type(error).__name__}: {error}"
            names = [p for p in planted.folder.rglob("*.png") if "damaged" not in p.name]
            lab = Imagelab(filepaths=[str(p) for p in names])
            started, cpu_started = time.perf_counter(), _cpu_seconds()
            lab.find_issues()
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
    if stopped:
        print(f"\ncleanvision stopped at the damaged files and was run without: {stopped[:120]}")
    clusters = []
    for issue in ("exact_duplicates", "near_duplicates"):
        for members in lab.info[issue]["sets"]:
            clusters.append(frozenset(os.path.relpath(m, planted.folder) for m in members))
    pairs = {frozenset(two) for c in clusters for two in itertools.combinations(sorted(c), 2)}
    return ProgramReport("cleanvision", seconds, cpu_seconds, pairs, clusters, unreadable)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def tables(planted: Planted, report: ProgramReport) -> None:
    """Print recall by kind of defect, false alarms and precision."""
    cluster_of = {path: number for number, c in enumerate(report.clusters) for path in c}

    def is_joined(pair: Iterable[str]) -> bool:
        numbers = {cluster_of.get(path, -1) for path in pair}
        return len(numbers) == 1 and -1 not in numbers

    print(f"\n{report.program}: {report.seconds:.1f} s, {report.cpu_seconds:.1f} s of CPU\n")
    print("| planted | found | recall |\n|---|---|---|")
    total = [0, 0]
    for kind, copies in planted.copies.items():
        hits = sum(map(is_joined, copies))
        if kind != _EQUAL:
            total = [total[0] + hits, total[1] + len(copies)]
        print(f"| {kind} | {hits} of {len(copies)} | {_interval(hits, len(copies))} |")
    print(f"| **all changed copies** | {total[0]} of {total[1]} | {_interval(*total)} |")
    if report.leaks is not None:
        for kind in ("leak", _EQUAL):
            across = planted.copies[kind]
            hits = sum(any(set(pair) <= leak for leak in report.leaks) for pair in across)
            found = f"{hits} of {len(across)} | {_interval(hits, len(across))}"
            print(f"| {kind}, reported as leak | {found} |")
    for kind, paths in planted.damaged.items():
        hits = len(paths & report.unreadable)
        print(f"| damaged: {kind} | {hits} of {len(paths)} | {_interval(hits, len(paths))} |")
    readable = set(planted.family)
    print(f"\nFalse alarms on readable files: {len(report.unreadable & readable)}.")
    known = [pair for pair in report.pairs if pair <= readable]
    natural = {
        frozenset(planted.family[path] for path in pair)
        for pair in known
        if len({planted.family[path] for path in pair}) > 1
    }
    true = {pair for pair in known if len({planted.family[path] for path in pair}) == 1}
    same = _same_by_eye(planted)
    rest = len(known) - len(true)
    confirmed = sum(
        frozenset(planted.family[p] for p in pair) in same for pair in known if pair not in true
    )
    judged = len(true) + rest
    print(
        f"Pairs reported: {judged}; of one image and its copies {len(true)}; of two images of "
        f"the set that are one by eye {confirmed}; others {rest - confirmed} "
        f"(from {len(natural - same)} pairs of originals). "
        f"Precision {_interval(len(true) + confirmed, judged)}."
    )
    if natural - same:
        print("Not confirmed by eye:", sorted(sorted(pair) for pair in natural - same)[:20])


def _same_by_eye(planted: Planted) -> set[frozenset[int]]:
    """Pairs of images of the set that show one image by eye, by their numbers in this folder."""
    file = Path(__file__).with_name("reviewed_pairs.csv")
    if not file.is_file():
        return set()
    reviewed = pd.read_csv(file)
    same = set()
    for row in reviewed[reviewed["verdict"] == "same"].itertuples():
        members = str(row.members).split(" ")
        numbers = [planted.number_of[m] for m in members if m in planted.number_of]
        if row.set == planted.name:
            same |= {frozenset(two) for two in itertools.combinations(numbers, 2)}
    return same


def _interval(hits: int, count: int) -> str:
    if not count:
        return "nothing to count"
    low, high = wilson(hits / count, count)
    return f"{hits / count:.3f} [{low:.3f}, {high:.3f}]"


def wrong_labels(planted: Planted) -> None:
    """Recall and average precision of the label error ranking."""
    from sklearn.metrics import average_precision_score

    from holotype.pipeline.audit import audit as audit_with_labels

    started = time.perf_counter()
    issues = audit_with_labels(planted.folder, labels=True).findings.label_errors
    rank = {issue.path: -place for place, issue in enumerate(issues)}
    paths = sorted(planted.own)
    is_wrong = [path in planted.wrong_labels for path in paths]
    score = average_precision_score(is_wrong, [rank.get(path, -len(paths)) for path in paths])
    hits = len(planted.wrong_labels & set(rank))
    print(
        f"\nWrong labels: {hits} of {len(planted.wrong_labels)} listed, recall "
        f"{_interval(hits, len(planted.wrong_labels))}; {len(set(rank) & planted.own)} images of "
        f"the set are listed; average precision {score:.3f}; "
        f"{time.perf_counter() - started:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["elpv", "mnist5k", "micro-ct"], default="elpv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strengths", choices=list(STRENGTHS), default="reported")
    parser.add_argument("--limit", type=int, help="use only so many images of the set")
    parser.add_argument("--labels", action="store_true", help="evaluate label errors too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["HOLOTYPE_CACHE"] = str(Path(directory) / "cache")  # an empty cache
        folder = Path(directory) / "planted"
        planted = plant(arguments.set, arguments.seed, arguments.strengths, folder, arguments.limit)
        print(
            f"## {arguments.set}, seed {arguments.seed}, {arguments.strengths} strengths: "
            f"{len(planted.own)} images, {len(planted.family) - len(planted.own)} copies"
        )
        programs: tuple[Callable[[Planted], ProgramReport], ...] = (by_holotype, by_cleanvision)
        for program in programs:
            tables(planted, program(planted))
        if arguments.labels:
            wrong_labels(planted)


if __name__ == "__main__":
    main()
