"""`holotype audit`: what is broken, doubled or suspicious."""

from pathlib import Path
from typing import TYPE_CHECKING

from holotype.cli.options import AsJson, GroupPattern, LabelPattern
from holotype.cli.output import show, show_json, tell, tell_next, text_table
from holotype.narration import to_stderr

if TYPE_CHECKING:
    from holotype.dataset.findings import Findings

SHOWN_CLASSES = 20  # of more, only the largest and the smallest are shown


def audit(
    data: Path,
    /,
    *,
    output: Path | None = None,
    label_pattern: LabelPattern = None,
    group_pattern: GroupPattern = None,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 if there is a finding, 0 if the data is clean.

    Args:
        data: A folder with one folder per class, or a CSV or Parquet table.
        output: Write audit.json and issues.csv into this directory.
    """
    from holotype.dataset.audit import audit as audit_index
    from holotype.dataset.index import read_index

    index = read_index(data, label_pattern=label_pattern, group_pattern=group_pattern)
    with to_stderr().progress("auditing") as progress:
        findings = audit_index(index, on_progress=progress)
    if output is not None:
        findings.write(output)
    if as_json:
        show_json(findings.to_json())
    else:
        show(_page(findings))
    if output is not None:
        tell(f"Every picture with a problem: {output / 'issues.csv'}")
    elif findings.has_findings:
        tell_next("holotype", "audit", data, "--output", "audit")
    else:
        tell_next("holotype", "train", data)
    return 1 if findings.has_findings else 0


def _page(findings: "Findings") -> str:
    """What there is, how much of each class, and what was found."""
    lines = [f"{findings.images:,} pictures of {len(findings.class_counts)} classes"]
    for what, counts in (("formats", findings.formats), ("modes", findings.modes)):
        lines.append(f"{what}: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    smallest_to_largest = ", ".join(f"{width}×{height}" for width, height in findings.sizes)
    lines.append(f"sizes (smallest, median, largest): {smallest_to_largest}")
    lines += ["", _class_table(findings.class_counts)]
    lines.append(f"the largest class is {findings.imbalance:.3g} times the smallest")
    rows = findings.summary_rows()
    lines += ["", text_table(("found", "count", "what to do"), rows) if rows else "nothing found"]
    return "\n".join(lines)


def _class_table(counts: dict[str, int]) -> str:
    rows = sorted(counts.items(), key=lambda row: -row[1])
    half = SHOWN_CLASSES // 2
    if len(rows) > SHOWN_CLASSES:
        rows = rows[:half] + rows[-half:]
    return text_table(("class", "usable pictures"), rows)
