"""Which part of a picture speaks for a class, without torch.

The evidence for class c is the log-odds log(p_c / (1 - p_c)): the logit of c against the
classes that compete with it, each with the share that it has of the rest of the probability.
Like the softmax it does not change when something is added to all logits, so what is hot is
what speaks for c *rather than for another class*; the plain map of a single logit (Zhou et
al. 2016) would also show what speaks for all of them. Three ways to the evidence in a place:

- `exact`: the network ends with the mean over the cells of its feature map and a linear head,
  so the logits are the mean of the logits of the cells: class activation maps, Zhou et al. 2016,
  "Learning Deep Features for Discriminative Localization".
- `cells`: the head is not linear, but makes sense of single cells: an approximation.
- `none`: the network has no such map. A patch of the input is set to the mean colour, and the
  loss of evidence is noted, place by place: Zeiler & Fergus 2014, "Visualizing and
  Understanding Convolutional Networks", section 4.2.

Of a classifier with members the map is the mean of theirs over the picture, each weighted as its
answer for the class is. Where a classifier averages over views, the map is that of the plain one.

Not covered: whether the network is right to look there, and evidence against a class.

Shape suffixes: H height, W width, D embedding, C classes; h and w are those of the feature map.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.bundle.graphs import call
from holotype.bundle.inference import predict_image, run_head
from holotype.errors import UnknownClass, did_you_mean
from holotype.explanation.drawing import overlay, sheet, shown
from holotype.files import replacing
from holotype.images import Image, decode
from holotype.predictions import softmax
from holotype.preprocessing import Preprocessing

MEAN_SIDE = 160  # of the mean map over the picture: finer than any network's cells
OCCLUDED_GRID = 8  # places along each side; a patch is twice as wide as their distance
METHODS = {
    "exact": "class activation map",
    "cells": "class activation map, approximate",
    "none": "occlusion map",
}


@dataclass(frozen=True, eq=False)
class Heatmap:
    """How much each place of a picture speaks for a class.

    Attributes:
        cells_hw: float32 in [0, 1] over the network's frame, 1 where the evidence is greatest;
            all 0 when nothing speaks for the class.
        preprocessing: how the picture was laid into that frame.
        class_index: which class.
        class_name: its name.
        probability: of this class for the whole picture.
        method: how the map was made, in words.
        box: left, top, right, bottom of the part that was framed, as fractions of the picture.
    """

    cells_hw: NDArray[np.float32]
    preprocessing: Preprocessing
    class_index: int
    class_name: str
    probability: float
    method: str
    box: tuple[float, float, float, float] = (0, 0, 1, 1)

    def over(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The map over the upright picture itself, at any size (width, height) of its shape.

        What was cropped away, and so never seen, is 0.
        """
        left, top, right, bottom = (round(self.box[side] * size[side % 2]) for side in range(4))
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        whole_HW = np.zeros(size[::-1], np.float32)
        whole_HW[top:bottom, left:right] = self._over_part((right - left, bottom - top))
        return whole_HW

    def _over_part(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The map over what was framed of the picture."""
        cells = PillowImage.fromarray(self.cells_hw)
        if self.preprocessing.fit == "squash":
            return _resized(cells, size)
        box_width, box_height = frame_in(size, self.preprocessing)
        if self.preprocessing.fit == "pad":
            left = (1 - size[0] / box_width) / 2 * cells.width
            top = (1 - size[1] / box_height) / 2 * cells.height
            return _resized(cells, size, (left, top, cells.width - left, cells.height - top))
        seen_HW = _resized(cells, (max(1, round(box_width)), max(1, round(box_height))))
        whole_HW = np.zeros(size[::-1], np.float32)
        top, left = (np.array(whole_HW.shape) - seen_HW.shape) // 2
        whole_HW[top : top + seen_HW.shape[0], left : left + seen_HW.shape[1]] = seen_HW
        return whole_HW


def heatmap(
    bundle: Bundle, source: Image | Path | bytes, class_index: int | None = None
) -> Heatmap:
    """The heatmap of one picture for one class; for the predicted class by default.

    Raises:
        ImageRefused: the picture cannot be used.
    """
    if isinstance(source, Image):
        image = source
    else:
        image = decode(source, minimum_size=size_to_decode(bundle))
    if not bundle.members:
        return _of_network(bundle, image, class_index)
    probabilities_C = predict_image(bundle, image)
    if class_index is None:
        class_index = int(probabilities_C.argmax())
    return _mean_of_members(bundle, image, class_index, float(probabilities_C[class_index]))


def _mean_of_members(bundle: Bundle, image: Image, class_index: int, probability: float) -> Heatmap:
    """The mean of the members' maps over the picture, weighted as their answers are."""
    assert bundle.combination is not None
    maps = [heatmap(member, image, class_index) for member in bundle.members]
    weights_M = bundle.combination.weights_for(len(bundle.classes))[class_index]
    width, height = image.pixels.size
    scale = MEAN_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mean_HW = sum(
        (weight * found.over(size) for weight, found in zip(weights_M, maps, strict=True)),
        np.zeros(size[::-1]),
    )
    methods = ", ".join(dict.fromkeys(found.method for found in maps))
    return Heatmap(
        cells_hw=(mean_HW / max(mean_HW.max(), 1e-12)).astype(np.float32),
        preprocessing=replace(bundle.preprocessing, fit="squash", content="whole"),
        class_index=class_index,
        class_name=bundle.classes[class_index],
        probability=probability,
        method=f"mean over {len(maps)} members: {methods}",
    )


def _of_network(bundle: Bundle, image: Image, class_index: int | None) -> Heatmap:
    preprocessing = bundle.preprocessing
    input_CHW = preprocessing(image)
    embedding_D, cells_hwD = _seen_by_backbone(bundle, input_CHW)
    logits_C = run_head(bundle, embedding_D[None])[0]
    if bundle.views == "one":
        probabilities_C = softmax(logits_C[None], bundle.temperature)[0]
    else:
        probabilities_C = predict_image(bundle, image)
    if class_index is None:
        class_index = int(probabilities_C.argmax())
    if cells_hwD is not None:
        evidence_hw = _evidence_in_cells(bundle, cells_hwD, logits_C, class_index)
    else:
        evidence_hw = _evidence_lost_behind_patches(bundle, input_CHW, logits_C, class_index)
    positive_hw = np.maximum(evidence_hw, 0)
    return Heatmap(
        cells_hw=(positive_hw / max(positive_hw.max(), 1e-12)).astype(np.float32),
        preprocessing=preprocessing,
        class_index=class_index,
        class_name=bundle.classes[class_index],
        probability=float(probabilities_C[class_index]),
        method=METHODS[bundle.manifest.cam],
        box=_fractions(preprocessing.box(image), image.pixels.size),
    )


def explain(
    bundle: Bundle, path: str | Path, output: str | Path, *, class_name: str | None = None
) -> Heatmap:
    """Write a PNG: the picture, the heatmap over it, and what they show in words.

    Args:
        bundle: the classifier.
        path: the picture.
        output: the PNG file to write.
        class_name: the class to look for; the predicted one by default.

    Raises:
        ImageRefused: the picture cannot be used.
        UnknownClass: the classifier has no such class.
    """
    class_index = None if class_name is None else class_index_of(bundle, class_name)
    image = decode(Path(path), minimum_size=size_to_decode(bundle))
    found = heatmap(bundle, image, class_index)
    picture = shown(image, bundle.preprocessing.background, longest=480, shortest=240)
    laid_over = overlay(np.asarray(picture), found.over(picture.size))
    if found.cells_hw.any():
        meaning = f"bright: what speaks for {found.class_name!r} rather than for another class"
    else:
        meaning = f"no place in this picture speaks for {found.class_name!r}"
    page = sheet(
        [picture, PillowImage.fromarray(laid_over)],
        [(f"{found.class_name}: {found.probability:.1%}", 18), (f"{meaning} ({found.method})", 12)],
    )
    with replacing(Path(output)) as temporary:
        page.save(temporary, format="PNG")
    return found


def size_to_decode(bundle: Bundle) -> tuple[int, int] | None:
    """(width, height) for `images.decode` that is enough for every member."""
    widths, heights = [], []
    for leaf in bundle.leaves:
        size = leaf.preprocessing.minimum_size
        if size is None:
            return None
        widths.append(size[0])
        heights.append(size[1])
    return max(widths), max(heights)


def class_index_of(bundle: Bundle, name: str) -> int:
    """The number of a class.

    Raises:
        UnknownClass: there is none of this name; the nearest one is suggested.
    """
    if name not in bundle.classes:
        raise UnknownClass(
            f"the classifier has no class {name!r}{did_you_mean(name, bundle.classes)}. "
            f"It knows: {', '.join(bundle.classes)}."
        )
    return bundle.classes.index(name)


def cell_logits(bundle: Bundle, cells_hwD: NDArray[np.float32]) -> NDArray[np.float32]:
    """The head's logits (h, w, C) of every cell of a feature map.

    Where the manifest says `exact` their mean over the cells is the logits of the picture.
    """
    h, w, D = cells_hwD.shape
    return run_head(bundle, cells_hwD.reshape(h * w, D)).reshape(h, w, -1)


def frame_in(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float]:
    """Width and height of the network's frame, measured in pixels of a picture of this size.

    The frame and the picture share their centre. Of a cropped picture the frame shows a part,
    around a padded one it leaves a border.
    """
    scales = preprocessing.width / size[0], preprocessing.height / size[1]
    scale = max(scales) if preprocessing.fit == "crop" else min(scales)
    return preprocessing.width / scale, preprocessing.height / scale


def _fractions(
    box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    width, height = size
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _seen_by_backbone(
    bundle: Bundle, input_CHW: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The embedding (D,) and, where class activation maps make sense, the cells (h, w, D)."""
    outputs = ["embedding"] if bundle.manifest.cam == "none" else ["embedding", "feature_map"]
    embedding_ND, *maps = call(bundle.backbone, input_CHW[None], outputs)
    return embedding_ND[0], maps[0][0].transpose(1, 2, 0) if maps else None


def _evidence_in_cells(
    bundle: Bundle, cells_hwD: NDArray[np.float32], logits_C: NDArray[Any], class_index: int
) -> NDArray[np.float64]:
    """The logit of the class in each cell against its competitors, by their shares."""
    logits_hwC = cell_logits(bundle, cells_hwD).astype(np.float64)
    competitors_hwK = np.delete(logits_hwC, class_index, axis=2)
    shares_K = softmax(np.delete(logits_C, class_index)[None], bundle.temperature)[0]
    return np.asarray(logits_hwC[:, :, class_index] - competitors_hwK @ shares_K)


def _evidence_lost_behind_patches(
    bundle: Bundle, input_CHW: NDArray[np.float32], logits_C: NDArray[Any], class_index: int
) -> NDArray[np.float64]:
    """How much evidence is lost when a patch is set to the mean colour, which is 0 here."""
    _, H, W = input_CHW.shape
    grid = OCCLUDED_GRID
    lost_hw = np.empty((grid, grid))
    before = _log_odds(logits_C[None], class_index, bundle.temperature)[0]
    for row in range(grid):
        occluded_NCHW = np.repeat(input_CHW[None], grid, axis=0)
        top, bottom = _patch(row, H)
        for column in range(grid):
            left, right = _patch(column, W)
            occluded_NCHW[column, :, top:bottom, left:right] = 0
        (embedding_ND,) = call(bundle.backbone, occluded_NCHW, ["embedding"])
        after_N = _log_odds(run_head(bundle, embedding_ND), class_index, bundle.temperature)
        lost_hw[row] = before - after_N
    return lost_hw


def _patch(number: int, side: int) -> tuple[int, int]:
    """Where the patch around a place of the grid begins and ends."""
    centre, reach = (number + 0.5) * side / OCCLUDED_GRID, side / OCCLUDED_GRID
    return max(0, round(centre - reach)), min(side, max(1, round(centre + reach)))


def _log_odds(logits_NC: NDArray[Any], class_index: int, temperature: float) -> NDArray[np.float64]:
    """log(p / (1 - p)) of a class, exact where p rounds to 1."""
    scaled_NC = logits_NC.astype(np.float64) / temperature
    others_NK = np.delete(scaled_NC, class_index, axis=1)
    return np.asarray(scaled_NC[:, class_index] - np.logaddexp.reduce(others_NK, axis=1))


def _resized(
    cells: PillowImage.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    resized_HW = np.asarray(cells.resize(size, PillowImage.Resampling.BILINEAR, box=box))
    return resized_HW.clip(0, 1)
