"""Write the bundle of an ensemble: each member a bundle with its own preprocessing and views.

Every member stays byte for byte the bundle that it was, with its own sealed decision. The ensemble
answers with the weighted mean of their probabilities, and has a decision of its own: the
temperature that the logarithm of that mean is divided by.

Where the file system allows, the files of members are hard links to those of their runs, so that an
ensemble of large networks takes no space. No file of a bundle is changed in place, so a link
never shows other content than its run.

Shape suffixes: C classes, M members.
"""

import filecmp
import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.bundle.bundle import MANIFEST, MEMBERS, Bundle, write_files
from holotype.bundle.combination import ENSEMBLE_WEIGHTS, EnsembleWeights
from holotype.bundle.embedding import cache_namespace
from holotype.bundle.manifest import Manifest
from holotype.dataset.class_names import class_differences
from holotype.errors import BundleError
from holotype.files import TEMPORARY_PREFIX


def write_members(
    directory: Path,
    members: Sequence[Bundle],
    *,
    name: str,
    weights_CM: NDArray[np.float64] | None = None,
    unsealed: bool = False,
) -> Bundle:
    """Write a bundle that predicts the weighted mean of its members.

    Args:
        directory: where the bundle will be; it must not exist yet.
        members: sealed bundles of the same classes, in the same order of classes.
        name: of the ensemble.
        weights_CM: of each member for each class, at least 0; equal unless given. The
            weights of a class are divided by their sum, and where classes differ in them the
            means are divided by their sum.
        unsealed: whether a decision will be sealed, before which nothing else opens the bundle.

    Raises:
        BundleError: the directory exists, there is no member, a member is not sealed, changed on
            disk or knows other classes, or the weights are impossible.
    """
    if directory.exists():
        raise BundleError(f"{str(directory)!r} exists already; nothing is overwritten.")
    if not members:
        raise BundleError("a bundle of members needs at least one; none was given.")
    first = members[0]
    for member in members:
        _check_member(member, first)
    try:
        ensemble_weights = _ensemble_weights(weights_CM, len(first.classes), len(members))
    except ValueError as error:
        raise BundleError(f"the members cannot be combined: {error}.") from error
    files = {ENSEMBLE_WEIGHTS: ensemble_weights.to_bytes()}
    for number, member in enumerate(members):
        files.update((f"{MEMBERS}/{number}/{file}", content) for file, content in _files(member))
    listed = [
        ENSEMBLE_WEIGHTS,
        *(f"{MEMBERS}/{number}/{MANIFEST}" for number in range(len(members))),
    ]
    written = write_files(
        directory, files, _manifest(members, name, unsealed=unsealed), listed=listed
    )
    for number, member in enumerate(members):
        _hard_link_files(member.path, directory / MEMBERS / str(number))
    return written


def _hard_link_files(source: Path, copied: Path) -> None:
    """Replace the files of a copied bundle by hard links to the originals.

    Another file system, or one without links, keeps the copies.
    """
    for path in sorted(path for path in copied.rglob("*") if path.is_file()):
        original = source / path.relative_to(copied)
        link = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        try:
            os.link(original, link, follow_symlinks=False)
        except (OSError, NotImplementedError):
            return
        try:
            if filecmp.cmp(link, path, shallow=False):  # it may have been replaced just now
                link.replace(path)
        finally:
            link.unlink(missing_ok=True)


def _check_member(member: Bundle, first: Bundle) -> None:
    if member.classes != first.classes:
        raise BundleError(
            "members must know the same classes in one order: "
            f"{class_differences((first.name, first.classes), (member.name, member.classes))}."
        )
    if member.manifest.decision is None:
        raise BundleError(
            f"{member.name} has no sealed decision, so its probabilities may still change; "
            "seal one before it becomes a member."
        )


def _ensemble_weights(
    weights_CM: NDArray[np.float64] | None, num_classes: int, num_members: int
) -> EnsembleWeights:
    if weights_CM is None:
        return EnsembleWeights(num_members)
    if weights_CM.shape != (num_classes, num_members):
        raise ValueError(
            f"weights of shape {weights_CM.shape}, expected {(num_classes, num_members)}"
        )
    return EnsembleWeights.of(np.asarray(weights_CM, np.float64))


def _files(member: Bundle) -> Iterator[tuple[str, bytes]]:
    """All files of a member with their paths in it; the manifest as it is on disk."""
    content = (member.path / MANIFEST).read_bytes()
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise BundleError(f"{member.name}: manifest.json changed since it was loaded; load again")
    yield MANIFEST, content
    yield from member.own_files.items()
    if member.ensemble_weights is not None:
        yield ENSEMBLE_WEIGHTS, (member.path / ENSEMBLE_WEIGHTS).read_bytes()
    for number, inner in enumerate(member.members):
        for file, content in _files(inner):
            yield f"{MEMBERS}/{number}/{file}", content


def _manifest(members: Sequence[Bundle], name: str, *, unsealed: bool) -> Manifest:
    """The manifest of the whole; each member has its own."""
    first = members[0].manifest
    base_models = {cache_namespace(base): base for member in members for base in member.base_models}
    models = Counter(member.manifest.model for member in members)
    weights = {member.manifest.weights for member in members}
    return Manifest(
        name=name,
        model=" + ".join(f"{n} × {model}" if n > 1 else model for model, n in models.items()),
        classes=first.classes,
        preprocessing=first.preprocessing,
        embedding_size=sum(base.manifest.embedding_size for base in base_models.values()),
        weights=first.weights if len(weights) == 1 else None,
        versions=first.versions,
        unsealed=unsealed,
    )
