# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Classical, from nothing, or pretrained?
#
# Three ways to make a classifier, on the same images, with few and with more of them: a descriptor with a support
# vector machine, a small network from random numbers, and a linear head on a network that has seen a million photos.

# %% tags=["parameters"]
from pathlib import Path

IMAGES = Path("/kaggle/input/images")  # a folder for each class; else drawn cats and dogs
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
SIZES = (30, 120)  # training images
TEST_IMAGES = 100
EPOCHS = 8  # of the network from nothing
IMAGE_SIZE = 64  # of the pretrained network

# %%
import random

import matplotlib.pyplot as plt
import pandas as pd

import holotype

WORK.mkdir(exist_ok=True)
folder = IMAGES
if not IMAGES.is_dir():
    folder = holotype.fetch(
        "synthetic-cats-dogs", WORK / "pets", images=TEST_IMAGES + 2 * max(SIZES)
    )
images = sorted(path.resolve() for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
random.Random(0).shuffle(images)

# %% [markdown]
# The test images are the same for all; half of the others validate.


# %%
def table(size: int) -> Path:
    """A table with so many images for training, as many for validation, and the test."""
    parts = ["test"] * TEST_IMAGES + ["train", "val"] * size
    used = images[: len(parts)]
    rows = {
        "path": used,
        "label": [image.parent.name for image in used],
        "split": parts[: len(used)],
    }
    file = WORK / f"{size}.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


APPROACHES = {
    "classical": {"model": "hog", "image_size": 48},
    "from nothing": {"model": "cnn_baseline", "image_size": 32, "overrides": {"epochs": EPOCHS}},
    "pretrained": {"recipe": "linear", "image_size": IMAGE_SIZE},
}
runs = {
    (name, size): holotype.train(table(size), output=WORK / f"runs/{name}-{size}", **options)
    for size in SIZES
    for name, options in APPROACHES.items()
}

# %% [markdown]
# ## With their intervals

# %%
figure, axis = plt.subplots(figsize=(7, 3))
for shift, name in enumerate(APPROACHES):
    for place, size in enumerate(SIZES):
        score = runs[name, size].metrics["accuracy"]
        x = place + 0.15 * (shift - 1)
        axis.plot([x, x], [score.low, score.high], color=f"C{shift}")
        axis.plot(x, score.value, "o", color=f"C{shift}", label=name if place == 0 else None)
axis.set_xticks(range(len(SIZES)), [f"{size} training images" for size in SIZES])
axis.set_ylabel(f"accuracy on {TEST_IMAGES} images, 95 %")
axis.legend()
# %% [markdown]
# ## Are the differences real?

# %%
holotype.compare([runs[name, SIZES[0]] for name in APPROACHES], speed_images=20)

# %%
holotype.compare([runs[name, SIZES[-1]] for name in APPROACHES], speed_images=20)

# %% [markdown]
# Read across: who wins with few images, who catches up, who is fastest?
#
# ## Try yourself
#
# 1. Take digits instead: `holotype.fetch("digits", WORK / "digits")`. Who wins now, and why?
# 2. Give the network from nothing `EPOCHS = 30`.
# 3. Join the best two: `holotype.ensemble`.
