"""Stages become bundles, and validation seals what they answer with."""

import shutil
from typing import TYPE_CHECKING

from holotype.errors import InvalidRecipe
from holotype.narration import Narrator
from holotype.road.order import Order
from holotype.run import Run

if TYPE_CHECKING:
    from holotype.bundle.bundle import Bundle
    from holotype.bundle.views import ViewSet
    from holotype.dataset.index import Index
    from holotype.training.recipe import Recipe
    from holotype.training.train import Trained


def train_and_ship(
    order: Order, index: "Index", run: Run, narrator: Narrator
) -> "tuple[Trained, Bundle]":
    """Train, write the bundles, and seal the decisions that validation makes."""
    from holotype.training.descent import Means
    from holotype.training.train import train as train_stages

    recipe = order.recipe
    if recipe.test_views != "none" and len(index.part("val")) == 0:
        raise InvalidRecipe(
            f"recipe: test_views: {recipe.test_views} is sealed with what validation says of it, "
            "and validation has no pictures. Say none, or change --ratios."
        )
    means = Means(
        order.device, run.checkpoints, narrator, save_memory=order.save_memory, budget=order.budget
    )

    def keep(stage: str, best: "Trained") -> None:
        """What a stage left, as a run that could have been trained on its own."""
        if len(recipe.stages) > 1:
            part = run.stage(stage)
            part.path.mkdir(parents=True, exist_ok=True)
            # A process that was killed may have left it without its decision.
            shutil.rmtree(part.bundle, ignore_errors=True)
            _ship(recipe, index, best, part)
            index.write(part.index)
            part.write_recipe(recipe.up_to(stage).to_yaml())

    trained = train_stages(recipe, index, name=order.name, means=means, on_stage=keep)
    return trained, _ship(recipe, index, trained, run)


def _ship(recipe: "Recipe", index: "Index", trained: "Trained", run: Run) -> "Bundle":
    """Write history and bundle; validation chooses the views and fits the decision."""
    from holotype.bundle.bundle import write_bundle
    from holotype.training.history import write_history

    write_history(trained.history, run.history)
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head, manifest=trained.manifest
    )
    validation = index.part("val")
    if len(validation) == 0:
        return bundle
    return _decided(recipe, bundle, validation, trained, run)


def _decided(
    recipe: "Recipe", bundle: "Bundle", validation: "Index", trained: "Trained", run: Run
) -> "Bundle":
    from holotype.bundle.inference import predict
    from holotype.evaluation.decision import choose_views, decide, views_effect

    candidates = {
        views: predict(bundle, validation, views=views)[0] for views in _candidate_views(recipe)
    }
    views = next(reversed(candidates))
    if recipe.test_views == "auto":
        views = choose_views(candidates)
    bundle = bundle.with_decision(decide(candidates[views], views=views))
    if views != "one":
        trained.notes.append(views_effect(views, candidates["one"], candidates[views]).note())
    sealed, _ = predict(bundle, validation)  # embeddings are kept: this costs a head
    sealed.write(run.predictions / "val.parquet")
    return bundle


def _candidate_views(recipe: "Recipe") -> "list[ViewSet]":
    """The sets of views to try, the plain one first; `auto` tries what training saw too."""
    if recipe.test_views == "none":
        return ["one"]
    if recipe.test_views != "auto":
        return ["one", recipe.test_views]
    seen = {stage.augmentation.symmetry for stage in recipe.gradient_stages if stage.augmentation}
    candidates: list[ViewSet] = ["one"]
    if seen & {"horizontal", "both", "dihedral"}:
        candidates.append("mirror")
    if "dihedral" in seen:
        candidates.append("dihedral")
    return candidates
