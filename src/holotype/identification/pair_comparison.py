"""Do two images show the same individual?"""

from dataclasses import dataclass, field
from typing import Any

from PIL import Image as PillowImage

from holotype.explanation.heatmap_drawing import captioned_row
from holotype.identification.matched_images import overlap
from holotype.notebook import html_image, html_result


@dataclass(frozen=True, repr=False)
class PairComparison:
    """Two images, and how probable it is that they show one individual.

    Attributes:
        first, second: the images.
        probability: that it is one individual, where that and its contrary were equally likely
            before, and the contrary means two individuals that look alike.
        cosine: of the embeddings.
        correlation: after registration, from 0 to 1.
        window: where `first` lies in `second`: start and extent down, start and extent across, as
            fractions of a side.
        notes: what a reader of the probability has to know.
        images: both, small, in RGB.
    """

    first: str
    second: str
    probability: float
    cosine: float
    correlation: float
    window: tuple[float, ...]
    notes: tuple[str, ...] = ()
    images: tuple[PillowImage.Image, PillowImage.Image] | None = field(default=None, compare=False)

    @property
    def is_same(self) -> bool:
        """Whether one individual is likelier than two."""
        return self.probability > 0.5

    @property
    def figure(self) -> PillowImage.Image:
        """Both images, and one over the other: the first in red, the second in cyan.

        Raises:
            ValueError: the images were not kept.
        """
        if self.images is None:
            raise ValueError("the images of this comparison were not kept")
        first, second = self.images
        panels = [first, second, overlap(first, second, self.window)]
        return captioned_row(panels, [(str(self), 14)])

    def __str__(self) -> str:
        what = "the same individual" if self.is_same else "two individuals"
        return (
            f"{what}: probability of the same {self.probability:.3f} (cosine {self.cosine:.3f}, "
            f"correlation {self.correlation:.3f})"
        )

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "images"} | {
            "window": list(self.window),
            "notes": list(self.notes),
            "is_same": self.is_same,
        }

    def _repr_html_(self) -> str:
        figure = html_image(self.figure, alt=str(self)) if self.images else ""
        return html_result(str(self), figure, notes=self.notes)
