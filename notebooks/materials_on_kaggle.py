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
# # Materials, on Kaggle with Internet off
#
# Wood, brick or carpet? All paths are in the next cell. Attach three data sets: the images, the weights (a folder
# with `NAME.safetensors`), and the wheels of Holotype, which are installed by
#
#     !pip install --no-index --find-links /kaggle/input/holotype-wheels 'holotype[train]'
#
# `/kaggle/input` is read-only; everything is written below `WORK`.

# %% tags=["parameters"]
from pathlib import Path

IMAGES = Path("/kaggle/input/minc-2500/images")  # a folder for each material
WEIGHTS = Path("/kaggle/input/weights")
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
MODEL, IMAGE_SIZE = "efficientnet_lite0", 64  # "resnet50", 224

# %%
import os

WORK.mkdir(exist_ok=True)
os.environ["HOLOTYPE_CACHE"] = str(WORK / "cache")  # the home folder may not be writable
if WEIGHTS.is_dir():
    os.environ["HOLOTYPE_WEIGHTS"] = str(WEIGHTS)

import holotype

holotype.models(MODEL)

# %% [markdown]
# The last lines say where the weights would come from. `folder` is the attached data set, `installed` a package.
#
# ## The images
#
# Where none are attached, some are drawn.

# %%
import numpy as np
from PIL import Image


def draw(folder: Path, count: int = 40) -> Path:
    """Bricks, boards and carpets: lines both ways, lines one way, and noise."""
    rng = np.random.default_rng(0)
    for material in ("brick", "carpet", "wood"):
        (folder / material).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            y_HW, x_HW = np.mgrid[:96, :96] + rng.integers(0, 30, 2)[:, None, None]
            grey_HW = rng.normal(120, 25, (96, 96))
            if material == "wood":
                grey_HW += 40 * np.sin(x_HW / 4 + np.sin(y_HW / 20))
            if material == "brick":
                grey_HW -= 60 * ((y_HW % 16 < 3) | ((x_HW + 16 * (y_HW // 16 % 2)) % 32 < 3))
            tint_C = rng.uniform(0.6, 1.2, 3)
            levels_HWC = (grey_HW[:, :, None] * tint_C).clip(0, 255).astype(np.uint8)
            Image.fromarray(levels_HWC).save(folder / material / f"{number:03}.jpg")
    return folder


data = IMAGES if IMAGES.is_dir() else draw(WORK / "materials")
audit = holotype.audit(data, quick=True)
audit

# %% [markdown]
# ## What is refused, and how it is said
#
# Train and validation folders with different classes cannot be trained on. That is said before any work is done:

# %%
import shutil

broken = WORK / "broken"
shutil.rmtree(broken, ignore_errors=True)
classes = sorted(folder.name for folder in data.iterdir() if folder.is_dir())
for part, names in (("train", classes), ("val", classes[:-1])):
    for name in names:
        (broken / part / name).mkdir(parents=True)
        for image in sorted((data / name).iterdir())[:4]:
            shutil.copyfile(image, broken / part / name / image.name)
try:
    holotype.train(broken, output=WORK / "runs/broken")
except holotype.HolotypeError as error:
    print(error)

# %% [markdown]
# A file that is cut off costs itself only: it is named, and the rest trains.

# %%
whole = broken / "train" / classes[0]
cut = sorted(whole.iterdir())[0]
cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
holotype.audit(broken / "train", quick=True).to_frame()

# %% [markdown]
# ## Train

# %%
run = holotype.train(
    data, model=MODEL, recipe="linear", image_size=IMAGE_SIZE, output=WORK / "runs/materials"
)
run

# %% [markdown]
# ## Answers as a table, as a competition wants them

# %%
found = run.predictions("test").to_frame()
found.to_csv(WORK / "answers.csv", index=False)
found.head()

# %% [markdown]
# `examples/materials.yaml` has the networks and rates of the original project: `recipe="materials.yaml"` trains them all.
