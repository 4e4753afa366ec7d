"""What the learning rate decides: validation accuracy after each epoch of fine-tuning.

    python docs/figures/fine_tuning.py

The whole network is fine-tuned from its linear head on drawn cats and dogs, at four peak rates.
Epoch 0 is the linear head.
"""

import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "fine_tuning.png"
RATES = (1e-5, 1e-4, 1e-3, 1e-2)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        pets = holotype.fetch("synthetic-cats-dogs", place / "pets", images=240)
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for rate in RATES:
            run = holotype.train(
                pets, recipe="full", image_size=48, output=place / f"{rate}",
                overrides={"epochs": 6, "stages.1.learning_rate": rate,
                           "stages.1.patience": None, "stages.1.stop_on": None},
            )  # fmt: skip
            with (run.path / "history.csv").open() as opened:
                rows = list(csv.DictReader(opened))
            epochs = [int(row["epoch"]) for row in rows]
            for axis, column in zip(axes, ("val_loss", "val_accuracy"), strict=True):
                axis.plot(
                    epochs, [float(row[column]) for row in rows],
                    marker="o", markersize=4, label=f"rate {rate:g}",
                )  # fmt: skip
            print(rate, run.metrics["accuracy"], [row["val_accuracy"] for row in rows], flush=True)
        axes[0].set(xlabel="epoch", ylabel="validation loss", yscale="log")
        axes[1].set(xlabel="epoch", ylabel="validation accuracy")
        axes[1].legend(fontsize=8)
        figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
