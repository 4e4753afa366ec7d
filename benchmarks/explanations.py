"""Do heatmaps point at what the classifier looks at? Three checks on images with known regions.

    .venv/bin/python benchmarks/explanations.py --output runs/explanations

A linear head on `efficientnet_lite0` at 384 pixels (a map of 12 x 12 cells), trained on 800
images of the synthetic set (seed 0). Asked are new ones (seed 10); nothing was chosen on these.

- The pointing game: is the hottest place within the box around the object? Strictly, and with the
  paper's tolerance of 3 % of the side. Chance is how often the same places lie in the boxes of
  the other images; a point drawn by lot would hit the box's share of the image (area). The
  same for networks whose weights are all drawn anew; a cold map points nowhere.
- Deletion and insertion: areas under the curves, by the map and in an order drawn by lot.
- Randomisation: the rank correlation of the map with that of the network whose uppermost layers
  are drawn anew, from the head alone down to all layers.

Every heatmap is that of the image's own class. Intervals are Wilson's, of images; those of
redrawn networks take each image once for each network, so they are somewhat too narrow. Slower
methods see the first few images of each class. Each finished part is kept as JSON in the output.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from heatmap_checks import (
    deletion_insertion,
    deletion_insertion_at_random,
    dilated,
    pointing_game_chance,
    pointing_game_hit,
    weight_randomisation_test,
)
from numpy.typing import NDArray
from PIL import Image as PillowImage
from randomised_layers import layers_top_down, randomise_layers

import holotype
from holotype.bundle.bundle import Bundle, load_bundle
from holotype.dataset.sources.synthetic import MASK_FOLDER, make_synthetic
from holotype.evaluation.intervals import wilson
from holotype.explanation.available_methods import (
    GRADIENT_METHODS,
    ExplainMethod,
    ExplainMethodName,
)
from holotype.explanation.compute_heatmap import heatmap, size_to_decode
from holotype.explanation.torch_models import TorchModels
from holotype.imaging.decode import Image, decode

TOLERANCE = 0.03
METHODS: tuple[ExplainMethodName, ...] = ("gradcam++", "occlusion", "integrated-gradients")
FEW: tuple[ExplainMethodName, ...] = ("occlusion", "integrated-gradients")
REDRAWN = 3  # networks
SHARES = (0.1, 0.5, 1.0)  # of the layers, from the top; the head alone comes first


@dataclass(frozen=True, eq=False)
class Known:
    """An image, its class, and the box around its object."""

    image: Image
    class_name: str
    box_HW: NDArray[np.bool_]


def known(folder: Path, count: int, bundle: Bundle) -> list[Known]:
    """The first images of each class, in turn."""
    files = sorted(folder.glob("[!.]*/*.png"), key=lambda file: (file.name, file.parent.name))
    found = []
    for file in files[:count]:
        with PillowImage.open(folder / MASK_FOLDER / file.parent.name / file.name) as mask:
            left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
            box_HW = np.zeros(mask.size[::-1], bool)
        box_HW[top:bottom, left:right] = True
        image = decode(file, minimum_size=size_to_decode(bundle))
        found.append(Known(image, file.parent.name, box_HW))
    return found


def pointing(
    bundle: Bundle, images: Sequence[Known], explain_method: ExplainMethod
) -> dict[str, Any]:
    """How often the hottest place is in the box, and how often it is in those of the others."""
    heats_HW = [
        heatmap(
            bundle, one.image, bundle.classes.index(one.class_name), explain_method=explain_method
        ).resized_to(one.image.pixels.size)
        for one in images
    ]
    boxes_HW = [one.box_HW for one in images]
    wide_HW = [dilated(box_HW, TOLERANCE) for box_HW in boxes_HW]
    return {
        "images": len(images),
        "strict": sum(map(pointing_game_hit, heats_HW, boxes_HW)),
        "tolerant": sum(map(pointing_game_hit, heats_HW, wide_HW)),
        "chance": pointing_game_chance(heats_HW, boxes_HW),
        "chance_tolerant": pointing_game_chance(heats_HW, wide_HW),
        "area": float(np.mean(boxes_HW)),
        "cold": sum(not heat_HW.any() for heat_HW in heats_HW),
    }


def areas(
    bundle: Bundle, images: Sequence[Known], explain_method: ExplainMethod | None
) -> dict[str, Any]:
    """Mean areas of deletion and insertion, by a map or, without a way, in an order by lot."""
    deletion, insertion = [], []
    for number, one in enumerate(images):
        class_index = bundle.classes.index(one.class_name)
        if explain_method is None:
            seen = deletion_insertion_at_random(bundle, one.image, class_index, seed=number)
        else:
            seen = deletion_insertion(
                bundle,
                one.image,
                heatmap(bundle, one.image, class_index, explain_method=explain_method),
            )
        deletion.append(seen.deletion_auc)
        insertion.append(seen.insertion_auc)
    return {
        "images": len(images),
        "deletion": float(np.mean(deletion)),
        "insertion": float(np.mean(insertion)),
    }


def correlations(
    bundle: Bundle, images: Sequence[Known], networks: TorchModels
) -> dict[str, list[float]]:
    """Of Grad-CAM: mean and standard deviation over images, for each number of layers."""
    names = layers_top_down(networks(bundle))
    counts = [1, *(max(2, round(share * len(names))) for share in SHARES)]
    changed = [randomise_layers(networks(bundle), names[:count], seed=0) for count in counts]
    rows = [
        weight_randomisation_test(
            bundle, one.image, ExplainMethod("gradcam", "top", networks),
            [lambda _, other=other: other for other in changed],
            bundle.classes.index(one.class_name),
        )
        for one in images
    ]  # fmt: skip
    values = np.array(rows)
    return {
        f"{count} of {len(names)} layers": [float(column.mean()), float(column.std())]
        for count, column in zip(counts, values.T, strict=True)
    }


def parts(
    bundle: Bundle, run: Path, images: list[Known], few: int
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is measured, by the name under which it is kept."""
    networks = TorchModels(run)
    yield "pointing cam", lambda: pointing(bundle, images, ExplainMethod("cam"))
    names = layers_top_down(networks(bundle))
    for seed in range(REDRAWN):
        other = randomise_layers(networks(bundle), names, seed=seed)
        explain_method = ExplainMethod("gradcam", "top", lambda _, other=other: other)
        yield f"pointing redrawn {seed}", lambda w=explain_method: pointing(bundle, images, w)
    for method in METHODS:
        layer = "top" if method == "gradcam++" else None
        explain_method = ExplainMethod(
            method, layer, networks if method in GRADIENT_METHODS else None
        )
        shown = images[:few] if method in FEW else images
        yield f"pointing {method}", lambda w=explain_method, s=shown: pointing(bundle, s, w)
    yield "areas cam", lambda: areas(bundle, images[:few], ExplainMethod("cam"))
    yield "areas by lot", lambda: areas(bundle, images[:few], None)
    yield "correlations", lambda: correlations(bundle, images[:few], networks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/explanations"))
    parser.add_argument("--run", type=Path, help="take this run instead of training one")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--few", type=int, default=24)
    asked = parser.parse_args()
    run = asked.run or asked.output / "run"
    if asked.run is None and not run.exists():
        shapes = make_synthetic(asked.output / "train", classes=4, images=800, seed=0)
        holotype.train(
            shapes, output=run, recipe="linear", model="efficientnet_lite0", image_size=384
        )
    new = asked.output / "new"
    if not new.exists():
        make_synthetic(new, classes=4, images=asked.images, seed=10)
    bundle = load_bundle(run)
    images = known(new, asked.images, bundle)
    for name, measured in parts(bundle, run, images, asked.few):
        file = asked.output / f"{name.replace(' ', '-')}.json"
        if not file.exists():
            file.write_text(json.dumps(measured(), indent=2), encoding="utf-8")
        _print(name, json.loads(file.read_text(encoding="utf-8")))


def _print(name: str, said: dict[str, Any]) -> None:
    if "strict" not in said:
        print(f"{name:30} {said}", flush=True)
        return
    shares = []
    for key in ("strict", "tolerant"):
        low, high = wilson(said[key] / said["images"], said["images"])
        shares.append(f"{said[key] / said['images']:.3f} [{low:.3f}, {high:.3f}]")
    print(
        f"{name:30} {shares[0]}  chance {said['chance']:.3f}   within 3 %: {shares[1]}  "
        f"chance {said['chance_tolerant']:.3f}   area {said['area']:.3f}   cold {said['cold']} "
        f"  n = {said['images']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
