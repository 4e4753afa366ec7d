"""`holotype audit`: what is broken, doubled, poor or probably wrong."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holotype.cli.options import AsJson, Device, GroupPattern, LabelPattern, LabelPrefix, Switch
from holotype.cli.output import (
    print_json,
    print_message,
    print_next_command,
    print_result,
)
from holotype.dataset.auditing.findings import Findings
from holotype.dataset.reading.source_types import pattern_words
from holotype.pipeline.audit import audit as audit_data
from holotype.progress import pluralize, to_stderr
from holotype.text_tables import text_table

SHOWN_CLASSES = 20  # of more, only the largest and the smallest are shown
SHOWN_LABELS = 5
KINDS_OF_GIVEN_SPLITS = frozenset(["leak", "missing_class"])  # data without parts has none


def audit(
    data: tuple[Path, ...],
    /,
    *,
    output: Path | None = None,
    fail_on: Annotated[str | None, Parameter(show_default=False)] = None,
    labels: Switch = False,
    quick: Switch = False,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    label_prefix: LabelPrefix = False,
    tolerate_truncated: Switch = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if something must be done, which copies under one label and suspicions need not.

    Args:
        data: Folders with one folder per class, or CSV or Parquet tables; several are combined.
        output: Write index.html, audit.json and issues.csv into this directory.
        fail_on: Exit code 1 only for these, such as leak,label_conflict,label_error: unusable,
            exact_duplicate, near_duplicate, label_conflict, leak, oversized_cluster, small_class,
            similar_class, missing_class, label_error, outlier, conflicting_neighbour, quality,
            warning.
        labels: Insist on a look at the labels, which takes a pretrained network; unless said
            otherwise they are looked at if it is there.
        quick: Run no network: labels, outliers and neighbours are not looked at.
        tolerate_truncated: Read files that are cut off as far as they go, as a training with the
            same option does; they are named as warnings, not as unusable.
    """
    found = audit_data(
        data,
        output=output,
        fail_on=fail_on or (),
        labels=labels,
        quick=quick,
        label_pattern=label_pattern,
        group_pattern=group_pattern,
        label_prefix=label_prefix,
        tolerate_truncated=tolerate_truncated,
        device=device,
        progress=to_stderr(),
    )
    findings = found.findings
    if as_json:
        print_json(findings.to_json())
    else:
        print_result(_page(findings))
    for sentence in findings.skipped_checks:
        print_message(sentence)
    if KINDS_OF_GIVEN_SPLITS & set(found.fail_on) and not found.index.table["split"].any():
        print_message("No split came with the data, so nothing was found to be wrong with it.")
    patterns = pattern_words(label_pattern, group_pattern, label_prefix)
    if output is not None:
        print_message(f"With images: {output / 'index.html'}")
        print_message(f"Every image with a problem: {output / 'issues.csv'}")
    elif findings.summary_rows():
        print_next_command("holotype", "audit", *data, "--output", "audit", *patterns)
    elif len(found.index.classes) > 1:
        print_next_command("holotype", "train", *data, *patterns)
    named = [f"{kind} {found.counts[kind]:,}" for kind in found.fail_on if found.counts[kind]]
    if named:
        print_message(f"Failed on {', '.join(named)}.")
    return int(found.failed)


def _page(findings: Findings) -> str:
    """What there is, how much of each class, and what was found."""
    classes = pluralize(len(findings.class_counts), "class", "classes")
    lines = [f"{pluralize(findings.num_images, 'image')} of {classes}"]
    for what, counts in (("formats", findings.formats), ("modes", findings.modes)):
        lines.append(f"{what}: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    smallest_to_largest = ", ".join(f"{width}×{height}" for width, height in findings.sizes)
    lines.append(f"sizes (smallest, median, largest): {smallest_to_largest}")
    lines += ["", _class_table(findings)]
    lines.append(findings.imbalance_note)
    lines += findings.class_notes()
    lines += _labels(findings)
    rows = findings.summary_rows()
    lines += ["", text_table(("found", "count", "what to do"), rows) if rows else "nothing found"]
    return "\n".join(lines)


def _labels(findings: Findings) -> list[str]:
    """The estimate, and the labels that are most probably wrong."""
    if findings.noise_rate is None:
        return []
    issues = findings.label_errors
    lines = [
        f"wrong labels, estimated: {findings.noise_rate} of {findings.noise_rate.num_images:,}"
    ]
    if issues:
        rows = [
            (issue.path, issue.given, issue.suggested, f"{issue.probability_given:.1%}")
            for issue in issues[:SHOWN_LABELS]
        ]
        if len(issues) > len(rows):
            lines.append(f"{len(rows)} of {len(issues):,} suspected are shown; --output lists all.")
        lines.append("Many may be right and only hard: look at each before you exclude it.")
        header = ("most probably wrong", "label", "suggested", "label's probability")
        lines += ["", text_table(header, rows)]
    return lines


def _class_table(findings: Findings) -> str:
    header, rows = findings.class_table()
    half = SHOWN_CLASSES // 2
    if len(rows) > SHOWN_CLASSES:
        rows = rows[:half] + rows[-half:]
    return text_table(header, rows)
