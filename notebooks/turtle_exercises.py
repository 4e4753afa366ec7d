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
# # Which turtle is this? Four exercises
#
# A turtle is told by the pattern of its shell. Each of eight turtles was met in five *encounters*, with four photos in
# each; photos of one encounter share light and water. The solutions stand below each exercise, in cells tagged
# `solution`: try first.

# %% tags=["parameters"]
from pathlib import Path

TURTLES = Path("/kaggle/input/turtles/table.csv")  # path, label, group; else drawn turtles
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
IMAGE_SIZE = 64
EPOCHS = 2  # more where there is time

# %%
import numpy as np
import pandas as pd

import holotype

WORK.mkdir(exist_ok=True)
table = TURTLES if TURTLES.is_file() else holotype.fetch("synthetic-turtles", WORK / "turtles")
holotype.audit(table, quick=True)

# %% [markdown]
# ## Exercise 1: frozen features
#
# Describe all photos by a frozen network, and name each by its nearest neighbour. How often is that right (a) among
# all other photos, (b) among photos of other encounters only? Why do the two differ?
#
# `run.classifier.embed(images)` gives an array (N, 1280).

# %%
run = holotype.train(table, recipe="linear", image_size=IMAGE_SIZE, output=WORK / "runs/linear")
rows = run.index.table
paths = [run.index.root / path for path in rows["path"]]

# %% tags=["solution"]
embeddings = run.classifier.embed(paths)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
similarity = embeddings @ embeddings.T
np.fill_diagonal(similarity, -1)
labels, groups = rows["label"].to_numpy(), rows["group"].to_numpy()
among_all = labels[similarity.argmax(axis=1)] == labels
similarity[groups[:, None] == groups[None, :]] = -1
among_others = labels[similarity.argmax(axis=1)] == labels
print(f"(a) {among_all.mean():.2f}, (b) {among_others.mean():.2f}")

# %% [markdown] tags=["solution"]
# (a) is too good: the nearest photo is mostly of the same encounter, with the same light and water. Only (b) says
# how a turtle is recognised when it is met again.

# %% [markdown]
# ## Exercise 2: progressive unfreezing
#
# Train with the recipe `progressive`: the head, then one group of layers after the other from the top. Which stage is best
# on validation? What would you do with ten times as many photos?

# %% tags=["solution"]
progressive = holotype.train(
    table, recipe="progressive", image_size=IMAGE_SIZE, output=WORK / "runs/progressive",
    overrides={f"stages.{stage}.epochs": EPOCHS for stage in (1, 2, 3)},
)  # fmt: skip
history = pd.read_csv(progressive.path / "history.csv")
history.groupby("stage", sort=False)[["val_loss", "val_accuracy"]].agg(
    {"val_loss": "min", "val_accuracy": "max"}
)

# %% [markdown] tags=["solution"]
# With few photos the lower groups add little and the loss may rise: they learn the photos by heart. With more photos, more
# can be unfrozen. What ships is the best stage on validation, never a worse one than the linear head.

# %% [markdown]
# ## Exercise 3: architectures compared
#
# Compare a descriptor, a small network from nothing and a pretrained one. Which differences are significant?

# %% tags=["solution"]
descriptor = holotype.train(
    table, model="hog+colour", image_size=IMAGE_SIZE, output=WORK / "runs/descriptor"
)
nothing = holotype.train(
    table,
    model="cnn_baseline",
    image_size=IMAGE_SIZE,
    output=WORK / "runs/nothing",
    overrides={"epochs": EPOCHS},
)
holotype.compare([run, descriptor, nothing], speed_images=0)

# %% [markdown] tags=["solution"]
# Intervals count encounters, not photos, and are wide. A difference that looks large may well be a tie; more
# encounters help, more photos of the same ones hardly.

# %% [markdown]
# ## Exercise 4: practices
#
# A colleague reports a much better score, from a split by photo. Repeat it: leave out the column `group`. Then say in one
# sentence which score answers the question "is this turtle recognised when it is met again?"

# %% tags=["solution"]
photos = pd.read_csv(table).drop(columns="group")
photos["path"] = [str(table.parent.resolve() / path) for path in photos["path"]]
photos.to_csv(WORK / "by-photo.csv", index=False)
careless = holotype.train(
    WORK / "by-photo.csv", recipe="linear", image_size=IMAGE_SIZE, output=WORK / "runs/careless"
)
print("by photo:    ", careless.metrics["accuracy"])
print("by encounter:", run.metrics["accuracy"])

# %% [markdown] tags=["solution"]
# Only the score by encounter does; by photo, the classifier recognises the encounter. The report of a run with groups shows
# both.
