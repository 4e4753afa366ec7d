"""Accuracy by the number of training images: where features of photos help, and where not.

    python docs/figures/transfer_learning.py

A linear head on a frozen network, a small network from nothing, and a descriptor are trained on
growing parts of drawn cats and dogs, and of 8 x 8 digits, and tested on the same images of each.
"""

import csv
import random
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "transfer_learning.png"
SIZES = (20, 40, 80, 160, 320)
TEST_IMAGES = 300
MODELS = {
    "frozen network, linear head": {"recipe": "linear", "image_size": 64},
    "small network from nothing": {"model": "cnn_baseline", "recipe": "scratch", "image_size": 32},
    "HOG and a support vector machine": {"model": "hog", "image_size": 32},
}


def table(folder: Path, size: int) -> Path:
    """A table with `size` images for training, as many again for validation, and the test."""
    images = sorted(folder.rglob("*.png"))
    random.Random(0).shuffle(images)
    file = folder / f"{size}.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("path", "label", "split"))
        for place, image in enumerate(images[: TEST_IMAGES + 2 * max(SIZES)]):
            after = place - TEST_IMAGES
            part = "test" if after < 0 else ("train", "val")[after % 2]
            if after < 2 * size:
                writer.writerow((image.relative_to(folder), image.parent.name, part))
    return file


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        sets = {
            "drawn cats and dogs": holotype.fetch(
                "synthetic-cats-dogs", place / "pets", images=1000
            ),
            "handwritten digits of 8 × 8 pixels": holotype.fetch("digits", place / "digits"),
        }
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
        for axis, (title, folder) in zip(axes, sets.items(), strict=True):
            for label, options in MODELS.items():
                sizes, values, lows, highs = [], [], [], []
                for size in SIZES:
                    run = holotype.train(
                        table(folder, size), output=place / f"{title} {label} {size}", **options
                    )
                    score = run.metrics["accuracy"]
                    print(title, label, size, score, flush=True)
                    sizes.append(size)
                    values.append(score.value)
                    lows.append(score.low)
                    highs.append(score.high)
                (line,) = axis.plot(sizes, values, marker="o", markersize=4, label=label)
                axis.fill_between(sizes, lows, highs, alpha=0.15, color=line.get_color())
            axis.set(title=title, xscale="log", xlabel="training images", ylim=(0, 1.02))
            axis.set_xticks(SIZES, [str(size) for size in SIZES])
            axis.minorticks_off()
        axes[0].set_ylabel("accuracy on 300 test images, 95 %")
        axes[1].legend(loc="lower right", fontsize=8)
        figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
