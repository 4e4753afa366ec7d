"""What every part of a recipe is: immutable, and without keys that nobody reads."""

from pydantic import BaseModel, ConfigDict


class RecipeSection(BaseModel):
    """Anything in a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
