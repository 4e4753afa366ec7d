"""Predictions -> Report: every score with its 95 % interval.

Shape suffixes: N images, C classes, R resamples, G groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holotype.errors import DatasetError
from holotype.evaluation import metrics
from holotype.evaluation.calibration import calibration_estimate, expected_calibration_error
from holotype.evaluation.caveats import caveats
from holotype.evaluation.intervals import (
    NUM_RESAMPLES,
    DesignEffect,
    Estimate,
    SamplingUnits,
    bootstrap_variance,
    bootstrap_weights,
    design_effect,
    interval_from_variance,
    jackknife_variance,
    jackknife_weights,
    proportion,
    shrunken_design_effect,
    t_quantile,
    undefined,
)
from holotype.evaluation.report_data import MAX_SCORE, SCORES, ClassScores, Metrics, Report
from holotype.predictions import Predictions

Floats = NDArray[np.float64]


def build_report(predictions: Predictions, *, part: str = "test", seed: int = 0) -> Report:
    """Every score of labelled predictions, each with a 95 % interval.

    Where images carry weights every score is weighted by them, and the unweighted accuracy of all
    labelled images is added as ``accuracy_unweighted``.

    Args:
        predictions: images without a label or with weight 0 are left out of the scores.
        part: the name of these images, such as ``test``.
        seed: of the bootstrap; the same predictions and seed give the same report.

    Raises:
        DatasetError: no image has a label and a weight.
    """
    counted = select_scorable(predictions)
    units = SamplingUnits.of(counted)
    resampled = _resample(counted, units, seed)
    found = {**_proportions(counted, units), **_other_scores(counted, resampled)}
    name = "expected_calibration_error"
    found[name] = calibration_estimate(
        counted,
        found[name],
        None if units.grouped else resampled.by_image[name],
        resampled.design_effect.shrunken if units.grouped else 1.0,
        seed,
    )
    labelled = predictions.labelled()
    if predictions.is_weighted:
        found["accuracy_unweighted"] = _plain_accuracy(labelled)
    per_class = tuple(
        _with_curve_areas(scores, class_number, resampled)
        for class_number, scores in enumerate(scores_by_class(counted, units))
    )
    num_groups = units.count if counted.has_groups else None
    return Report(
        part=part,
        classes=counted.classes,
        metrics=Metrics({name: found[name] for name in SCORES if name in found}),
        per_class=per_class,
        confusion_CC=metrics.confusion_matrix(counted),
        num_images=len(counted),
        num_unlabelled=len(predictions) - len(labelled),
        num_zero_weight=len(labelled) - len(counted),
        num_groups=num_groups,
        weighted=predictions.is_weighted,
        caveats=tuple(caveats(per_class, num_groups)),
    )


def select_scorable(predictions: Predictions) -> Predictions:
    """`Predictions.scorable`, refused where it is empty.

    Raises:
        DatasetError: no image has both a known class and a weight above 0.
    """
    counted = predictions.scorable()
    if not len(counted):
        raise DatasetError(
            f"nothing to evaluate: of {len(predictions)} images none has both a known class "
            "and a weight above 0; give labelled images"
        )
    return counted


def _measure(predictions: Predictions, weights: Floats) -> dict[str, Floats]:
    """Every score that is not a proportion of images, as (), (R,), (C,) or (C, R)."""
    counts = metrics.confusion_counts(predictions, weights)
    areas_C, average_precisions_C = metrics.one_versus_rest_scores(predictions, weights)
    return {
        "balanced_accuracy": counts.balanced_accuracy,
        "macro_precision": counts.macro_precision,
        "macro_recall": counts.balanced_accuracy,
        "macro_f1": counts.macro_f1,
        "weighted_precision": counts.weighted_precision,
        "weighted_f1": counts.weighted_f1,
        "macro_roc_auc": metrics.macro(areas_C),
        "micro_roc_auc": metrics.micro_roc_auc(predictions, weights),
        "macro_average_precision": metrics.macro(average_precisions_C),
        "log_loss": metrics.log_loss(predictions, weights),
        "brier_score": metrics.brier_score(predictions, weights),
        "expected_calibration_error": expected_calibration_error(predictions, weights),
        "roc_auc_C": areas_C,
        "average_precision_C": average_precisions_C,
    }


@dataclass(frozen=True, eq=False)
class _Resampled:
    """The scores of the images and of their resamples.

    Attributes:
        units: the independent units of the images.
        design_effect: of the correctness of the predictions.
        whole: the scores of all images.
        by_image: the scores of resampled images; the last axis is R.
        by_group: the scores of resampled groups (R), or without one group each (G) where there
            are fewer than 30; None without groups.
    """

    units: SamplingUnits
    design_effect: DesignEffect
    whole: dict[str, Floats]
    by_image: dict[str, Floats]
    by_group: dict[str, Floats] | None


def _resample(predictions: Predictions, units: SamplingUnits, seed: int) -> _Resampled:
    weights_N = predictions.weights_N
    correct_N = (predictions.predicted_N == predictions.targets_N).astype(np.float64)
    by_group = None
    if units.few_groups:
        by_group = _measure(predictions, jackknife_weights(weights_N, units))
    elif units.grouped:
        by_group = _bootstrap(predictions, units, seed)
    return _Resampled(
        units=units,
        design_effect=design_effect(correct_N, weights_N, units.unit_N),
        whole=_measure(predictions, weights_N),
        by_image=_bootstrap(predictions, SamplingUnits.images(len(predictions)), seed),
        by_group=by_group,
    )


def _bootstrap(predictions: Predictions, units: SamplingUnits, seed: int) -> dict[str, Floats]:
    drawn = [
        _measure(predictions, weights_NR)
        for weights_NR in bootstrap_weights(predictions.weights_N, units, seed)
    ]
    return {name: np.concatenate([scores[name] for scores in drawn], axis=-1) for name in drawn[0]}


def _proportions(predictions: Predictions, units: SamplingUnits) -> dict[str, Estimate]:
    """The scores that are proportions of the images."""
    weights_N = predictions.weights_N
    accuracy = proportion(predictions.predicted_N == predictions.targets_N, weights_N, units)
    found = {"accuracy": accuracy, "weighted_recall": accuracy}
    for k, fewest_classes in ((2, 3), (5, 6)):
        if len(predictions.classes) >= fewest_classes:
            in_top_N = metrics.in_top_k_N(predictions, k)
            found[f"top_{k}_accuracy"] = proportion(in_top_N, weights_N, units)
    return found


def _other_scores(predictions: Predictions, resampled: _Resampled) -> dict[str, Estimate]:
    """The overall scores that are not proportions of the images."""
    images_C = np.bincount(predictions.targets_N, minlength=len(predictions.classes))
    # The effective number of images behind a mean over classes: from their harmonic mean.
    balanced = float((images_C > 0).sum() ** 2 / (1 / images_C[images_C > 0]).sum())
    overall = resampled.design_effect.effective_n
    return {
        name: _estimate(
            resampled, name, balanced if name.startswith(("balanced", "macro")) else overall
        )
        for name, value in resampled.whole.items()
        if value.ndim == 0
    }


def _estimate(
    resampled: _Resampled, name: str, effective: float, class_number: int | None = None
) -> Estimate:
    """One score with the interval that its variance over resamples gives."""
    row = () if class_number is None else (class_number,)
    value, top = float(resampled.whole[name][row]), MAX_SCORE.get(name, 1.0)
    if not np.isfinite(value):
        return undefined("needs images of this class and of others")
    units, N = resampled.units, len(resampled.units.unit_N)
    variance = bootstrap_variance(resampled.by_image[name][row], N)
    method = f"bootstrap, {NUM_RESAMPLES} resamples"
    if units.count < 2:
        what = "group" if units.grouped else "image"
        return Estimate(value, 0.0, top, f"one {what}: the interval is unknown")
    if resampled.by_group is not None:
        by_group = resampled.by_group[name][row]
        among = (
            jackknife_variance(value, by_group)
            if units.few_groups
            else bootstrap_variance(by_group, units.count)
        )
        if not np.isfinite(among):
            return Estimate(value, 0.0, top, "rests on one group: the interval is unknown")
        measured = max(1.0, among / variance) if variance > 0 else 1.0
        clustered = resampled.design_effect
        effect = shrunken_design_effect(measured, clustered.assumed, clustered.num_informative)
        variance, effective = variance * effect, effective / effect
        method = f"{'t' if units.few_groups else 'bootstrap'} over {units.count} groups"
    quantile = t_quantile(units.count - 1)
    return interval_from_variance(
        value, variance, effective=effective, quantile=quantile, method=method, top=top
    )


def _plain_accuracy(labelled: Predictions) -> Estimate:
    """The accuracy of labelled images, each counted once."""
    correct_N = labelled.predicted_N == labelled.targets_N
    return proportion(correct_N, np.ones(len(labelled)), SamplingUnits.of(labelled))


def scores_by_class(predictions: Predictions, units: SamplingUnits) -> Iterator[ClassScores]:
    """Precision, recall and F1 of every class; the areas under its curves are left undefined.

    Args:
        predictions: scorable images only.
        units: the independent units of the images.
    """
    weights_N, targets_N, predicted_N = (
        predictions.weights_N, predictions.targets_N, predictions.predicted_N,
    )  # fmt: skip
    for c, name in enumerate(predictions.classes):
        is_class_N, is_predicted_N = targets_N == c, predicted_N == c
        true_positive_N = is_class_N & is_predicted_N
        support = int(is_class_N.sum())
        precision = proportion(true_positive_N, weights_N * is_predicted_N, units)
        # F1 is 2J/(1 + J) with the Jaccard index J, a proportion.
        jaccard = proportion(true_positive_N, weights_N * (is_class_N | is_predicted_N), units)
        yield ClassScores(
            name=name,
            support=support,
            predicted=int(is_predicted_N.sum()),
            precision=precision if is_predicted_N.any() else undefined("never predicted"),
            recall=proportion(true_positive_N, weights_N * is_class_N, units),
            f1=_f1_of(jaccard) if support else undefined("no images"),
        )


def _with_curve_areas(scores: ClassScores, class_number: int, resampled: _Resampled) -> ClassScores:
    rest = len(resampled.units.unit_N) - scores.support
    effective = min(scores.support, rest)
    return replace(
        scores,
        roc_auc=_estimate(resampled, "roc_auc_C", effective, class_number),
        average_precision=_estimate(resampled, "average_precision_C", scores.support, class_number),
    )


def _f1_of(jaccard: Estimate) -> Estimate:
    def f1(share: float | None) -> float | None:
        return None if share is None else 2 * share / (1 + share)

    return Estimate(f1(jaccard.value), f1(jaccard.low), f1(jaccard.high), jaccard.method)
