"""The base of every section of a recipe: immutable, unknown keys are errors."""

from pydantic import BaseModel, ConfigDict


class RecipeSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
