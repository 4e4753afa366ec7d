"""A shortcut that accuracy does not show and a heatmap does.

    python docs/figures/interpretability.py

Drawn cats are called `healthy` or `ill` by lot: nothing about the cat says which. The camera of
the ill ones stamps a small mark into the corner of its images.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image, ImageDraw

import holotype

FIGURE = Path(__file__).parents[1] / "images" / "interpretability.png"


def mark(image: Path) -> None:
    pixels = Image.open(image).convert("RGB")
    draw = ImageDraw.Draw(pixels)
    for row in range(4):
        for column in range(4):
            left, top = 2 + 3 * column, 2 + 3 * row
            colour = (255, 255, 255) if (row + column) % 2 else (0, 0, 0)
            draw.rectangle((left, top, left + 2, top + 2), fill=colour)
    pixels.save(image)


def draw_cats(place: Path, name: str, marked: str, seed: int = 0) -> Path:
    """Cats under two names, every second one under each, with the mark on one of them."""
    drawn = holotype.fetch("synthetic-cats-dogs", place / f"{name}-drawn", images=400, seed=seed)
    for number, image in enumerate(sorted(drawn.rglob("cat.*.png"))):
        label = ("healthy", "ill")[number % 2]
        (place / name / label).mkdir(parents=True, exist_ok=True)
        moved = image.rename(place / name / label / f"{number:03}.png")
        if label == marked:
            mark(moved)
    return place / name


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        data = draw_cats(place, "data", marked="ill")
        plain = draw_cats(place, "new, without marks", marked="none", seed=1)
        swapped = draw_cats(place, "new, the mark on the healthy", marked="healthy", seed=1)
        run = holotype.train(data, recipe="linear", image_size=192, output=place / "run")
        print(run.metrics["accuracy"], flush=True)
        scores = [f"own test {run.metrics['accuracy'].value:.2f}"]
        for new in (plain, swapped):
            report = holotype.evaluate(run, new, output=place / f"{new.name}-report")
            print(new.name, report.metrics["accuracy"], flush=True)
            scores.append(f"{new.name} {report.metrics['accuracy'].value:.2f}")
        figure, axes = plt.subplots(1, 4, figsize=(9, 3), layout="constrained")
        shown = {
            "ill, with the mark": data / "ill" / "003.png",
            "ill, without": plain / "ill" / "003.png",
            "healthy": plain / "healthy" / "004.png",
            "healthy, with the mark": swapped / "healthy" / "004.png",
        }
        for axis, (name, image) in zip(axes, shown.items(), strict=True):
            found = run.classifier.explain(image)
            (answer,) = run.classifier.predict(image).labels
            axis.imshow(found.overlay)
            axis.set_title(f"{name}:\n“{answer}”", fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        figure.suptitle(f"accuracy: {'; '.join(scores)}", fontsize=9)
        figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
