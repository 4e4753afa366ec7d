"""The report of a classifier and the model card of its run, written from what was predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from holotype.bundle.bundle import Bundle
from holotype.dataset.index import Index
from holotype.evaluation.conformal import PredictionSetScores, evaluate_prediction_sets
from holotype.evaluation.report_data import Report
from holotype.explanation.example_selection import select_examples
from holotype.predictions import Predictions
from holotype.reporting.model_card import write_model_card
from holotype.reporting.report_page import ReportContext
from holotype.reporting.write_report import write_report
from holotype.run_directory import RunDirectory
from holotype.training.epoch_metrics import EpochMetrics


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredBundle:
    """A classifier and what was measured of it.

    Attributes:
        bundle: what ships.
        index: the images, with their split or folds.
        predictions: that the report is on.
        report: the scores.
        validation: scores to stand beside; None where the report is of the same images.
        pooled: whether the predictions are those of the members, each on its own fold.
    """

    bundle: Bundle
    index: Index
    predictions: Predictions
    report: Report
    validation: Report | None = None
    pooled: bool = False

    def with_bundle(self, context: ReportContext) -> ReportContext:
        """The context with what the bundle and its prediction sets say."""
        on_test = self.report.part == "test"
        sets = _prediction_set_scores(self.bundle, self.predictions) if on_test else []
        context = replace(context, model=self.bundle.manifest.model, prediction_sets=sets)
        if self.pooled:
            return context
        return replace(context, bundle_hash=self.bundle.sha256, temperature=self.bundle.temperature)

    def write_report(
        self, run: RunDirectory, context: ReportContext, history: Sequence[EpochMetrics] = ()
    ) -> None:
        """Write `report/`, its page last: the page is what says that the run is finished."""
        bundle = dict(enumerate(self.bundle.members)) if self.pooled else self.bundle
        write_report(
            self.report, run.report, predictions=self.predictions, context=context,
            examples=select_examples(bundle, self.index, self.predictions),
            history=[asdict(row) for row in history], validation=self.validation,
        )  # fmt: skip


def report_run(
    run: RunDirectory,
    scored: ScoredBundle,
    context: ReportContext,
    *,
    history: Sequence[EpochMetrics] = (),
    seeds: Mapping[str, int] | None = None,
) -> None:
    """Write the model card and the report of a run.

    Args:
        context: what neither the bundle nor its predictions say; its title may be empty.
        seeds: what each seed is for, and the seed.
    """
    context = replace(scored.with_bundle(context), title=run.path.name, run_name=run.path.name)
    write_model_card(
        run, scored.report, context=context, bundle=scored.bundle, index=scored.index,
        validation=scored.validation, seeds=seeds,
    )  # fmt: skip
    scored.write_report(run, context, history)


def _prediction_set_scores(bundle: Bundle, test: Predictions) -> list[PredictionSetScores]:
    """Coverage and size of the prediction sets on test; nothing for a bundle without sets."""
    calibration_set = bundle.manifest.decision.calibration_set if bundle.manifest.decision else None
    if bundle.conformal_scores is None or calibration_set is None:
        return []
    return evaluate_prediction_sets(bundle.conformal_scores, calibration_set, test)
