"""Twelve test splits of one data set, and what the same classifiers do on 800 new images.

python docs/figures/evaluation.py
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "evaluation.png"
SPLITS = 12


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        shapes = holotype.fetch("synthetic", place / "shapes", images=300)
        new = holotype.fetch("synthetic", place / "new", images=800, seed=1)
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        truths = []
        for number in range(SPLITS):
            run = holotype.train(
                shapes, recipe="linear", image_size=48, output=place / f"{number}",
                overrides={"split.seed": number},
            )  # fmt: skip
            score = run.metrics["accuracy"]
            report = holotype.evaluate(run, new, output=place / f"new-{number}")
            truth = report.metrics["accuracy"].value
            truths.append(score.low <= truth <= score.high)
            print(number, score, truth, flush=True)
            left.plot([number, number], [score.low, score.high], color="tab:blue")
            left.plot(number, score.value, "o", color="tab:blue", label="test split, 95 %")
            left.plot(number, truth, "_", color="black", markersize=12, label="800 new images")
        handles, labels = left.get_legend_handles_labels()
        left.legend(handles[:2], labels[:2], fontsize=8, loc="lower right", ncols=2)
        left.set(
            xlabel="seed of the split", ylabel="accuracy", ylim=(0.55, 1),
            title=f"{sum(truths)} of {SPLITS} intervals hold the truth",
        )  # fmt: skip
        draw_reliability(right, run, new)
        figure.savefig(FIGURE, dpi=110)


def draw_reliability(axis: plt.Axes, run: holotype.Run, new: Path) -> None:
    """Confidence of the last run against its accuracy, in ten bins of equal size."""
    found = run.classifier.predict(new)
    names = np.array([Path(name).parent.name for name in found.to_frame()["file"]])
    confidence_N = found.probabilities.max(axis=1)
    right_N = found.labels == names
    for part in np.array_split(np.argsort(confidence_N), 10):
        axis.plot(confidence_N[part].mean(), right_N[part].mean(), "o", color="tab:blue")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.set(
        xlabel="stated confidence", ylabel="accuracy", xlim=(0.2, 1.02), ylim=(0.2, 1.02),
        title="new images by confidence, ten bins",
    )  # fmt: skip


if __name__ == "__main__":
    main()
