"""Stages become bundles, and validation seals what they answer with."""

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from holotype.errors import InvalidRatios, InvalidRecipe
from holotype.narration import Narrator
from holotype.road.order import Order
from holotype.road.promised import references_from, sealed_with_sets, told_unknown
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
    from holotype.training.watch import Watch

    recipe = order.recipe
    means = Means(
        order.device, run.checkpoints, narrator, save_memory=order.save_memory,
        budget=order.budget, watch=order.watch or Watch(),
    )  # fmt: skip

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


def require_validation(recipe: "Recipe", index: "Index") -> None:
    """Refuse before any work what cannot be sealed at its end.

    Raises:
        InvalidRecipe: validation has no pictures, or too few for what it is to promise.
        InvalidRatios: a part was held back for sets of classes, but nothing can be sealed.
    """
    from holotype.evaluation.unknown import fewest_pictures

    table = index.part("val").table
    num_images = int((table["weight"] > 0).sum())
    if recipe.test_views != "none" and num_images == 0:
        raise InvalidRecipe(
            f"recipe: test_views: {recipe.test_views} is sealed with what validation says of it, "
            "and validation has no pictures. Say none, or change --ratios."
        )
    if recipe.unknown is not None and num_images < fewest_pictures(recipe.unknown):
        raise InvalidRecipe(
            f"recipe: unknown: {recipe.unknown:g} is a promise that takes at least "
            f"{fewest_pictures(recipe.unknown)} validation pictures, and there are {num_images}. "
            "Allow a larger share, or give validation more pictures with --ratios."
        )
    if num_images == 0 and len(index.part("cal")):
        raise InvalidRatios(
            f"{len(index.part('cal'))} pictures are held back to calibrate sets of classes on, but "
            "validation has none to fit the temperature on first; give it a share, such as "
            "0.6 0.15 0.15 0.1."
        )


def _ship(recipe: "Recipe", index: "Index", trained: "Trained", run: Run) -> "Bundle":
    """Write history and bundle; validation chooses the views and fits the decision."""
    from holotype.bundle.bundle import write_bundle
    from holotype.training.history import write_history

    write_history(trained.history, run.history)
    bundle = write_bundle(
        run.bundle, backbone=trained.backbone, head=trained.head, manifest=trained.manifest
    )
    if recipe.references:
        bundle = bundle.with_references(references_from(bundle, index))
    if len(index.part("val")) == 0:
        return bundle
    return _decided(recipe, bundle, index, trained, run)


def _decided(
    recipe: "Recipe", bundle: "Bundle", index: "Index", trained: "Trained", run: Run
) -> "Bundle":
    from holotype.bundle.inference import predict
    from holotype.evaluation.decision import choose_views, decide, views_effect

    validation = index.part("val")
    candidates = {
        views: predict(bundle, validation, views=views)[0] for views in _candidate_views(recipe)
    }
    views = next(reversed(candidates))
    if recipe.test_views == "auto":
        views = choose_views(candidates)
    decision = decide(candidates[views], views=views)
    if views != "one":
        trained.notes.append(views_effect(views, candidates["one"], candidates[views]).note())
    if recipe.unknown is not None:
        bundle, unknown = told_unknown(recipe, bundle, index, trained.notes)
        decision = replace(decision, unknown=unknown)
    bundle = sealed_with_sets(bundle, decision, index)
    sealed, _ = predict(bundle, validation)  # embeddings are kept: this costs a head
    sealed.write(run.predictions / "val.parquet")
    return bundle


def _candidate_views(recipe: "Recipe") -> "list[ViewSet]":
    """The sets of views to try, the plain one first; `auto` tries what training saw too."""
    if recipe.test_views == "none":
        return ["one"]
    if recipe.test_views != "auto":
        return ["one", recipe.test_views]
    changes = [stage.augmentation for stage in recipe.gradient_stages if stage.augmentation]
    seen = {change.symmetry for change in changes}
    candidates: list[ViewSet] = ["one"]
    if seen & {"horizontal", "both", "dihedral"}:
        candidates.append("mirror")
    if any(change.zoom > 0 for change in changes):
        candidates.append("scales")
    if "dihedral" in seen:
        candidates.append("dihedral")
    return candidates
