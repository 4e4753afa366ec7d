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
# # The complete workflow: cat or dog?
#
# From a folder of images to a classifier that ships: look, audit, split, train, compare, explain, predict,
# export. It runs from top to bottom in a minute or two on two cores, without a GPU or a network.
#
# The next cell is the only one to change. Where there is no folder at `IMAGES`, drawn cats and dogs are taken.

# %% tags=["parameters"]
from pathlib import Path

IMAGES = Path("/kaggle/input/pets")  # train, val and test, each with the folders cat and dog
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
IMAGE_SIZE = 64  # pixels; 224 for photos

# %% [markdown]
# ## The images

# %%
import shutil

import holotype

WORK.mkdir(exist_ok=True)
data = IMAGES if IMAGES.is_dir() else holotype.fetch("synthetic-cats-dogs", WORK / "pets")
data

# %% [markdown]
# Real data has faults. To see what happens, two are planted into a copy: a file that is cut off, and a training
# image that stands in test too, under the wrong label.

# %%
faulty = WORK / "faulty"
shutil.rmtree(faulty, ignore_errors=True)
shutil.copytree(data, faulty, copy_function=shutil.copyfile)
images = sorted((faulty / "train" / "cat").iterdir())
images[0].write_bytes(images[0].read_bytes()[:1000])
shutil.copyfile(images[1], faulty / "test" / "dog" / f"copy{images[1].suffix}")

# %% [markdown]
# ## The audit
#
# It looks for broken files, copies, copies under two labels, copies on both sides of the split, and labels that
# are probably wrong. Nothing is changed.

# %%
audit = holotype.audit(faulty)
audit

# %%
audit.to_frame()

# %% [markdown]
# Both are found. From here on, the images without the faults.
#
# ## A first classifier
#
# A network that has seen a million photos describes each image by 1,280 numbers; a linear model learns from them.

# %%
linear = holotype.train(data, recipe="linear", image_size=IMAGE_SIZE, output=WORK / "runs/linear")
linear

# %% [markdown]
# The interval matters more than the third digit: there are few test images.

# %%
linear.metrics["accuracy"]

# %% [markdown]
# ## Two others: a descriptor without a network, and a fine-tuned network

# %%
descriptor = holotype.train(data, model="hog", image_size=IMAGE_SIZE, output=WORK / "runs/hog")
tuned = holotype.train(
    data, image_size=IMAGE_SIZE, output=WORK / "runs/tuned", overrides={"epochs": 3}
)

# %% [markdown]
# `compare` asks, image by image, whether the differences are real. Runs that cannot be told apart share a rank; the
# run to ship is chosen on validation.

# %%
comparison = holotype.compare([descriptor, linear, tuned], select="best", speed_images=0)
comparison

# %% [markdown]
# ## What does it look at?

# %%
test_image = sorted((data / "test" / "dog").iterdir())[0]
linear.classifier.explain(test_image).overlay

# %% [markdown]
# A heatmap says where, not why: see *Interpretability* in the documentation.
#
# ## Use it
#
# What was evaluated is what ships: the folder `bundle`. Loading it needs neither PyTorch nor the training images.

# %%
classifier = holotype.load(linear.path / "bundle")
found = classifier.predict(data / "test")
found.to_frame().head()

# %% [markdown]
# ## Ship it

# %%
holotype.export(linear, formats=["onnx"], output=WORK / "exported")

# %% [markdown]
# The report, with curves, confusion matrix and the worst errors, is one file: open `runs/linear/report/index.html`.
#
# ## Try yourself
#
# 1. Leave half of the training images out. Which of the three suffers most?
# 2. Swap ten labels in `train`. How many does the audit name?
# 3. Train `linear` with three values of `split.seed`. How far apart are the scores, and how wide is the interval?
