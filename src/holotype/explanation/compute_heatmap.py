"""Heatmaps: the evidence for a class over an image.

Evidence is defined in `attribution`. Methods:

- `cam`, class activation maps. Where the bundle says `exact`, the network ends with the mean over
  the cells of its feature map and a linear head, so the logits are the mean of the logits of the
  cells: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization". Where it says
  `approximate`, the head is not linear, but can be applied to single cells.
- `occlusion`: a patch of the input is set to the mean colour, and the loss of evidence is mapped:
  Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. It
  works for any classifier, descriptors too.
- `gradcam`, `gradcam++`, `integrated-gradients` and `rollout` need torch (`gradient_attribution`).

The map of an ensemble is the mean of those of its members over the image, with their weights for
the class. Where a classifier averages over views, the map is that of the plain one.

Not covered: whether the network is right to look there, and evidence against a class;
benchmarks/explanations.py checks that maps show where the network looks.

Shape suffixes: H height, W width, C classes, M members; h and w are cells of a map.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.bundle.inference import image_probabilities, run_head
from holotype.dataset.class_names import class_name
from holotype.errors import UnknownClass, did_you_mean
from holotype.explanation.attribution import (
    class_activation_map,
    embedding_and_feature_map,
    gradient_attribution,
    occlusion_map,
)
from holotype.explanation.available_methods import (
    CAM_DESCRIPTIONS,
    OCCLUSION_DESCRIPTION,
    ExplainMethod,
)
from holotype.imaging.decode import Image, decode
from holotype.imaging.preprocessing import Preprocessing
from holotype.predictions import softmax

UNIFORM = 0.15  # a map whose values differ by less looks the same everywhere
MEAN_SIDE = 160  # of the mean map over the image: finer than any network's cells


@dataclass(frozen=True, eq=False)
class Heatmap:
    """The evidence for a class over the frame that the network saw.

    Attributes:
        values_hw: float32 in [0, 1] over the network's frame, 1 where the evidence is greatest;
            all 0 when there is none.
        preprocessing: from the image to that frame.
        class_index: which class.
        class_name: its name.
        probability: of this class for the whole image.
        method: how the map was made, in words.
        is_class_specific: whether the map would be another one for another class.
        box: left, top, right, bottom of the part that was framed, as fractions of the image.
    """

    values_hw: NDArray[np.float32]
    preprocessing: Preprocessing
    class_index: int
    class_name: str
    probability: float
    method: str
    is_class_specific: bool = True
    box: tuple[float, float, float, float] = (0, 0, 1, 1)

    @property
    def is_uniform(self) -> bool:
        """Whether no place stands out: there is about as much evidence everywhere, or none."""
        return float(np.ptp(self.values_hw)) < UNIFORM

    def resized_to(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The map over the upright image itself, at any size (width, height) of its shape.

        What was cropped away, and so never seen, is 0.
        """
        left, top, right, bottom = (round(self.box[side] * size[side % 2]) for side in range(4))
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        whole_HW = np.zeros(size[::-1], np.float32)
        whole_HW[top:bottom, left:right] = self._resized_to_box((right - left, bottom - top))
        return whole_HW

    def _resized_to_box(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The map over what was framed of the image."""
        cells = PillowImage.fromarray(self.values_hw)
        if self.preprocessing.fit == "squash":
            return _resized(cells, size)
        box_width, box_height = input_frame_size(size, self.preprocessing)
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
    bundle: Bundle,
    source: Image | Path | bytes,
    class_index: int | None = None,
    *,
    explain_method: ExplainMethod = ExplainMethod(),  # noqa: B008 - a frozen value
) -> Heatmap:
    """The heatmap of one image for one class; for the predicted class by default.

    Raises:
        ImageError: the image cannot be used.
        UsageError: this classifier cannot be explained this way.
    """
    if isinstance(source, Image):
        image = source
    else:
        preprocessing = bundle.preprocessing
        image = decode(
            source, minimum_size=size_to_decode(bundle), bits=preprocessing.bits,
            tolerate_truncated=preprocessing.tolerate_truncated,
        )  # fmt: skip
    if not bundle.members:
        return _heatmap_of_network(bundle, image, class_index, explain_method)
    probabilities_C = image_probabilities(bundle, image)
    if class_index is None:
        class_index = int(probabilities_C.argmax())
    return _mean_of_members(
        bundle, image, class_index, float(probabilities_C[class_index]), explain_method
    )


def _mean_of_members(
    bundle: Bundle,
    image: Image,
    class_index: int,
    probability: float,
    explain_method: ExplainMethod,
) -> Heatmap:
    """The mean of the members' maps over the image, weighted as their answers are."""
    assert bundle.ensemble_weights is not None
    maps = [
        heatmap(member, image, class_index, explain_method=explain_method)
        for member in bundle.members
    ]
    weights_M = bundle.ensemble_weights.weights_for(len(bundle.classes))[class_index]
    width, height = image.pixels.size
    scale = MEAN_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mean_HW = sum(
        (weight * found.resized_to(size) for weight, found in zip(weights_M, maps, strict=True)),
        np.zeros(size[::-1]),
    )
    methods = ", ".join(dict.fromkeys(found.method for found in maps))
    return Heatmap(
        values_hw=_normalise(mean_HW),
        preprocessing=replace(bundle.preprocessing, fit="squash", content="whole"),
        class_index=class_index,
        class_name=bundle.classes[class_index],
        probability=probability,
        method=f"mean over {len(maps)} {'member' if len(maps) == 1 else 'members'}: {methods}",
        is_class_specific=any(found.is_class_specific for found in maps),
    )


def _heatmap_of_network(
    bundle: Bundle, image: Image, class_index: int | None, explain_method: ExplainMethod
) -> Heatmap:
    preprocessing, method = bundle.preprocessing, explain_method.resolve(bundle)
    input_CHW = preprocessing(image)
    embedding_D, feature_map_hwD = embedding_and_feature_map(
        bundle, input_CHW, with_feature_map=method == "cam"
    )
    logits_C = run_head(bundle, embedding_D[None])[0]
    if bundle.views == "one":
        probabilities_C = softmax(logits_C[None], bundle.temperature)[0]
    else:
        probabilities_C = image_probabilities(bundle, image)
    if class_index is None:
        class_index = int(probabilities_C.argmax())
    if feature_map_hwD is not None:
        description = CAM_DESCRIPTIONS[bundle.manifest.cam]
        evidence_hw = class_activation_map(bundle, feature_map_hwD, logits_C, class_index)
    elif method == "occlusion":
        description = OCCLUSION_DESCRIPTION
        evidence_hw = occlusion_map(bundle, input_CHW, logits_C, class_index)
    else:
        assert explain_method.torch_model_of is not None
        evidence_hw, description = gradient_attribution(
            explain_method.torch_model_of(bundle),
            input_CHW,
            class_index,
            bundle.temperature,
            method,
            explain_method.layer,
        )
    return Heatmap(
        values_hw=_normalise(evidence_hw),
        preprocessing=preprocessing,
        class_index=class_index,
        class_name=bundle.classes[class_index],
        probability=float(probabilities_C[class_index]),
        method=description,
        is_class_specific=method != "rollout",
        box=_fractions(preprocessing.box(image), image.pixels.size),
    )


def _normalise(evidence_hw: NDArray[np.float64]) -> NDArray[np.float32]:
    """The positive evidence, 1 where it is greatest; all 0 where there is none."""
    positive_hw = np.maximum(evidence_hw, 0)
    return np.asarray(positive_hw / max(positive_hw.max(), 1e-12), np.float32)


def size_to_decode(bundle: Bundle) -> tuple[int, int] | None:
    """(width, height) for `decode` that is enough for every member."""
    widths, heights = [], []
    for base in bundle.base_models:
        size = base.preprocessing.minimum_size
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
    classes = [class_name(each) for each in bundle.classes]
    if class_name(name) not in classes:
        raise UnknownClass(
            f"the classifier has no class {name!r}{did_you_mean(name, bundle.classes)} "
            f"It knows: {', '.join(bundle.classes)}."
        )
    return classes.index(class_name(name))


def input_frame_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float]:
    """Width and height of the network's frame, measured in pixels of an image of this size.

    The frame and the image share their centre. Of a cropped image the frame shows a part,
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


def _resized(
    cells: PillowImage.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    resized_HW = np.asarray(cells.resize(size, PillowImage.Resampling.BILINEAR, box=box))
    return resized_HW.clip(0, 1)
