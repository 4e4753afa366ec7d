"""A promise as a test sees it: the coverage of prediction sets, over 400 calibration sets.

    python docs/figures/promises.py

Sets that should hold the true class in 90 % of cases are calibrated on 100 images and checked on
1,400 others, again and again. The promise is about the mean.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import holotype
from holotype.evaluation.conformal import conformal_calibration, conformal_predictor
from holotype.predictions import read_predictions

FIGURE = Path(__file__).parents[1] / "images" / "promises.png"
COVERAGE = 0.9
CALIBRATION_IMAGES = 100
DRAWS = 400


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        shapes = holotype.fetch("synthetic", place / "shapes", images=200)
        new = holotype.fetch("synthetic", place / "new", images=1500, seed=1)
        run = holotype.train(shapes, model="hog", image_size=32, output=place / "run")
        print("accuracy", run.metrics["accuracy"], flush=True)
        holotype.evaluate(run, new, output=place / "answers")
        answers = read_predictions(place / "answers" / "predictions.parquet")
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(DRAWS):
        order = rng.permutation(len(answers))
        calibration = answers.select(order[:CALIBRATION_IMAGES])
        rest = answers.select(order[CALIBRATION_IMAGES:])
        calibration_set, scores = conformal_calibration(calibration, "cal")
        conformal = conformal_predictor(
            scores, COVERAGE, num_classes=len(answers.classes), calibration_set=calibration_set
        )
        sets_NC = conformal.prediction_sets_NC(rest.probabilities_NC)
        covered.append(float(sets_NC[np.arange(len(rest)), rest.targets_N].mean()))
    print("mean coverage", np.mean(covered), flush=True)
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    axis.hist(covered, bins=25, color="tab:blue", alpha=0.7)
    axis.axvline(COVERAGE, color="black", label="promised: 0.90")
    axis.axvline(np.mean(covered), color="tab:orange", label=f"mean: {np.mean(covered):.3f}")
    axis.set(xlabel="share of sets that hold the true class", ylabel="of 400 calibrations")
    axis.legend(fontsize=8)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
