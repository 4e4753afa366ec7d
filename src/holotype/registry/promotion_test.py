"""The test before a promotion: is a version surely worse than the champion it would replace?

Both answered the same validation images while they were trained, or the same images out of fold.
Nothing is predicted here, and test is not looked at.
"""

import numpy as np

from holotype.comparison.aligned_predictions import align_predictions
from holotype.comparison.significance import compare_pairs
from holotype.errors import NotComparable
from holotype.predictions import Predictions, read_predictions
from holotype.registry.registered_version import RegisteredVersion
from holotype.registry.registry_events import PromotionTest

PARTS = ("val", "oof")
MIN_SHARED = 0.5  # of the images of each, so that the test is about what both were chosen on


def compare_with_champion(
    champion: RegisteredVersion, candidate: RegisteredVersion
) -> PromotionTest:
    """Compare two versions on the validation images that both have answered.

    Raises:
        NotComparable: they share too few images, or know other classes.
    """
    part, pair = _shared_predictions((champion, candidate))
    aligned = align_predictions(pair, part)
    (found,) = compare_pairs(aligned.correct_MN, aligned.weights_N, aligned.units)
    return PromotionTest(
        champion.version, candidate.version, part, len(aligned.first), found.difference, found.low,
        found.high, found.p_value, found.method,
    )  # fmt: skip


def _shared_predictions(
    versions: tuple[RegisteredVersion, RegisteredVersion],
) -> tuple[str, dict[str, Predictions]]:
    """What both say of the first part that both have answered, by the names of the versions."""
    for part in PARTS:
        files = {
            f"version {version.version}": version.path / "predictions" / f"{part}.parquet"
            for version in versions
        }
        if all(file.is_file() for file in files.values()):
            both = {name: read_predictions(file) for name, file in files.items()}
            return part, _restrict_to_shared(both, part)
    numbers = " and ".join(str(version.version) for version in versions)
    raise NotComparable(
        f"versions {numbers} were not registered with predictions of the same part, validation or "
        "out of fold."
    )


def _restrict_to_shared(both: dict[str, Predictions], part: str) -> dict[str, Predictions]:
    """The images that both have, where these are most of each."""
    shared = set.intersection(*(set(each.sha256) for each in both.values()))
    largest = max(map(len, both.values()))
    if len(shared) < MIN_SHARED * largest:
        first, other = both
        raise NotComparable(
            f"{first} and {other} share {len(shared):,} of {largest:,} images of {part}, too few "
            "to compare them on."
        )
    return {
        name: each.select(np.array([sha256 in shared for sha256 in each.sha256], np.bool_))
        for name, each in both.items()
    }
