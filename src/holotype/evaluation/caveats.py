"""Limits of the scores of a report, as sentences: few images, few groups, absent classes."""

from collections.abc import Iterator, Sequence

from holotype.evaluation.intervals import FEW_GROUPS
from holotype.evaluation.report_data import ClassScores
from holotype.progress import pluralize

FEW_IMAGES = 10


def caveats(per_class: Sequence[ClassScores], num_groups: int | None) -> Iterator[str]:
    """One sentence or two for everything that limits the scores.

    Args:
        per_class: the scores of every class.
        num_groups: how many groups the images come from; None without groups.
    """
    absent = [scores.name for scores in per_class if not scores.support]
    never_predicted = [
        scores.name for scores in per_class if scores.support and not scores.predicted
    ]
    small = [scores.name for scores in per_class if 0 < scores.support < FEW_IMAGES]
    if num_groups is None:
        yield (
            "No groups were given, so the intervals assume independent images. If several images "
            "show one specimen, patient or scene, the intervals are too narrow."
        )
    elif num_groups == 1:
        yield "All images come from one group, so the variance between groups is unknown."
    elif num_groups < FEW_GROUPS:
        yield (
            f"The images come from only {pluralize(num_groups, 'group')}, and only groups are "
            "independent, so the intervals are wide."
        )
    if absent:
        yield (
            f"{_classes_have(absent)} no image here ({_some(absent)}) and no scores; means over "
            f"classes are over the other {len(per_class) - len(absent)}."
        )
    if never_predicted:
        yield (
            f"{_classes_have(never_predicted)} images here but "
            f"{'is' if len(never_predicted) == 1 else 'are'}"
            f" never predicted ({_some(never_predicted)}): the precision is 0/0 and counts as 0 "
            "in means."
        )
    if small:
        yield (
            f"{_classes_have(small)} fewer than {FEW_IMAGES} images here ({_some(small)}); "
            "their scores depend on single images."
        )


def _classes_have(names: list[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{pluralize(len(names), 'class', 'classes')} have"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
