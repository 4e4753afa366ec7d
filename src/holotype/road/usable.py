"""What of the pictures can be trained on, and what to say of the rest."""

from dataclasses import replace
from typing import TYPE_CHECKING

from holotype.errors import EmptyDataset
from holotype.narration import Narrator

if TYPE_CHECKING:
    from holotype.dataset.findings import Findings
    from holotype.dataset.index import Index


def usable(index: "Index", findings: "Findings", narrator: Narrator) -> "Index":
    """The pictures that can be read; the others are named and left out."""
    from holotype.dataset.index import require_classes

    for refusal in findings.refusals:
        narrator.say(f"left out: {refusal.path!r}: {refusal.reason}")
    kept = index.without(findings.broken)
    if len(kept) == 0:
        raise EmptyDataset(
            f"none of the {len(index)} pictures in {str(index.root)!r} can be read; the first: "
            f"{findings.refusals[0].reason}."
        )
    present = set(kept.table["label"])
    kept = replace(kept, classes=tuple(c for c in kept.classes if c in present))
    require_classes(kept)
    for name in sorted(set(index.classes) - present):
        narrator.say(f"class {name!r} is left out: none of its pictures can be read")
    return kept
