"""Which images of a table to show: filters, order and page, as they stand in the address of a page.

Shape suffixes: N images, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dashboard_pages.addresses import changed_fields, query_string
from holotype.dashboard_pages.data.image_table import ALL_PARTS, PREDICTED_PARTS, ImageTable
from holotype.errors import UsageError

ORDERS = ("path", "confident", "uncertain")
ANSWERS = ("", "right", "wrong", "none")


@dataclass(frozen=True)
class ImageQuery:
    """What is asked for; an empty text asks for all.

    Attributes:
        label: the number of the class in the index; -1 for all. Names may hold what forms change.
        predicted: the number of the class that was predicted, among the predicted ones; or -1.
        part: of the split.
        predictions: of `PREDICTED_PARTS`: which ones an image has to be predicted by.
        finding: a kind of finding.
        answer: `right`, `wrong`, or `none`: no prediction.
        low, high: of the confidence, in [0, 1].
        words: what the path has to contain, whatever the letter case.
        order: `path`, `confident` or `uncertain` first.
        page: from 1.
    """

    label: int = -1
    predicted: int = -1
    part: str = ""
    predictions: str = ""
    finding: str = ""
    answer: str = ""
    low: float = 0.0
    high: float = 1.0
    words: str = ""
    order: str = "path"
    page: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "ImageQuery":
        """From the query of an address; what it does not name is not asked for.

        Raises:
            UsageError: a number, an order or an answer that makes no sense.
        """
        query = cls(
            label=int(_number("label", values, -1)),
            predicted=int(_number("predicted", values, -1)),
            part=values.get("part", ""),
            predictions=values.get("predictions", ""),
            finding=values.get("finding", ""),
            answer=values.get("answer", ""),
            words=values.get("words", "").strip(),
            order=values.get("order") or "path",
            low=_number("low", values, 0.0),
            high=_number("high", values, 1.0),
            page=max(1, int(_number("page", values, 1.0))),
        )
        choices = (("order", ORDERS), ("answer", ANSWERS), ("predictions", ("", *PREDICTED_PARTS)))
        for name, known in choices:
            if getattr(query, name) not in known:
                raise UsageError(
                    f"{name} is {getattr(query, name)!r}; expected one of {', '.join(known)}."
                )
        return query

    def address(self, of: str, **changes: object) -> str:
        """The query of an address with what differs from the defaults."""
        return query_string({"of": of, **changed_fields(self, changes)})


def select_rows(
    table: ImageTable, query: ImageQuery, findings: Mapping[str, NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The rows of the images that are asked for, in order.

    Args:
        findings: kind -> rows; see `findings_by_kind`.
    """
    wanted_N = np.ones(len(table), bool)
    if query.label >= 0:
        wanted_N &= table.label_N == query.label
    if query.predicted >= 0:
        wanted_N &= table.predicted_N == query.predicted
    if query.part:
        parts = np.array(["", *ALL_PARTS])[table.part_N + 1]
        wanted_N &= parts == query.part
    if query.predictions:
        wanted_N &= table.predicted_part_N == PREDICTED_PARTS.index(query.predictions)
    if query.finding:
        has_N = np.zeros(len(table), bool)
        has_N[findings.get(query.finding, [])] = True
        wanted_N &= has_N
    is_judged_N = (table.predicted_N >= 0) & (table.target_N >= 0)
    if query.answer == "right":
        wanted_N &= is_judged_N & (table.predicted_N == table.target_N)
    elif query.answer == "wrong":
        wanted_N &= is_judged_N & (table.predicted_N != table.target_N)
    elif query.answer == "none":
        wanted_N &= table.predicted_N < 0
    if query.low > 0 or query.high < 1:
        wanted_N &= (table.confidence_N >= query.low) & (table.confidence_N <= query.high)
    rows = np.flatnonzero(wanted_N)
    if query.words:
        words = query.words.casefold()
        contains = [words in table.paths[row].casefold() for row in rows.tolist()]
        rows = rows[np.array(contains, bool)]
    if query.order != "path":
        sign = -1 if query.order == "confident" else 1
        rows = rows[np.argsort(sign * table.confidence_N[rows], kind="stable")]  # nan comes last
    return rows.astype(np.int64)


def _number(name: str, values: Mapping[str, str], otherwise: float) -> float:
    text = values.get(name, "").strip()
    try:
        number = float(text) if text else otherwise
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"{name} is {text!r}; expected a number.")
    return number
