"""What an audit costs as the data set grows: time per image and peak memory.

    .venv/bin/python benchmarks/audit_cost.py --sizes 1000 10000 50000

Synthetic images of 64 by 64 pixels, each size in a fresh process with an empty cache: index,
fingerprints, look-alikes, findings; small sizes several times. Prints a table and draws
docs/images/audit_cost.png. Steps are given in CPU time, since the machine may have other things to
do; wall time of all stands beside.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "audit_cost.png"
CLASSES = 8


def measured(folder: str) -> dict[str, float]:
    """Audit a folder in this process and say what it took."""
    from holotype.dataset.audit_fingerprints import compute_fingerprints
    from holotype.dataset.auditing.audit_without_network import audit
    from holotype.dataset.index import read_index
    from holotype.dataset.near_duplicates.search import find_near_duplicates

    marks = [(time.perf_counter(), time.process_time())]

    def lap() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    index = read_index(folder)
    lap()
    seen = compute_fingerprints(index)
    lap()
    find_near_duplicates(seen, index)
    lap()
    audit(index)  # the two steps before are kept, so that this is the rest
    lap()
    steps = ("index", "fingerprints", "near_duplicates", "findings")
    said: dict[str, float] = {}
    for step, before, after in zip(steps, marks, marks[1:], strict=False):
        said[step] = after[0] - before[0]
        said[f"{step} cpu"] = after[1] - before[1]
    said["wall"], said["cpu"] = marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]
    said["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return said


def measure(size: int) -> dict[str, float]:
    from holotype.dataset.sources.synthetic import make_synthetic

    with tempfile.TemporaryDirectory() as directory:
        images = Path(directory) / "images"
        images.mkdir()
        make_synthetic(images, classes=CLASSES, images=size, seed=1)
        done = subprocess.run(
            [sys.executable, __file__, "--folder", str(images)],
            env=os.environ | {"HOLOTYPE_CACHE": f"{directory}/cache"},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def _runs(size: int) -> int:
    return 5 if size <= 2000 else 3 if size <= 20_000 else 1


def draw(sizes: list[int], results: list[dict[str, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    below = [0.0] * len(sizes)
    places = range(len(sizes))
    for step, colour in zip(
        ("index", "fingerprints", "near_duplicates", "findings"),
        ("#9ecae1", "#4292c6", "#08519c", "#bdbdbd"),
        strict=True,
    ):
        heights = [1000 * r[f"{step} cpu"] / n for r, n in zip(results, sizes, strict=True)]
        left.bar(places, heights, bottom=below, color=colour, label=step, width=0.6)
        below = [b + h for b, h in zip(below, heights, strict=True)]
    left.set_ylabel("CPU time per image (ms)")
    left.legend(frameon=False, ncols=2)
    left.set_ylim(0, 1.45 * max(below))
    right.bar(places, [r["peak_mb"] for r in results], color="#4292c6", width=0.6)
    right.axhline(2048, color="black", linewidth=0.8, linestyle="--")
    right.text(-0.3, 2070, "2 GB")
    right.set_ylim(0, 2400)
    right.set_ylabel("peak memory (MB)")
    for axes in (left, right):
        axes.set_xticks(list(places), [f"{n:,}" for n in sizes])
        axes.set_xlabel("images")
        axes.spines[["top", "right"]].set_visible(False)
    IMAGE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGE, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(measured(arguments.folder)))
        return
    print("| images | index | fingerprints | look-alikes | findings | all | wall | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for size in arguments.sizes:
        # A second is soon over: of small sizes the middle one of several runs.
        runs = sorted((measure(size) for _ in range(_runs(size))), key=lambda said: said["cpu"])
        said = runs[len(runs) // 2]
        results.append(said)
        steps = ("index", "fingerprints", "near_duplicates", "findings")
        cells = [f"{1000 * said[f'{step} cpu'] / size:.2f} ms" for step in steps]
        cells.append(f"{1000 * said['cpu'] / size:.2f} ms")
        wall = f"{1000 * said['wall'] / size:.2f} ms"
        print(f"| {size:,} | {' | '.join(cells)} | {wall} | {said['peak_mb']:.0f} MB |", flush=True)
    draw(arguments.sizes, results)


if __name__ == "__main__":
    main()
