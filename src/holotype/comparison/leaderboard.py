"""The leaderboard of one part of the data: scores, pairwise tests, and ranks with ties.

Shape suffixes: N images, M classifiers.
"""

from dataclasses import dataclass

from holotype.comparison.aligned_predictions import AlignedPredictions
from holotype.comparison.bootstrap import ACCURACY, MetricComparison, ScoreDifference, paired_scores
from holotype.comparison.significance import (
    OverallTest,
    PairedTest,
    apply_gatekeeping,
    compare_all,
    compare_pairs,
    ranks,
)
from holotype.evaluation.build_report import scores_by_class
from holotype.evaluation.caveats import caveats
from holotype.evaluation.intervals import Estimate, proportion
from holotype.evaluation.report_data import ClassScores
from holotype.progress import pluralize

MAX_NAMED = 3  # runs in the summary
PARTS = {"test": "Test", "oof": "Out of fold", "val": "Validation"}


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Classifiers on the same images.

    Attributes:
        part: `test`, `oof` or `val`.
        aligned: the predictions of each.
        accuracies: of each, with intervals, as in its own report.
        scores: the other scores by name, with their differences from the best.
        tests: of every pair, with corrected p-values.
        overall: the test of all together; None for a single classifier.
        ranks: (best, worst) possible rank of each.
        per_class: for each classifier precision, recall and F1 of every class.
        caveats: limits of the scores, as sentences.
    """

    part: str
    aligned: AlignedPredictions
    accuracies: tuple[Estimate, ...]
    scores: dict[str, MetricComparison]
    tests: tuple[PairedTest, ...]
    overall: OverallTest | None
    ranks: tuple[tuple[int, int], ...]
    per_class: tuple[tuple[ClassScores, ...], ...]
    caveats: tuple[str, ...]

    @property
    def title(self) -> str:
        return PARTS[self.part]

    @property
    def names(self) -> tuple[str, ...]:
        return self.aligned.names

    def __len__(self) -> int:
        """The number of classifiers."""
        return len(self.aligned)

    @property
    def num_images(self) -> int:
        return len(self.aligned.first)

    @property
    def num_groups(self) -> int | None:
        return self.aligned.units.count if self.aligned.first.has_groups else None

    @property
    def sample_size(self) -> str:
        """`200 images from 12 groups`."""
        images = pluralize(self.num_images, "image")
        if self.num_groups is None:
            return images
        return f"{images} from {pluralize(self.num_groups, 'group')}"

    @property
    def order(self) -> list[int]:
        """Numbers of the classifiers, by accuracy; ties by log loss, then by name."""

        def key(number: int) -> tuple[float, float, str]:
            loss = self.scores["log_loss"].values[number]
            return (
                -self.accuracy(number),
                float("inf") if loss is None else loss,
                self.names[number],
            )

        return sorted(range(len(self.aligned)), key=key)

    @property
    def best(self) -> int:
        """The number of the classifier with the highest accuracy."""
        return self.order[0]

    def rank_text(self, number: int) -> str:
        """`1`, or `1–3` where the classifier may have any of these ranks."""
        best, worst = self.ranks[number]
        return f"{best}" if best == worst else f"{best}–{worst}"

    def accuracy(self, number: int) -> float:
        value = self.accuracies[number].value
        assert value is not None  # there is an image that counts
        return value

    def value(self, score: str, number: int) -> float | None:
        """Accuracy or one of the other scores; None where it is 0/0."""
        return self.accuracy(number) if score == ACCURACY else self.scores[score].values[number]

    def test(self, first: int, second: int) -> PairedTest | None:
        """The test of a pair, with the difference `second` minus `first`; None of a pair of one."""
        for test in self.tests:
            if (test.first, test.second) == (first, second):
                return test
            if (test.first, test.second) == (second, first):
                return test.reversed()
        return None

    @property
    def pairs(self) -> list[PairedTest]:
        """Every pair with the more accurate one as `second`, the lowest p-value first."""
        ordered = [test if test.difference >= 0 else test.reversed() for test in self.tests]
        return sorted(
            ordered, key=lambda test: (test.adjusted_p_value, test.p_value, -test.difference)
        )

    def difference_to_best(self, number: int) -> ScoreDifference | None:
        """The accuracy minus that of the best, with its interval; None for the best itself."""
        test = self.test(self.best, number)
        return None if test is None else ScoreDifference(test.difference, test.low, test.high)

    @property
    def tied_for_first(self) -> list[int]:
        """Those that none is significantly better than, the most accurate first."""
        return [number for number in self.order if self.ranks[number][0] == 1]

    def summary(self) -> str:
        """Which runs differ significantly in accuracy, in a sentence."""
        if len(self) == 1:
            return (
                f"Only one run has predictions of {self.part}: there is nothing to compare it with."
            )
        top, best = self.tied_for_first, self.names[self.best]
        if not any(test.is_significant for test in self.tests):
            return f"No two of the {len(self)} runs differ significantly in accuracy."
        if len(self) == 2:
            return f"{best} is significantly more accurate than {self.names[self.order[1]]}."
        if len(top) == 1:
            return f"{best} is significantly more accurate than every other run."
        tied = ", ".join(self.names[number] for number in top[1 : 1 + MAX_NAMED])
        return (
            f"{best} has the highest accuracy, but {pluralize(len(top) - 1, 'other run')} "
            f"{'does' if len(top) == 2 else 'do'} not differ significantly from it: "
            f"{tied}{', …' if len(top) > 1 + MAX_NAMED else ''}."
        )


def build_leaderboard(aligned: AlignedPredictions, part: str) -> Leaderboard:
    """Score and test the predictions of classifiers for the same images.

    Args:
        aligned: of at least one classifier.
        part: `test`, `oof` or `val`.
    """
    weights_N, units = aligned.weights_N, aligned.units
    tests = compare_pairs(aligned.correct_MN, weights_N, units)
    overall = None
    if len(aligned) > 1:
        overall = compare_all(aligned.correct_MN, weights_N, units)
        tests = apply_gatekeeping(tests, overall)
    per_class = tuple(tuple(scores_by_class(each, units)) for each in aligned.predictions)
    return Leaderboard(
        part=part,
        aligned=aligned,
        accuracies=tuple(proportion(right_N, weights_N, units) for right_N in aligned.correct_MN),
        scores=paired_scores(aligned),
        tests=tuple(tests),
        overall=overall,
        ranks=tuple(ranks(tests, len(aligned))),
        per_class=per_class,
        caveats=tuple(_caveats(aligned, per_class)),
    )


def _caveats(
    aligned: AlignedPredictions, per_class: tuple[tuple[ClassScores, ...], ...]
) -> list[str]:
    """A caveat of some of the classifiers begins with their names."""
    num_groups = aligned.units.count if aligned.first.has_groups else None
    said: dict[str, list[str]] = {}
    for name, scores in zip(aligned.names, per_class, strict=True):
        for sentence in caveats(scores, num_groups):
            said.setdefault(sentence, []).append(name)
    return [
        sentence if len(names) == len(aligned) else f"{', '.join(names)}: {sentence}"
        for sentence, names in said.items()
    ]
