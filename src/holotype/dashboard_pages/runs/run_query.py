"""Which entries of a folder to show: filters, order and page, as they stand in an address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holotype.dashboard_pages.addresses import changed_fields, query_string, whole_number
from holotype.dashboard_pages.runs.folder_index import FolderEntry
from holotype.errors import UsageError

KINDS = ("", "run", "search", "sweep", "audit")
ORDERS = ("changed", "path", "accuracy", "seconds", "model", "recipe", "data")
_UPWARDS = ("path", "seconds", "model", "recipe", "data")  # of the others the largest come first


@dataclass(frozen=True)
class RunQuery:
    """What is asked for; an empty text asks for all.

    Attributes:
        words: what the path has to contain, whatever the letter case.
        kind: of `KINDS`.
        model, recipe, data: as they stand in the table.
        tag: a tag that it has.
        order: of `ORDERS`; a hyphen before it turns it round.
        page: from 1.
    """

    words: str = ""
    kind: str = ""
    model: str = ""
    recipe: str = ""
    data: str = ""
    tag: str = ""
    order: str = "changed"
    page: int = 1

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "RunQuery":
        """From the query of an address.

        Raises:
            UsageError: an unknown kind or order, or a page that is no number.
        """
        texts = {name: values.get(name, "") for name in ("model", "recipe", "data", "tag", "kind")}
        page, order = values.get("page", "1") or "1", values.get("order", "") or "changed"
        if order.removeprefix("-") not in ORDERS:
            raise UsageError(f"order is {order[:40]!r}; expected one of {', '.join(ORDERS)}.")
        if texts["kind"] not in KINDS:
            raise UsageError(f"kind is {texts['kind'][:40]!r}; expected one of {KINDS}.")
        number = whole_number(page, otherwise=-1)
        if number < 0:
            raise UsageError(f"page is {page[:20]!r}; expected a number.")
        words = values.get("words", "").strip()
        return cls(words=words, order=order, page=max(1, number), **texts)

    def address(self, **changes: object) -> str:
        """The query of an address with what differs from the defaults."""
        return query_string(changed_fields(self, changes))

    def turned(self, order: str) -> str:
        """The address that sorts by a column, the other way where it is sorted so already."""
        return self.address(order=f"-{order}" if self.order == order else order, page=1)


def select_entries(entries: Sequence[FolderEntry], query: RunQuery) -> list[FolderEntry]:
    """The entries that are asked for, in order; those without a value come last."""
    words = query.words.casefold()
    chosen = [
        entry
        for entry in entries
        if (not query.kind or entry.kind == query.kind)
        and (not words or words in entry.path.casefold())
        and (not query.model or entry.model == query.model)
        and (not query.recipe or entry.recipe == query.recipe)
        and (not query.data or entry.data == query.data)
        and (not query.tag or query.tag in entry.tags)
    ]
    name = query.order.removeprefix("-")
    is_turned = query.order.startswith("-")
    known = [entry for entry in chosen if getattr(entry, name) not in (None, "")]
    known.sort(key=lambda e: getattr(e, name), reverse=(name not in _UPWARDS) != is_turned)
    return known + [entry for entry in chosen if getattr(entry, name) in (None, "")]


def values_of(entries: Sequence[FolderEntry]) -> dict[str, list[str]]:
    """What there is to filter by: models, recipes, data and tags."""
    found: dict[str, set[str]] = {"model": set(), "recipe": set(), "data": set(), "tag": set()}
    for entry in entries:
        for name in ("model", "recipe", "data"):
            found[name].add(getattr(entry, name))
        found["tag"].update(entry.tags)
    return {name: sorted(values - {""}) for name, values in found.items()}
