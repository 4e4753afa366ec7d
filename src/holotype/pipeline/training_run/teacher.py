"""The teacher of a training: a classifier that may know what this one knows, and no more."""

from holotype.bundle.bundle import load_bundle
from holotype.dataset.class_names import class_name
from holotype.dataset.index import Index, read_index_file
from holotype.errors import InvalidRecipe, SplitLeakage
from holotype.explanation.torch_models import run_of
from holotype.registry.resolve_registered import registered_path
from holotype.training.config.recipe import Recipe


def with_teacher_digest(recipe: Recipe) -> Recipe:
    """The recipe with the path and the digest of its teacher, if it has one.

    Raises:
        NotABundle: there is no classifier.
        InvalidRecipe: it is another one than the recipe says.
    """
    teacher = recipe.teacher
    if teacher is None:
        return recipe
    path = registered_path(teacher.run)
    digest = load_bundle(path).sha256
    if teacher.sha256 not in (None, digest):
        raise InvalidRecipe(
            f"teacher: {teacher.run!r} holds the bundle {digest}, and the recipe was trained with "
            f"{teacher.sha256}. Name that one, or leave its sha256 out."
        )
    found = teacher.model_copy(update={"run": str(path), "sha256": digest})
    return recipe.model_copy(update={"teacher": found})


def check_teacher(recipe: Recipe, index: Index) -> None:
    """Refuse a teacher that learnt from images which this training is judged by.

    Args:
        index: split.

    Raises:
        InvalidRecipe: it knows other classes, or does not say what it was trained on.
        SplitLeakage: it was trained on images of validation or test.
    """
    if recipe.teacher is None:
        return
    path = recipe.teacher.run
    known = {class_name(name) for name in load_bundle(path).classes}
    if known != {class_name(name) for name in index.classes}:
        raise InvalidRecipe(
            f"teacher: {path!r} knows the classes {', '.join(sorted(known))}, and the images are "
            f"of {', '.join(index.classes)}; expected the same."
        )
    run = run_of(path)
    if run is None or not run.index.is_file():
        raise InvalidRecipe(
            f"teacher: {path!r} does not say what it was trained on; name the run of the bundle."
        )
    table = read_index_file(run.index).table
    # Where folds took turns, every image trained some member.
    trained = set(table.loc[table["split"].isin(["train", ""]), "sha256"])
    chosen = set(table.loc[table["split"] == "val", "sha256"])  # by these
    own = index.table
    leaked = own[
        (own["split"].isin(["val", "test", "cal"]) & own["sha256"].isin(trained))
        | (own["split"].isin(["test", "cal"]) & own["sha256"].isin(chosen))
    ]
    if len(leaked):
        raise SplitLeakage(
            f"teacher: {path!r} was trained on {len(leaked):,} images that this training is judged "
            f"by, such as {leaked['path'].iloc[0]!r}: it would pass their labels on. Train both on "
            "the same split (--split-seed)."
        )
