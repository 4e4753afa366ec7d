"""Where classifiers stand on one part of the data: scores, tests, and ranks with ties.

Shape suffixes: N images, M classifiers.
"""

from dataclasses import dataclass, replace

from holotype.comparison.aligned_predictions import AlignedPredictions
from holotype.comparison.bootstrap import MetricComparison, ScoreDifference, paired_scores
from holotype.comparison.significance import (
    OverallTest,
    PairedTest,
    apply_gatekeeping,
    compare_all,
    compare_pairs,
    ranks,
)
from holotype.evaluation.caveats import caveats
from holotype.evaluation.intervals import Estimate, proportion, undefined
from holotype.evaluation.report_data import ClassScores

SIGNIFICANCE_LEVEL = 0.05
NAMED = 3
PARTS = {"test": "Test", "oof": "Out of fold", "val": "Validation"}


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Classifiers on the same images.

    Attributes:
        part: `test`, `oof` or `val`.
        aligned: of each.
        accuracies: of each, with intervals, as in its own report.
        scores: the other scores by name, with their differences to the best.
        tests: of every pair, Holm-corrected, none clearer than `overall`.
        overall: of all together; None for one alone.
        ranks: between which ranks each may stand, (best, worst).
        per_class: of each classifier, every class.
        caveats: what a reader must know, as sentences.
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

    @property
    def num_images(self) -> int:
        return len(self.aligned.first)

    @property
    def num_groups(self) -> int | None:
        return self.aligned.units.count if self.aligned.first.has_groups else None

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
        """The one with the highest accuracy here."""
        return self.order[0]

    def accuracy(self, number: int) -> float:
        value = self.accuracies[number].value
        assert value is not None  # there is an image that counts
        return value

    def test(self, first: int, second: int) -> PairedTest | None:
        """The test of a pair, its difference taken as `second` minus `first`; None for itself."""
        for test in self.tests:
            if (test.first, test.second) == (first, second):
                return test
            if (test.first, test.second) == (second, first):
                return _turned(test)
        return None

    @property
    def pairs(self) -> list[PairedTest]:
        """Every pair with the more accurate one as `second`, the clearest difference first."""
        turned = [test if test.difference >= 0 else _turned(test) for test in self.tests]
        return sorted(
            turned, key=lambda test: (test.adjusted_p_value, test.p_value, -test.difference)
        )

    def difference_to_best(self, number: int) -> ScoreDifference | None:
        """The accuracy minus that of the best, with its interval; None for the best itself."""
        test = self.test(self.best, number)
        return None if test is None else ScoreDifference(test.difference, test.low, test.high)

    @property
    def tied_for_first(self) -> list[int]:
        """Those below which none is known to stand higher, the most accurate first."""
        return [number for number in self.order if self.ranks[number][0] == 1]

    def summary(self) -> str:
        """What may be said of accuracy, in a sentence."""
        if len(self.aligned) == 1:
            return "One run alone: there is nothing to compare it with."
        top, best = self.tied_for_first, self.names[self.best]
        told = sum(test.adjusted_p_value < SIGNIFICANCE_LEVEL for test in self.tests)
        if not told:
            return (
                f"No two of the {len(self.aligned)} can be told apart by accuracy: "
                "what differs may be chance."
            )
        if len(self.aligned) == 2:
            other = self.names[self.order[1]]
            return f"{best} is more accurate than {other}, by more than chance."
        if len(top) == 1:
            return f"{best} is more accurate than every other, by more than chance."
        return (
            f"{best} has the highest accuracy, but {len(top) - 1} "
            f"{'other' if len(top) == 2 else 'others'} cannot be told apart from it: "
            f"{', '.join(self.names[number] for number in top[1 : 1 + NAMED])}"
            f"{', …' if len(top) > 1 + NAMED else ''}."
        )


def build_leaderboard(aligned: AlignedPredictions, part: str, *, seed: int = 0) -> Leaderboard:
    """Measure and test what classifiers say about the same images.

    Args:
        aligned: of at least one.
        part: `test`, `oof` or `val`.
        seed: of resamples and permutations.
    """
    weights_N, units = aligned.weights_N, aligned.units
    tests = compare_pairs(aligned.correct_MN, weights_N, units, seed=seed)
    overall = None
    if len(aligned) > 1:
        overall = compare_all(aligned.correct_MN, weights_N, units, seed=seed)
        tests = apply_gatekeeping(tests, overall)
    per_class = tuple(_of_classes(aligned, number) for number in range(len(aligned)))
    return Leaderboard(
        part=part,
        aligned=aligned,
        accuracies=tuple(proportion(right_N, weights_N, units) for right_N in aligned.correct_MN),
        scores=paired_scores(aligned, seed=seed),
        tests=tuple(tests),
        overall=overall,
        ranks=tuple(ranks(tests, len(aligned), SIGNIFICANCE_LEVEL)),
        per_class=per_class,
        caveats=tuple(_caveats(aligned, per_class)),
    )


def _turned(test: PairedTest) -> PairedTest:
    """The same test with the two in the other order."""
    return replace(
        test, first=test.second, second=test.first,
        difference=-test.difference, low=-test.high, high=-test.low,
    )  # fmt: skip


def _of_classes(aligned: AlignedPredictions, number: int) -> tuple[ClassScores, ...]:
    """Every class as one classifier sees it; 0/0 is undefined, as in a report."""
    targets_N, predicted_N = aligned.first.targets_N, aligned.predicted_MN[number]
    weights_N, units = aligned.weights_N, aligned.units
    not_ranked = undefined("not compared")  # recall and precision tell strengths
    found = []
    for c, name in enumerate(aligned.classes):
        is_class_N, is_predicted_N = targets_N == c, predicted_N == c
        true_positive_N = is_class_N & is_predicted_N
        support = int(is_class_N.sum())
        precision = proportion(true_positive_N, weights_N * is_predicted_N, units)
        found.append(
            ClassScores(
                name=name,
                support=support,
                predicted=int(is_predicted_N.sum()),
                precision=precision if is_predicted_N.any() else undefined("never predicted"),
                recall=proportion(true_positive_N, weights_N * is_class_N, units),
                f1=not_ranked,
                roc_auc=not_ranked,
                average_precision=not_ranked,
            )
        )
    return tuple(found)


def _caveats(
    aligned: AlignedPredictions, per_class: tuple[tuple[ClassScores, ...], ...]
) -> list[str]:
    """What holds for all is said once; what holds for some, with their names."""
    num_groups = aligned.units.count if aligned.first.has_groups else None
    said: dict[str, list[str]] = {}
    for name, of_one in zip(aligned.names, per_class, strict=True):
        for sentence in caveats(of_one, num_groups):
            said.setdefault(sentence, []).append(name)
    return [
        sentence if len(names) == len(aligned) else f"{', '.join(names)}: {sentence}"
        for sentence, names in said.items()
    ]
