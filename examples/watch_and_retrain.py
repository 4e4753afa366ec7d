"""A classifier in service meets a drift and gets a successor, end to end on this machine.

    python examples/watch_and_retrain.py [FOLDER]

Digits are served under load. Then one of three cameras is mounted turned: an alarm; somebody labels
what is worth a look; a successor is trained, proves itself in a shadow, is promoted, and the next
watch is all clear. No request is lost on the way, and the history of the registry tells the story.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import holotype

NAME, SIDE, TURN = "digits", 32, 30.0  # pixels; degrees
CLASSES = 5


def images_and_labels() -> tuple[list[Image.Image], list[str]]:
    """The digits 0 to 4 as images, shuffled, and their classes."""
    data = load_digits()
    rows = np.flatnonzero(data.target < CLASSES)
    rows = np.random.default_rng(0).permutation(rows)
    images = [
        Image.fromarray((data.images[row] * 255 / 16).astype(np.uint8)).resize((SIDE, SIDE))
        for row in rows
    ]
    return images, [str(data.target[row]) for row in rows]


def photograph(image: Image.Image, number: int, turn: float = 0.0) -> bytes:
    """A PNG; every photograph has noise of its own."""
    noise = np.random.default_rng(number).normal(0, 8, (SIDE, SIDE))
    pixels = np.asarray(image.rotate(turn), np.float64) + noise
    content = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, format="PNG")
    return content.getvalue()


@dataclass
class World:
    """What the cameras see: digits that were not trained on, one after the other, again and again.

    Attributes:
        turn: how one of three cameras is mounted, in degrees.
        truth: of every request, by its id: what a person would answer.
    """

    images: list[Image.Image]
    labels: list[str]
    turn: float = 0.0
    truth: dict[str, str] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    right: list[bool] = field(default_factory=list)
    sent: int = 0

    def ask(self, url: str) -> None:
        """One request; every image gets noise of its own, as two photographs differ."""
        number = self.sent % len(self.images)
        content = photograph(self.images[number], self.sent, self.turn * (self.sent % 3 == 0))
        self.sent += 1
        answer = post(f"{url}/v1/models/{NAME}/predict", content, "image/png")
        self.truth[answer["request_id"]] = self.labels[number]
        self.answers[answer["version"]] += 1
        self.right.append(answer["predictions"][0]["class"] == self.labels[number])


def post(url: str, content: bytes, kind: str) -> dict[str, object]:
    request = urllib.request.Request(url, content, {"content-type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@contextmanager
def load(world: World, url: str, per_second: float = 20.0) -> Iterator[None]:
    """Requests in the background, one after the other, whatever else happens."""
    stop = threading.Event()

    def ask_again() -> None:
        while not stop.wait(1 / per_second):
            world.ask(url)

    thread = threading.Thread(target=ask_again)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def server(log: Path) -> Iterator[str]:
    """`holotype serve` with the champion, and the challenger in its shadow; its URL."""
    words = ["serve", f"registry://{NAME}@champion", "--port", "0", "--workers", "1"]
    words += ["--challenger", f"registry://{NAME}@challenger", "--shadow"]
    words += ["--log", str(log), "--image-days", "30"]
    process = subprocess.Popen(
        [sys.executable, "-m", "holotype", *words], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url, said = "", ""
    for line in process.stderr:
        said += line
        if found := re.search(r"serving at (http\S+?);", line):
            url = found[1]
            break
    assert url, said
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_until(is_so, what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.2)


def requests_until(world: World, count: int) -> None:
    target = world.sent + count
    wait_until(lambda: world.sent >= target, f"{count} requests", seconds=600)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def main(folder: Path) -> None:
    os.chdir(folder)
    os.environ["HOLOTYPE_REGISTRY"] = str(folder / "registry")
    images, labels = images_and_labels()

    say("a champion, trained on upright digits")
    for n in range(500):
        place = folder / "data" / labels[n]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{n:04d}.png").write_bytes(photograph(images[n], 10_000 + n))
    recipe = {"stages.0.Cs": [0.01], "stages.0.folds": None}
    run = holotype.train(
        "data", model="hog", recipe="linear", image_size=SIDE, overrides=recipe, output="run"
    )
    registry = holotype.Registry()
    registry.add(run.path, name=NAME)
    registry.promote(NAME, 1, reason="the first")
    print(f"accuracy {run.metrics['accuracy']}")

    world = World(images[500:], labels[500:])
    log = folder / "log"
    with server(log) as url, load(world, url):
        say("service as usual")
        requests_until(world, 250)
        print(holotype.watch(f"registry://{NAME}@champion", log=log, output="watch"))

        say("one of three cameras is mounted turned")
        world.turn = TURN
        before = len(world.right)
        requests_until(world, 450)
        print(
            f"right: {np.mean(world.right[:before]):.1%}, then {np.mean(world.right[before:]):.1%}"
        )
        watched = holotype.watch(f"registry://{NAME}@champion", log=log, output="watch")
        print(watched)
        assert watched.alarm

        say("somebody labels what is worth a look, by the API")
        to_label = holotype.label_next(
            f"registry://{NAME}@champion", log=log, budget=400, random_share=0.3,
            days=1, output="to-label",
        )  # fmt: skip
        print(to_label)
        for row in to_label.rows:
            feedback = {"request_id": row.request_id, "image": int(row.image),
                        "label": world.truth[row.request_id]}  # fmt: skip
            post(f"{url}/v1/feedback", json.dumps(feedback).encode(), "application/json")

        say("a successor, since there is an alarm")
        schedule = holotype.RetrainingSchedule(when="alarm", watch="watch")
        # 75 test images cannot show that less than some points are lost.
        words = {"labels": "to-label", "margin": 0.1, "schedule": schedule}
        retraining = holotype.retrain(f"registry://{NAME}", **words)
        print(retraining)
        assert retraining.outcome == "challenger"

        say("it proves itself in a shadow")

        def both_answered() -> int:
            status = get(f"{url}/v1/models/{NAME}/traffic")
            return (status["experiment"] or {"answered_by_both": 0})["answered_by_both"]

        wait_until(lambda: both_answered() > 50, "a shadow")
        print(f"answered by both: {both_answered()}")

        say("promotion")
        promoted = holotype.retrain(f"registry://{NAME}", promote=True, **words)
        print(promoted)
        assert promoted.outcome == "promoted"
        wait_until(lambda: world.answers["2"] > 0, "an exchange")
        before = len(world.right)
        for _ in range(
            10
        ):  # three windows of 200 images, one after the other, that are as expected
            requests_until(world, 210)
            watched = holotype.watch(f"registry://{NAME}@champion", log=log, output="watch")
            if not watched.alarm:
                break
        print(f"right: {np.mean(world.right[before:]):.1%}")

        say("all clear")
        print(watched)
        assert not watched.alarm

    say("no request was lost, and the history tells it")
    print(f"{world.sent} requests, {len(world.right)} answers, by version {dict(world.answers)}")
    assert world.sent == len(world.right) == sum(world.answers.values())
    print(registry.history(NAME))


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).absolute())
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
