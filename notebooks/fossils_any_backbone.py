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
# # Fossils, with any backbone
#
# Twelve species of microfossils in CT slices: few specimens, many slices of each. The notebook takes any network of
# the catalogue (or `timm:NAME`), says what its training would cost before it starts, trains two, and ends in the
# ensemble of both, each class weighed by itself.

# %% tags=["parameters"]
from pathlib import Path

SLICES = Path("/kaggle/input/fossils/table.csv")  # path, label, group; else simulated scans
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
# "convnext_large", 384 where weights and a GPU are there
FIRST, FIRST_SIZE = "efficientnet_lite0", 64
SECOND, SECOND_SIZE = "hog+lbp", 64  # "efficientnetv2_s", 224
RECIPE = "linear"  # "finetune", "full", or a file such as examples/fossils.yaml#convnext_base
SPECIES = 5  # of the simulated ones

# %%
import holotype
from holotype.dataset.sources.synthetic_micro_ct import make_micro_ct

WORK.mkdir(exist_ok=True)
table = SLICES if SLICES.is_file() else make_micro_ct(WORK / "fossils", species=SPECIES)
holotype.augment(table, recipe="finetune", image_size=64, output=WORK / "sheet.png").image

# %% [markdown]
# Slices of one specimen are not independent: the table names the specimen of each, and a specimen is never
# split.
#
# ## Which networks, and what do they cost?

# %%
holotype.models()

# %% [markdown]
# Before anything trains: the time, memory and disk that it would take here, from one batch of every stage.

# %%
estimates = {
    name: holotype.estimate(table, model=name, recipe=RECIPE, image_size=size)
    for name, size in ((FIRST, FIRST_SIZE), (SECOND, SECOND_SIZE))
}
estimates[FIRST]

# %%
estimates[SECOND]

# %% [markdown]
# ## Train both

# %%
first = holotype.train(
    table, model=FIRST, recipe=RECIPE, image_size=FIRST_SIZE, output=WORK / "runs/first"
)
first

# %%
second = holotype.train(
    table, model=SECOND, recipe=RECIPE, image_size=SECOND_SIZE, output=WORK / "runs/second"
)
second

# %% [markdown]
# The score with specimens kept whole, and what it would seem to be if slices were assigned at random, stand side by
# side in the report of each run.
#
# ## Both together
#
# Validation decides how much each network counts in each class. Whether the two beat the better one is tested, and said.

# %%
both = holotype.ensemble([first, second], method="adaptive", output=WORK / "runs/both")
both

# %%
holotype.compare([first, second, both], speed_images=0)

# %% [markdown]
# If they do not, ship the better one: it is smaller and faster.
#
# ## Which slices decide?

# %%
image = first.index.part("test").table["path"].iloc[0]
first.classifier.explain(first.index.root / image).overlay
