"""What a retraining came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from holotype.files import read_json, reading
from holotype.notebook import html_result, html_table
from holotype.text_tables import printable, short_text
from holotype.watching.retraining.promotion_decision import PromotionDecision

SUSPECTED_SHOWN = 5  # labels in a sentence
Outcome = Literal["no alarm", "refused", "rejected", "challenger", "promoted"]


@dataclass(frozen=True, eq=False, repr=False)
class Retraining:
    """A successor of the champion, or why there is none.

    Attributes:
        name: of the registered classifier.
        outcome: `no alarm`: nothing was done; `refused`: the new labels are wrong too often, and
            nothing trained; `rejected`: the candidate is surely worse; `challenger`: it waits for a
            shadow or a share of the traffic; `promoted`: it is the champion.
        reasons: in sentences.
        champion: the version that it started from.
        candidate: the version that was registered; None where there is none.
        path: the directory; None where nothing was done.
        decision: the comparisons; None without a candidate.
        labels: what was found among the new labels; see `LabelCheck.to_json`.
        images: how many new images stand where.
        new_classes: of the new labels, those that the champion does not know.
    """

    name: str
    outcome: Outcome
    reasons: tuple[str, ...]
    champion: int
    candidate: int | None = None
    path: Path | None = None
    decision: PromotionDecision | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    new_classes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a person should look: labels were refused, or the candidate is worse."""
        return self.outcome in ("refused", "rejected")

    @property
    def next_command(self) -> tuple[str, ...]:
        """What to try next, as words; nothing where there is nothing to do."""
        if self.outcome == "challenger" and self.new_classes:  # no server compares the two
            return (
                "holotype", "serve", f"registry://{self.name}@champion",
                f"{self.name}-{self.candidate}=registry://{self.name}@challenger", "--log", "log",
            )  # fmt: skip
        if self.outcome == "challenger":
            return (
                "holotype", "serve", f"registry://{self.name}@champion", "--challenger",
                f"registry://{self.name}@challenger", "--shadow", "--log", "log",
            )  # fmt: skip
        if self.outcome == "promoted":
            return ("holotype", "registry", "history", self.name)
        return ()

    def rows(self) -> list[tuple[str, str]]:
        """What is known, in words."""
        known = [("outcome", self.outcome), *(("why", reason) for reason in self.reasons)]
        if self.images:
            placed = ", ".join(f"{count} {name}" for name, count in self.images.items())
            known.append(("new images", placed))
        if self.labels:
            known.append(
                (
                    "new labels",
                    f"{self.labels['suspected_units']} of {self.labels['units']} suspected, "
                    f"{self.labels['old_suspected_units']} of {self.labels['old_units']} old ones "
                    f"(p = {self.labels['p_value']:.2g})",
                )
            )
        if self.new_classes:
            known.append(("new classes", ", ".join(map(repr, self.new_classes))))
        if self.decision is not None:
            known += [
                ("old test", str(self.decision.old)), ("fresh labels", str(self.decision.fresh)),
            ]  # fmt: skip
        if self.candidate is not None:
            known.append(("candidate", f"{self.name}/{self.candidate}"))
        if self.path is not None:
            known.append(("directory", str(self.path)))
        return known

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self), "reasons": list(self.reasons),
            "path": None if self.path is None else str(self.path),
            "decision": self.decision and self.decision.to_json(),
            "labels": dict(self.labels), "images": dict(self.images),
            "new_classes": list(self.new_classes),
            "next": list(self.next_command),
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [self._title]
        lines += [f"  {what:<12}  {value}" for what, value in self.rows()]
        return printable("\n".join(lines))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result(self._title, html_table(["", ""], self.rows()))

    @property
    def _title(self) -> str:
        return f"Retraining of {self.name}/{self.champion}: {self.outcome}"


def read_retraining(file: Path, *, path: Path) -> Retraining:
    """Read `result.json`.

    Args:
        path: of the directory, which may have moved.

    Raises:
        CorruptFile: it is damaged.
    """
    found = read_json(file)
    with reading(file):
        del found["next"]
        decision = found["decision"]
        return Retraining(
            **{
                **found,
                "reasons": tuple(found["reasons"]),
                "new_classes": tuple(found.get("new_classes", ())),
                "path": path,
                "decision": None if decision is None else PromotionDecision.from_json(decision),
            }
        )


def suspected_sentence(labels: Mapping[str, Any]) -> str:
    """The images of suspected labels, the surest first."""
    suspected: Sequence[Mapping[str, Any]] = labels["suspected"]
    named = [
        f"{each['path']} ({each['given']}, probably {each['suggested']})"
        for each in suspected[:SUSPECTED_SHOWN]
    ]
    num_more = len(suspected) - SUSPECTED_SHOWN
    more = f" and {num_more} more" if num_more > 0 else ""
    return ", ".join(named) + more
