"""One accuracy with copies on both sides of the split, one without: what leakage is worth.

    python docs/figures/near_duplicates.py

The images are coloured noise, half of which is called one class and half the other at random, so
that nothing can be learnt. Each is there three times: as it is, compressed again, and resized.
"""

import csv
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageFilter

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "near_duplicates.png"
ORIGINALS = 80


def draw(folder: Path) -> list[tuple[str, str]]:
    """Paths and labels of all images."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(ORIGINALS):
        label = ("a", "b")[number % 2]
        levels = rng.uniform(0, 255, (12, 12, 3)).astype(np.uint8)
        image = Image.fromarray(levels).resize((96, 96), Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.png")
        image.save(folder / f"{number}-again.jpg", quality=60)
        image.resize((80, 80)).filter(ImageFilter.GaussianBlur(0.5)).save(
            folder / f"{number}-s.png"
        )
        rows += [(f"{number}{end}", label) for end in (".png", "-again.jpg", "-s.png")]
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "noise").mkdir()
        rows = draw(place / "noise")
        random.Random(0).shuffle(rows)
        given, own = place / "noise" / "given.csv", place / "noise" / "own.csv"
        for file, header in ((own, ("path", "label")), (given, ("path", "label", "split"))):
            with file.open("w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(header)
                for place_in, row in enumerate(rows):
                    part = ("train", "train", "train", "val", "test")[place_in % 5]
                    writer.writerow((*row, part)[: len(header)])
        options = {"recipe": "linear", "image_size": 64}
        runs = {
            "images dealt out at random,\ncopies on both sides": holotype.train(
                given, output=place / "leaking", **options
            ),
            "the same images split by Holotype,\ncopies on one side": holotype.train(
                own, output=place / "own", **options
            ),
        }
        figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
        for position, (label, run) in enumerate(runs.items()):
            score = run.metrics["accuracy"]
            print(label, score, flush=True)
            axis.plot([score.low, score.high], [position, position], color="tab:blue")
            axis.plot(score.value, position, "o", color="tab:blue")
        axis.axvline(0.5, color="grey", linewidth=0.8)
        axis.set_yticks(range(len(runs)), list(runs))
        axis.set(
            xlabel="accuracy on test, 95 %; the truth is 0.5", xlim=(0, 1.02), ylim=(-0.5, 1.5)
        )
        figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
