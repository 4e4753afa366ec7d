"""The recipe's sections on augmentation and on mixing; `training.data` draws from them."""

from typing import Annotated, Literal

from pydantic import Field

from holotype.training.config.recipe_base import RecipeSection

Share = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(RecipeSection):
    """Random changes of a training image; the first view of each is always the image itself.

    Attributes:
        symmetry: which mirror images and quarter turns are equally likely: left and right, top
            and bottom, both, or `dihedral`, which adds the quarter turns, for images without
            an up, such as cells, slices and material. `auto` measures before training which of
            these hold for the training images; see `training.symmetry`.
        rotation_degrees: an angle is drawn from ± this.
        zoom: a scale is drawn from 1 ± this.
        shift: a shift is drawn from ± this fraction of the size. What a rotation, a zoom or a
            shift uncovers shows the image's own mirror image.
        crop: a window is cut out that keeps at least this share of the content, by the area of
            its bounding box; 1 cuts nothing. See `Preprocessing.content` for what content is.
        brightness, contrast, saturation: a factor is drawn from 1 ± this. Grey images have no
            saturation and no hue.
        hue: a turn is drawn from ± this fraction of the colour circle.
        erasing: probability that noise replaces a random rectangle of a view (Zhong et al. 2020,
            "Random Erasing Data Augmentation").
    """

    symmetry: Literal["none", "horizontal", "vertical", "both", "dihedral", "auto"] = "horizontal"
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    zoom: Annotated[float, Field(ge=0, le=0.8)] = 0.1
    shift: Share = 0.05
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    brightness: Share = 0.1
    contrast: Share = 0.1
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def changes_anything(self) -> bool:
        """Whether a second view of an image can differ from the first."""
        still = Augmentation(
            symmetry="none", rotation_degrees=0, zoom=0, shift=0, brightness=0, contrast=0
        )
        return self != still


class MixRecipe(RecipeSection):
    """How often the images of a batch are mixed in pairs, and in which shares.

    Attributes:
        probability: that a batch is mixed.
        alpha: the share is drawn from Beta(alpha, alpha): near 0 or 1 for a small alpha, uniform
            for 1, near a half for a large one.
    """

    probability: Annotated[float, Field(gt=0, le=1)]
    alpha: Annotated[float, Field(gt=0)]
