"""How far reviewers agree: the share of images with one answer, and Cohen's kappa of each pair."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from holotype.dataset.auditing.issue_reviews import ReviewedIssue
from holotype.evaluation.intervals import Estimate, undefined, wilson

MAX_REVIEWERS = 12  # whose pairs are shown


@dataclass(frozen=True)
class PairAgreement:
    """Two reviewers and the images that both have answered.

    Attributes:
        agreed: the share of these with the same answer, new label included.
        kappa: Cohen's, over the answers; None where chance alone would agree always.
    """

    first: str
    second: str
    num_images: int
    agreed: Estimate
    kappa: float | None


@dataclass(frozen=True)
class Agreement:
    """Of all reviewers.

    Attributes:
        counts: reviewer -> images answered, sorted by name.
        num_shared: images with answers of two reviewers or more.
        agreed: the share of these on which all say the same.
        pairs: of reviewers who have answered the same images.
    """

    counts: dict[str, int]
    num_shared: int
    agreed: Estimate
    pairs: tuple[PairAgreement, ...]


def reviewer_agreement(issues: Sequence[ReviewedIssue]) -> Agreement:
    """The agreement of the reviewers of a table."""
    answers: dict[str, dict[str, tuple[str, str]]] = {}
    for issue in issues:
        for review in issue.reviews:
            answers.setdefault(review.reviewer, {})[issue.path] = review.answer
    shared = [issue for issue in issues if len(issue.reviews) > 1]
    names = sorted(answers)[:MAX_REVIEWERS]
    pairs = [
        _pair(first, second, answers[first], answers[second])
        for first, second in combinations(names, 2)
        if answers[first].keys() & answers[second].keys()
    ]
    return Agreement(
        counts={name: len(answers[name]) for name in sorted(answers)},
        num_shared=len(shared),
        agreed=_share(sum(not issue.is_disputed for issue in shared), len(shared)),
        pairs=tuple(pairs),
    )


def cohens_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Agreement above chance: 1 is perfect, 0 what chance gives; None where that is 1 already.

    Source:
        Cohen 1960, "A Coefficient of Agreement for Nominal Scales".
    """
    count = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    of_first, of_second = Counter(first), Counter(second)
    expected = sum(of_first[answer] * of_second[answer] for answer in of_first) / count**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _pair(
    first: str, second: str, ours: dict[str, tuple[str, str]], theirs: dict[str, tuple[str, str]]
) -> PairAgreement:
    paths = sorted(ours.keys() & theirs.keys())
    a, b = [ours[path] for path in paths], [theirs[path] for path in paths]
    same = sum(x == y for x, y in zip(a, b, strict=True))
    return PairAgreement(first, second, len(paths), _share(same, len(paths)), cohens_kappa(a, b))


def _share(successes: int, count: int) -> Estimate:
    if count == 0:
        return undefined("no image has two answers")
    value = successes / count
    return Estimate(value, *wilson(value, count), "Wilson")
