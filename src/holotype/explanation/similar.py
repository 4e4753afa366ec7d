"""Training pictures that look most alike to a picture, as the classifier sees them.

"It says this because it looks like these": nearest neighbours in the embedding that the head reads.
They show what the network takes for alike. They do not show that the head would answer otherwise
without them.

Shape suffixes: N pictures, R references.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as PillowImage

from holotype.bundle.bundle import Bundle
from holotype.bundle.graphs import call
from holotype.bundle.references import cosines_NR
from holotype.errors import ImageRefused, UsageError
from holotype.explanation.drawing import shown
from holotype.images import Image, decode

FileOf = Callable[[str], Path | None]  # the path in the index -> where that picture is now

_SIDE = 160  # pixels of a picture that is shown


@dataclass(frozen=True, eq=False)
class Similar:
    """One training picture.

    Attributes:
        name: its path in the index of the training.
        class_name: its label.
        cosine: of the angle between the two embeddings; 1 is the same direction.
        picture: None where its file is no longer found.
    """

    name: str
    class_name: str
    cosine: float
    picture: PillowImage.Image | None


def nowhere(name: str) -> Path | None:
    """The pictures of a bundle whose run is not at hand."""
    return None


def similar(
    bundle: Bundle, image: Image, count: int, *, file_of: FileOf = nowhere
) -> list[Similar]:
    """The training pictures with the nearest embeddings, the most alike first.

    Of a classifier with members, the cosine is the mean over the members that know the picture.

    Raises:
        UsageError: the bundle holds no embeddings of its training pictures.
    """
    cosines: dict[str, list[float]] = {}
    class_of: dict[str, str] = {}
    for leaf in bundle.leaves:
        references = leaf.references
        if references is None:
            continue
        input_NCHW = leaf.preprocessing(image)[None]
        (embedding_ND,) = call(leaf.backbone, input_NCHW, ["embedding"])
        row_R = cosines_NR(references, embedding_ND)[0]
        for name, target, cosine in zip(
            references.names, references.targets_R.tolist(), row_R.tolist(), strict=True
        ):
            cosines.setdefault(name, []).append(cosine)
            class_of[name] = leaf.classes[target]
    if not cosines:
        raise UsageError(
            f"--similar: {bundle.name} keeps no references to its training pictures, since they "
            "tell something about them; train with --set references=true to keep them."
        )
    mean = {name: sum(values) / len(values) for name, values in cosines.items()}
    nearest = sorted(mean, key=lambda name: (-mean[name], name))[:count]
    return [
        Similar(name, class_of[name], mean[name], _picture(bundle, file_of(name)))
        for name in nearest
    ]


def _picture(bundle: Bundle, file: Path | None) -> PillowImage.Image | None:
    with suppress(ImageRefused):
        if file is not None:
            image = decode(file, minimum_size=(_SIDE, _SIDE))
            return shown(image, bundle.preprocessing.background, longest=_SIDE, shortest=_SIDE)
    return None
