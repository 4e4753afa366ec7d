"""The training images nearest to an image in the embedding of the classifier.

They show what is similar to the network. They do not show that the head would answer otherwise
without them.

Shape suffixes: N images, R references.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.bundle.onnx_runtime import run_session
from holotype.bundle.references import cosines_NR
from holotype.errors import ImageError, UsageError
from holotype.explanation.heatmap_drawing import scaled_rgb
from holotype.imaging.decode import Image, decode

FileLookup = Callable[[str], Path | None]  # the path in the index -> where that image is now

_SIDE = 160  # pixels of an image that is shown


@dataclass(frozen=True, eq=False)
class SimilarImage:
    """One training image.

    Attributes:
        name: its path in the index of the training.
        class_name: its label.
        cosine: of the angle between the two embeddings; 1 is the same direction.
        image: None where its file is no longer found.
    """

    name: str
    class_name: str
    cosine: float
    image: PillowImage.Image | None


def find_nothing(name: str) -> Path | None:
    """The lookup of a bundle without its run."""
    return None


def nearest_training_images(
    bundle: Bundle, image: Image, count: int, *, find_file: FileLookup = find_nothing
) -> list[SimilarImage]:
    """The training images with the nearest embeddings, the most alike first.

    Of a classifier with members, the cosine is the mean over the members that know the image.

    Raises:
        UsageError: the bundle holds no embeddings of its training images.
    """
    cosines: dict[str, list[float]] = {}
    class_of: dict[str, str] = {}
    for base in bundle.base_models:
        references = base.references
        if references is None:
            continue
        input_NCHW = base.preprocessing(image)[None]
        (embedding_ND,) = run_session(base.backbone, input_NCHW, ["embedding"])
        row_R = cosines_NR(references, embedding_ND)[0]
        for name, target, cosine in zip(
            references.names, references.targets_R.tolist(), row_R.tolist(), strict=True
        ):
            cosines.setdefault(name, []).append(cosine)
            class_of[name] = base.classes[target]
    if not cosines:
        raise UsageError(
            f"--similar: {bundle.name} keeps no references to its training images, since they "
            "tell something about them; train with --set references=true to keep them."
        )
    mean = {name: sum(values) / len(values) for name, values in cosines.items()}
    nearest = sorted(mean, key=lambda name: (-mean[name], name))[:count]
    return [
        SimilarImage(name, class_of[name], mean[name], _image(bundle, find_file(name)))
        for name in nearest
    ]


def _image(bundle: Bundle, file: Path | None) -> PillowImage.Image | None:
    with suppress(ImageError):
        if file is not None:
            image = decode(
                file, minimum_size=(_SIDE, _SIDE), bits=bundle.preprocessing.bits,
                tolerate_truncated=bundle.preprocessing.tolerate_truncated,
            )  # fmt: skip
            return scaled_rgb(image, bundle.preprocessing.background, longest=_SIDE, shortest=_SIDE)
    return None
