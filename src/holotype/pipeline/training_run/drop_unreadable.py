"""Drop images that cannot be read, and classes that have no others."""

from dataclasses import replace

from holotype.dataset.auditing.findings import Findings
from holotype.dataset.index import Index, require_classes
from holotype.errors import EmptyDataset
from holotype.progress import Progress


def drop_unreadable(index: Index, findings: Findings, progress: Progress) -> Index:
    """The images that can be read; the others are named and left out."""
    for refusal in findings.unusable:
        progress.log(f"left out: {refusal.path!r}: {refusal.reason}")
    kept = index.without(findings.unusable_paths)
    if len(kept) == 0:
        raise EmptyDataset(
            f"none of the {len(index)} images in {str(index.root)!r} can be read; the first: "
            f"{findings.unusable[0].reason}."
        )
    present = set(kept.table["label"])
    kept = replace(kept, classes=tuple(c for c in kept.classes if c in present))
    require_classes(kept)
    for name in sorted(set(index.classes) - present):
        progress.log(f"class {name!r} is left out: none of its images can be read")
    return kept
