"""`MODEL_CARD.md`: intended use, data, scores, limits and licence of a classifier.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting". What only a
person can know is named as missing.

Shape suffixes: C classes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holotype.bundle.bundle import Bundle
from holotype.dataset.index import Index
from holotype.evaluation.intervals import Estimate
from holotype.evaluation.report_data import ClassScores, Report
from holotype.files import read_json, write_text
from holotype.progress import duration, pluralize
from holotype.reporting.model_card_header import header, licences_of, part_name
from holotype.reporting.plot_labels import truncate_middle
from holotype.reporting.report_page import SCORE_LABELS, ReportContext, commonest_confusions
from holotype.reporting.templates import fixed, interval, render
from holotype.run_directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd


MAX_CLASSES = 20  # of more, those with the lowest recall are listed
LOWEST_RECALL = 10
MAX_CONFUSIONS = 5
LONGEST_NAME = 80
LONGEST_LIST = 600  # characters of all class names in a sentence

_SCORES = (
    "accuracy",
    "accuracy_unweighted",
    "balanced_accuracy",
    "top_5_accuracy",
    "macro_precision",
    "macro_f1",
    "macro_roc_auc",
    "log_loss",
    "brier_score",
    "expected_calibration_error",
)
_FITS = {
    "squash": "the whole image, squashed into a square",
    "crop": "the middle of the image",
    "pad": "the whole image, padded to a square",
}


@dataclass(frozen=True)
class _PartSummary:
    """The numbers of a part of the data; 0 groups where images have none."""

    name: str
    images: int
    classes: int
    groups: int


@dataclass(frozen=True)
class _ClassRow:
    """The number of training and of evaluated images of a class, and its scores."""

    name: str
    num_training: int
    num_evaluated: int
    recall: Estimate
    precision: Estimate


def write_model_card(
    run: RunDirectory,
    report: Report,
    *,
    context: ReportContext,
    bundle: "Bundle",
    index: "Index",
    validation: Report | None = None,
    seeds: Mapping[str, int] | None = None,
) -> None:
    """Write the model card of a run.

    Args:
        run: versions, machine and time are read from its `environment.json`, where it is there.
        report: the scores: of test, out of fold, or of validation.
        context: the same that the report is written with.
        bundle: what ships, with its decision.
        index: the images with their split or folds.
        validation: scores for comparison; left out where they are of the same part.
        seeds: by what they are for.
    """
    environment: dict[str, Any] = {}
    if run.environment.is_file():
        environment = read_json(run.environment)
    second_report = None if validation is None or validation.part == report.part else validation
    text = "\n".join(
        ["---", header(report, second_report, context, bundle).strip(), "---", "", ""]
    ) + _body(report, second_report, context, bundle, index, seeds or {}, environment)
    write_text(run.card, re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n")


def _body(
    report: Report,
    second_report: Report | None,
    context: ReportContext,
    bundle: "Bundle",
    index: "Index",
    seeds: Mapping[str, int],
    environment: Mapping[str, Any],
) -> str:
    classes, manifest = report.classes, bundle.manifest
    names = ", ".join(truncate_middle(name, LONGEST_NAME) for name in classes)
    part_N = _parts_of(index, bool(context.folds))
    counts = index.table["label"].value_counts()
    unknown = manifest.decision.unknown if manifest.decision else None
    return render(
        "card.md.j2",
        {"fenced": _fenced, "with_interval": _with_interval},
        report=report,
        second_report=second_report,
        context=context,
        bundle=bundle,
        classes=classes,
        names=names if len(names) <= LONGEST_LIST else "",
        origin_of_scores=origin_of_scores(report),
        input_description=_input_description(bundle),
        output_description=_output_description(bundle),
        unknown=unknown,
        leakage_check=_leakage_check(index.table, part_N),
        parts=list(_parts(index.table, part_N)),
        smallest=int(min(counts.get(name, 0) for name in classes)),
        largest=int(counts.max()),
        report_part=part_name(report.part),
        second_part=part_name(second_report.part) if second_report else "",
        scores=[
            (
                SCORE_LABELS[name][0],
                report[name],
                second_report.metrics.get(name) if second_report else None,
            )
            for name in _SCORES
            if name in report.metrics
        ],
        methods=sorted({report[name].method for name in _SCORES if name in report.metrics}),
        calibration=_calibration(report, bundle),
        rows=_rows(report, index.table, part_N),
        confusions=commonest_confusions(report)[:MAX_CONFUSIONS],
        notes=list(_limits(report, context, unknown is not None)),
        licence=_licence(bundle),
        facts=list(_facts(bundle, seeds, environment)),
    )


def origin_of_scores(report: Report) -> str:
    if report.part == "test":
        return "On images that were used neither for training nor for choices"
    if report.part == "val":
        return "On validation, which chose it, so the scores are optimistic"
    return f"On predictions {report.part}"


def _input_description(bundle: "Bundle") -> str:
    each = [base.preprocessing for base in bundle.base_models]
    inputs = [
        f"{_FITS[one.fit]}, at {one.height} × {one.width} pixels"
        f"{', files that are cut off read as far as they go' if one.tolerate_truncated else ''}"
        for one in each
    ]
    return "; ".join(dict.fromkeys(inputs))


def _output_description(bundle: "Bundle") -> str:
    members = len(bundle.members)
    mean = f"the weighted mean of {pluralize(members, 'member')}: " if members else ""
    return f"{mean}a probability for each of {len(bundle.classes):,} classes"


def _parts_of(index: "Index", is_folded: bool) -> "pd.Series[str]":
    """The part of each image, or with folds its fold."""
    table = index.table
    part_N = table["split"].astype(str).map(part_name)
    if not is_folded:
        return part_N
    return part_N.where(table["fold"] < 0, "fold " + table["fold"].astype(str))


def _parts(table: "pd.DataFrame", part_N: "pd.Series[str]") -> Iterator[_PartSummary]:
    order = {name: n for n, name in enumerate(["training", "validation", "calibration"])}
    for name in sorted(part_N.unique(), key=lambda name: (order.get(name, 3), len(name), name)):
        rows = table[part_N == name]
        groups = rows["group"][rows["group"] != ""].nunique()
        yield _PartSummary(name or "none", len(rows), rows["label"].nunique(), groups)


def _leakage_check(table: "pd.DataFrame", part_N: "pd.Series[str]") -> str:
    """How many files and groups are in more than one part, counted in the index."""
    grouped, known = table["group"] != "", table["sha256"] != ""
    groups = part_N[grouped].groupby(table["group"][grouped]).nunique()
    files = part_N[known].groupby(table["sha256"][known]).nunique()
    split_files, split_groups = int((files > 1).sum()), int((groups > 1).sum())
    equal = "No file is in two parts."
    if split_files:
        equal = f"Files with equal bytes in more than one part: {split_files:,}."
    if groups.empty:
        return f"Images have no groups. {equal}"
    if split_groups == 0:
        return f"No group is in two parts. {equal}"
    return f"Groups in more than one part: {split_groups:,} of {len(groups):,}. {equal}"


def _rows(report: Report, table: "pd.DataFrame", part_N: "pd.Series[str]") -> list[_ClassRow]:
    """All classes, or those with the lowest recall."""
    is_training = part_N.isin(["training"]) | part_N.str.startswith("fold ")
    num_training = table["label"][is_training & (table["weight"] > 0)].value_counts()
    shown: list[ClassScores] = list(report.per_class)
    if len(shown) > MAX_CLASSES:
        tested = [scores for scores in shown if scores.recall.value is not None]
        shown = sorted(tested, key=lambda scores: scores.recall.value or 0.0)[:LOWEST_RECALL]
    return [
        _ClassRow(
            name=truncate_middle(one.name, LONGEST_NAME),
            num_training=int(num_training.get(one.name, 0)),
            num_evaluated=one.support,
            recall=one.recall,
            precision=one.precision,
        )
        for one in shown
    ]


def _calibration(report: Report, bundle: "Bundle") -> str:
    error, decision = report["expected_calibration_error"], bundle.manifest.decision
    said = (
        f"Expected calibration error {fixed(error.value)} (95 % interval {interval(error)}): the "
        "mean difference between confidence and accuracy."
    )
    if decision is None:
        return f"{said} No temperature was fitted: there was no validation part."
    views = "" if decision.views == "one" else f" Test-time augmentation: {decision.views} views."
    sets = ""
    if (calibration_set := decision.calibration_set) is not None:
        out_of_fold = calibration_set.source == "out_of_fold"
        which = "predicted out of fold" if out_of_fold else "used for nothing else"
        number = pluralize(calibration_set.num_images, "image")
        sets = f" Prediction sets are calibrated on {number}, {which}."
    before = " before test was read" if report.part == "test" else ""
    return (
        f"{said} Logits are divided by the temperature {decision.temperature:.3g}, fitted on "
        f"{pluralize(decision.num_images, 'image')}{before}.{views}{sets}"
    )


def _limits(report: Report, context: ReportContext, answers_unknown: bool) -> Iterator[str]:
    yield from context.notes
    yield from report.caveats
    if context.group_leakage is not None:
        yield context.group_leakage.sentence()
    if not answers_unknown:
        yield (
            "Every image is assigned a class, also one that shows none of them; a high "
            "probability does not mean that it shows one."
        )


def _licence(bundle: "Bundle") -> str:
    licences = sorted(licences_of(bundle))
    if not licences:
        return (
            "No licence is inherited, since training started from random weights. Whoever trained "
            "the classifier decides, as far as the images allow."
        )
    if {"unknown", "yours"} & set(licences):
        return (
            "Unknown: training started from weights in a file that states no licence. Find it out "
            "before you distribute the classifier."
        )
    return f"Training started from pretrained weights under {' and '.join(licences)}."


def _facts(
    bundle: "Bundle", seeds: Mapping[str, int], environment: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if seeds:
        yield "Seeds", ", ".join(f"{what} {seed}" for what, seed in seeds.items())
    versions = {"python": environment.get("python"), **bundle.manifest.versions}
    yield "Versions", ", ".join(f"{name} {one}" for name, one in versions.items() if one)
    machine = [environment.get(key) for key in ("platform", "processor", "device")]
    if any(machine):
        cores = f"{environment['cores']} cores" if environment.get("cores") else None
        yield "Machine", ", ".join(str(one) for one in [*machine, cores] if one)
    if (seconds := environment.get("training_seconds")) is not None:
        least = "at least " if environment.get("training_resumed") else ""
        yield "Training time", least + duration(seconds)
    if (peak := environment.get("peak_memory_mb")) is not None:
        yield "Peak memory", f"{peak:,.0f} MB"


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    from markupsafe import Markup

    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}sh\n{text}\n{fence}")


def _with_interval(estimate: Estimate) -> str:
    """A value and its interval; what is undefined says why."""
    if estimate.value is None:
        return estimate.method
    return f"{fixed(estimate.value)} ({interval(estimate)})"
