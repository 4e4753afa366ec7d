"""Check that runs can form an ensemble: the same classes and held-out images, and no leakage.

Weights are fitted on validation, so a member that was trained on a validation image of another
would get too much weight. Images are matched by SHA-256, since a folder may have moved.

Shape suffixes: N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from holotype.bundle.bundle import MAX_DEPTH, Bundle, load_bundle
from holotype.bundle.inference import predictions_of_index
from holotype.comparison.aligned_predictions import align_predictions, first_few
from holotype.dataset.index import Index, Part, read_index_file
from holotype.errors import BundleError, NotARun, NotComparable, UsageError
from holotype.predictions import Predictions
from holotype.run_directory import RunDirectory

ADVICE = "Train the members on one split: the same images, --split-seed and --ratios."


@dataclass(frozen=True, eq=False)
class Member:
    """A finished run as a member of an ensemble.

    Attributes:
        name: as it was given, `RUN` or `RUN@STAGE`.
        run: the directory.
        bundle: its classifier, with a decision.
        index: its images with their split.
    """

    name: str
    run: RunDirectory
    bundle: Bundle
    index: Index

    @property
    def out_of_fold_file(self) -> Path:
        """Its out-of-fold predictions; exists only with folds."""
        return self.run.predictions / "oof.parquet"

    @property
    def is_cross_validated(self) -> bool:
        """Whether it is the mean of folds, which were trained on every image outside test."""
        return self.out_of_fold_file.is_file()

    def training_hashes(self, part: str) -> set[str]:
        """The SHA-256 of the images that its predictions of a part were trained on."""
        table = self.index.table
        if self.is_cross_validated:
            return set(table.loc[table["split"] != "test", "sha256"])
        # What it said of validation before it was refitted on it is in its run.
        refitted = self.bundle.trained_on_validation and part != "val"
        splits = ["train", "val"] if refitted else ["train"]
        return set(table.loc[table["split"].isin(splits), "sha256"])


def load_members(runs: Sequence[str | Path]) -> tuple[Member, ...]:
    """The members, in the order in which they were given.

    Raises:
        UsageError: fewer than two, or one twice.
        NotARun, NotABundle, CorruptBundle: there is no finished run, or it was changed.
        BundleError: a run has no sealed decision, or members of members.
        NotComparable: the classes or the images differ, or a member was trained on held-out images
            of another.
    """
    if len(runs) < 2:
        raise UsageError(
            f"an ensemble needs at least two runs, but {len(runs)} was given: "
            "holotype ensemble RUN RUN --output RUN."
        )
    members = tuple(_member(run) for run in runs)
    named: dict[str, str] = {}
    for member in members:
        if member.bundle.sha256 in named:
            raise UsageError(
                f"{member.name!r} is the same classifier as {named[member.bundle.sha256]!r}; "
                "name each member once."
            )
        named[member.bundle.sha256] = member.name
    _require_same_pixels(members)
    _require_all_or_none_cross_validated(members)
    _require_no_leakage(members)
    if not members[0].is_cross_validated:
        _require_same_part(members, "val", "validation")
    _require_same_part(members, "test", "test")
    return members


def _member(path: str | Path) -> Member:
    run = RunDirectory.open(path)
    if not run.index.is_file():
        raise NotARun(
            f"{str(path)!r} has no index.parquet: its training has not started; train it first."
        )
    bundle = load_bundle(run.path)
    if bundle.manifest.decision is None:
        raise BundleError(
            f"{str(path)!r} has no sealed decision, since it has no validation images, on which "
            "the weights of members are fitted. Train it with a validation part (--ratios)."
        )
    if _depth(bundle) >= MAX_DEPTH:
        raise BundleError(
            f"{str(path)!r} is an ensemble of ensembles and cannot be a member; name its members "
            "instead."
        )
    return Member(str(path), run, bundle, read_index_file(run.index))


def _depth(bundle: Bundle) -> int:
    return 1 + max((_depth(member) for member in bundle.members), default=0)


def _require_same_pixels(members: Sequence[Member]) -> None:
    """An explanation shows all members one image, which all of them take or refuse."""
    bits = {member.bundle.preprocessing.bits: member.name for member in members}
    if len(bits) > 1:
        (one, first), (other, second) = list(bits.items())[:2]
        raise NotComparable(
            f"{first!r} reads images of 16 bits with {one} significant bits and {second!r} with "
            f"{other}; expected members that see the same pixels. Train one again with "
            f"--set bits={one}."
        )
    tolerance = {member.bundle.preprocessing.tolerate_truncated: member for member in members}
    if len(tolerance) > 1:
        raise NotComparable(
            f"{tolerance[True].name!r} reads images that are cut off and {tolerance[False].name!r} "
            "refuses them; expected members that agree. Train one again, with or without "
            "--tolerate-truncated."
        )


def _require_all_or_none_cross_validated(members: Sequence[Member]) -> None:
    """Cross-validated runs were trained on all images outside test, so they cannot be mixed."""
    folded = [member.name for member in members if member.is_cross_validated]
    others = [member.name for member in members if not member.is_cross_validated]
    if folded and others:
        raise NotComparable(
            f"{folded[0]!r} is cross-validated and {others[0]!r} is not: the first was trained on "
            "the validation images of the second. Name runs of one kind, such as one of the folds "
            "(RUN/folds/0) with runs that were trained on its split."
        )


def _require_no_leakage(members: Sequence[Member]) -> None:
    """Refuse a member that was trained on held-out images of any member, itself included."""
    for evaluated in members:
        table = evaluated.index.table
        parts = ["test"] if evaluated.is_cross_validated else ["val", "test", "cal"]
        for member in members:
            learnt = {part: member.training_hashes(part) for part in parts}
            seen = [
                path
                for path, sha256, part in zip(
                    table["path"], table["sha256"], table["split"], strict=True
                )
                if sha256 in learnt.get(part, ())
            ]
            if seen:
                where = "of its own" if member is evaluated else f"of {evaluated.name!r}"
                raise NotComparable(
                    f"{member.name!r} was trained on {len(seen):,} of the held-out images {where} "
                    f"({first_few(seen)}), so its weight would be too high. {ADVICE} "
                    "Where the split came with the data: --on-leak repair."
                )


def _require_same_part(members: Sequence[Member], split: Part, part: str) -> None:
    sizes = {m.name: int((m.index.table["split"] == split).sum()) for m in members}
    if not any(sizes.values()):
        return
    if empty := [name for name, size in sizes.items() if not size]:
        raise NotComparable(f"{empty[0]!r} has no {part} images, and the others do. {ADVICE}")
    try:
        align_predictions(
            {member.name: _blank_predictions(member, split) for member in members}, part
        )
    except NotComparable as error:
        raise NotComparable(f"these runs cannot be members of one ensemble: {error}") from error


def _blank_predictions(member: Member, split: Part) -> Predictions:
    """The images of a part with equal probabilities, so that test is not predicted."""
    index = replace(member.index.part(split), classes=member.bundle.classes)
    return predictions_of_index(index, np.zeros((len(index), len(index.classes)), np.float32))
