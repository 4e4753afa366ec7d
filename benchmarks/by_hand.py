"""`holotype train --recipe linear` beside thirty lines of timm and scikit-learn, ELPV solar cells.

    .venv/bin/python benchmarks/by_hand.py --seeds 0 1 2 3 4 --output runs/by-hand

Both get the same network with the same weights and the same test images, and run as whole commands,
one after the other, from an empty cache. By hand all of the training part is learnt from,
by logistic regression on standardised embeddings whose strength is found by cross-validation, and
without audit, calibration, intervals or report; Holotype holds 15 % of the training part back as
validation. The table goes to stdout.

Nothing was chosen on the seeds 0 to 4.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch

from holotype.architectures.pretrained_weights import find_weights, load_weights
from holotype.elpv_demo import TEST_FRACTION, VALIDATION_FRACTION, split_table
from holotype.predictions import read_predictions

MODEL, IN_TIMM = "efficientnet_lite0", "tf_efficientnet_lite0"
HOLOTYPE = str(Path(sys.executable).with_name("holotype"))
RATIOS = [
    f"{r:g}" for r in (1 - VALIDATION_FRACTION - TEST_FRACTION, VALIDATION_FRACTION, TEST_FRACTION)
]

BY_HAND = """
import sys
import numpy as np, pandas as pd, timm, torch
from PIL import Image
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

table, weights, output = sys.argv[1:]
rows = pd.read_csv(table)
model = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
model.load_state_dict(torch.load(weights, weights_only=True))
change = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

class Cells(Dataset):
    def __len__(self):
        return len(rows)

    def __getitem__(self, i):
        return change(Image.open(rows.path[i]).convert("RGB"))

with torch.inference_mode():
    loader = DataLoader(Cells(), batch_size=32, num_workers=2)
    embeddings = torch.cat([model(images) for images in loader]).numpy()
train, test = (rows.split == "train").to_numpy(), (rows.split == "test").to_numpy()
strengths = np.logspace(-5, 0, 11)
folds = StratifiedKFold(5, shuffle=True, random_state=0)  # cells of a module follow each other
head = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=strengths, cv=folds, max_iter=5000))
weights_N = rows.weight[train]
head.fit(embeddings[train], rows.label[train], logisticregressioncv__sample_weight=weights_N)
right = head.predict(embeddings[test]) == rows.label[test]
pd.DataFrame({"path": rows.path[test], "right": right, "weight": rows.weight[test]}).to_csv(output)
"""


def timed(command: list[str], cache: Path) -> float:
    """Seconds of a whole command from an empty cache."""
    shutil.rmtree(cache, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"HOLOTYPE_CACHE": str(cache)},
    )  # fmt: skip
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, default=Path("runs/by-hand"))
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    weights, script = output / "weights.pth", output / "by_hand.py"
    script.write_text(BY_HAND, encoding="utf-8")
    network = timm.create_model(IN_TIMM, num_classes=0)
    load_weights(network, MODEL, find_weights(MODEL))
    torch.save(network.state_dict(), weights)
    rows = []
    for seed in arguments.seeds:
        table = split_table(output / f"data-{seed}", seed=seed)
        by_hand, run = output / f"by-hand-{seed}.csv", output / f"linear-{seed}"
        shutil.rmtree(run, ignore_errors=True)
        seconds = [
            timed(
                [sys.executable, str(script), str(table), str(weights), str(by_hand)],
                output / "cache",
            ),
            timed(
                [
                    HOLOTYPE,
                    "train",
                    str(table),
                    "--recipe",
                    "linear",
                    "--output",
                    str(run),
                    "--ratios",
                    *RATIOS,
                ],
                output / "cache",
            ),
        ]
        hand = pd.read_csv(by_hand)
        ours = read_predictions(run / "predictions" / "test.parquet")
        accuracies = [
            float(np.average(hand["right"], weights=hand["weight"])),
            float(np.average(ours.predicted_N == ours.targets_N, weights=ours.weights_N)),
        ]
        rows.append([*(100 * a for a in accuracies), *seconds])
        print(f"{seed}: " + " ".join(f"{value:.2f}" for value in rows[-1]), flush=True)
    header = ["seed", "by hand, %", "linear, %", "by hand, s", "linear, s", "by hand / linear, s"]
    lines = [header, ["---"] * len(header)]
    for name, row in zip([*arguments.seeds, "mean"], [*rows, np.mean(rows, axis=0)], strict=True):
        lines.append([str(name), *(f"{v:.2f}" for v in row), f"{row[2] / row[3]:.2f}"])
    print("\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    main()
