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
# # Serving a classifier
#
# A server on this machine, a client, two versions compared while requests go on, what the request log keeps, and whether
# the images of today are still those that the classifier was made for.

# %% tags=["parameters"]
from pathlib import Path

IMAGES = Path("/kaggle/input/pets")  # train, val and test with class folders; else drawn ones
WORK = Path("/kaggle/working") if Path("/kaggle/working").is_dir() else Path("work")
IMAGE_SIZE = 64

# %%
import socket
import subprocess
import sys
import time
import urllib.request

import holotype

WORK.mkdir(exist_ok=True)
data = IMAGES if IMAGES.is_dir() else holotype.fetch("synthetic-cats-dogs", WORK / "pets")

# %%
champion = holotype.train(data, model="hog", image_size=IMAGE_SIZE, output=WORK / "runs/one")
challenger = holotype.train(data, recipe="linear", image_size=IMAGE_SIZE, output=WORK / "runs/two")

# %% [markdown]
# ## Start
#
# In a terminal: `holotype serve pets=runs/one --challenger runs/two --share 50 --log log`. Half of the requests are answered by
# the challenger; every answer is a row of the log.


# %%
def serve(*words: object) -> tuple[subprocess.Popen, str]:
    """A server on a free port, once it answers, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "holotype", "serve", *map(str, words), "--port", str(port)]
    server = subprocess.Popen([*command, "--workers", "1"])
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    return server, url


server, url = serve(
    f"pets={champion.path}", "--challenger", challenger.path, "--share", 50, "--log", WORK / "log"
)

# %% [markdown]
# ## Ask
#
# `Client` has the methods of a classifier. It needs neither PyTorch nor the bundle.

# %%
client = holotype.Client(url, "pets")
images = sorted(path for path in (data / "test").rglob("*") if path.is_file())
found = client.predict(images)
found.to_frame().head()

# %% [markdown]
# An image that cannot be read costs itself only, and is named:

# %%
(WORK / "no-image.jpg").write_text("this is no image")
client.predict([images[0], WORK / "no-image.jpg"]).refused

# %% [markdown]
# ## Tell the truth
#
# Where the true class becomes known, feedback is sent for the answer. It is joined with it in the log.

# %%
client.feedback(found, [image.parent.name for image in images])

# %% [markdown]
# ## Which version is better?
#
# `status` may be looked at after every answer: its interval holds at all looks at once.

# %%
status = subprocess.run(
    [sys.executable, "-m", "holotype", "serve", "status", "--url", url],
    capture_output=True,
    text=True,
)
print(status.stdout)

# %% [markdown]
# ## Stop, and read the log

# %%
server.terminate()
server.wait(60)

# %%
import pandas as pd

from holotype.serving.request_log.read_log import LogQuery, read_log

columns = ("time", "arm", "probabilities", "label")
pd.DataFrame(read_log(WORK / "log", 0, time.time(), LogQuery(columns=columns)))

# %% [markdown]
# ## Watch
#
# `holotype watch` holds the log of a model against its validation images, in windows: here of 24 images, else of 200. First a few
# quiet days, with images as they were.

# %%
import io
import random

from PIL import Image, ImageEnhance, ImageFilter

from holotype.watching.watch import WatchOptions

every_day = holotype.fetch("synthetic-cats-dogs", WORK / "days", images=160, seed=5)
days = images if IMAGES.is_dir() else sorted(every_day.rglob("*.png"))
random.Random(0).shuffle(days)  # cats and dogs come as they like


def watch_while_asking(asked: list) -> holotype.Watch:
    """Ask a server all of these, then look at what it has logged so far."""
    server, url = serve(f"pets={champion.path}", "--log", WORK / "watched")
    holotype.Client(url, "pets").predict(asked)
    server.terminate()
    server.wait(60)
    time.sleep(3)  # rows are taken when they are two seconds old
    options = WatchOptions(window="24", group_by="none")  # each image was drawn for itself
    return holotype.watch(
        champion.path, log=WORK / "watched", output=WORK / "watch", options=options
    )


watch_while_asking(days)

# %% [markdown]
# Then somebody exchanges the camera: the new one is darker and not in focus.


# %%
def new_camera(file: Path) -> bytes:
    photo = Image.open(file).convert("RGB")
    photo = ImageEnhance.Brightness(photo).enhance(0.55).filter(ImageFilter.GaussianBlur(2))
    content = io.BytesIO()
    photo.save(content, "PNG")
    return content.getvalue()


watched = watch_while_asking([new_camera(file) for file in days])
print("alarm:", watched.alarm, "-", watched.kind)
watched

# %% [markdown]
# What has changed, the images that are most unlike the known ones, and what the accuracy may be now, stand in the report
# (`watch/index.html`) and in `watch.json`. In a year in which nothing changes the chance of any false alarm is at most 5 %.

# %%
pd.DataFrame([vars(monitor) for monitor in watched.status.monitors]).head(8)

# %%
watched.to_frame().plot(x="number", y="evidence", title="evidence of a change; 1 is an alarm")
