"""The same seed three times, and eight seeds: what repeats, and what a single run hides.

python docs/figures/reproducibility.py
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "reproducibility.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        pets = holotype.fetch("synthetic-cats-dogs", place / "pets", images=300)
        figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
        seeds = [0, 0, 0, *range(1, 8)]
        digests = []
        for position, seed in enumerate(seeds):
            run = holotype.train(
                pets, model="cnn_v1", image_size=32, seed=seed,
                overrides={"epochs": 15}, output=place / f"{position}",
            )  # fmt: skip
            score = run.metrics["accuracy"]
            digests.append(run.classifier.digest)
            colour = "tab:orange" if seed == 0 else "tab:blue"
            axis.plot([position, position], [score.low, score.high], color=colour)
            axis.plot(position, score.value, "o", color=colour)
            print(seed, score, digests[-1][:12], flush=True)
        axis.set_xticks(range(len(seeds)), [f"seed {seed}" for seed in seeds], fontsize=8)
        axis.set(ylabel="accuracy on test, 95 %")
        same = len(set(digests[:3])) == 1
        axis.set_title(
            f"seed 0 three times: {'one bundle' if same else 'different bundles'}; "
            f"eight seeds: {len(set(digests))} bundles", fontsize=10,
        )  # fmt: skip
        figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
