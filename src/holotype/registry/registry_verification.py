"""Verify a registry: every stored file against its digest, and the history against the aliases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holotype.notebook import html_result
from holotype.registry.bundle_store import BundleStore
from holotype.registry.database import Connection, Row
from holotype.registry.version_queries import replay_aliases
from holotype.text_tables import printable, short_text


@dataclass(frozen=True, repr=False)
class Verification:
    """What was looked at, and what is wrong.

    Attributes:
        num_versions, num_events: how many were looked at.
        problems: what is wrong, in sentences, by what it is of: a version such as `cells/7`, or
            the name of a classifier.
    """

    num_versions: int
    num_events: int
    problems: Mapping[str, tuple[str, ...]]

    @property
    def is_intact(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        problems = {what: list(found) for what, found in self.problems.items()}
        return {"versions": self.num_versions, "events": self.num_events, "problems": problems}

    def __str__(self) -> str:
        title = f"{self.num_versions:,} versions and {self.num_events:,} events"
        lines = [f"{what}: {problem}" for what, found in self.problems.items() for problem in found]
        return printable("\n".join([f"{title}: {'intact' if not lines else 'damaged'}", *lines]))

    def __repr__(self) -> str:
        return short_text(str(self))

    def _repr_html_(self) -> str:
        return html_result("Verification", notes=str(self).splitlines())


@dataclass(frozen=True)
class RegistryRows:
    """What the tables hold; files are read after it, so that nobody waits for that.

    Attributes:
        name: of the only classifier that was asked for; None: all of them.
        versions, events, aliases: rows, in their order.
    """

    name: str | None
    versions: Sequence[Row]
    events: Sequence[Row]
    aliases: Sequence[Row]


def read_rows(connection: Connection, name: str | None) -> RegistryRows:
    """All of them, or those of one name."""
    only = "" if name is None else "WHERE name = :name"
    values = {} if name is None else {"name": name}
    versions = connection.rows(
        f"SELECT name, version, bundle_sha256, record_sha256, removed_at FROM holotype_versions "
        f"{only} ORDER BY name, version",
        **values,
    )
    events = connection.rows(f"SELECT * FROM holotype_events {only} ORDER BY number", **values)
    aliases = connection.rows(f"SELECT * FROM holotype_aliases {only}", **values)
    return RegistryRows(name, versions, events, aliases)


def verify_registry(rows: RegistryRows, store: BundleStore) -> Verification:
    """Read all files of all versions that are not removed, and replay the history."""
    versions, events = rows.versions, rows.events
    problems: dict[str, tuple[str, ...]] = {}
    files: dict[tuple[str, str], list[str]] = {}
    for row in versions:
        if row["removed_at"] is None:
            digests = row["bundle_sha256"], row["record_sha256"]
            if digests not in files:
                files[digests] = store.verify(*digests)
            if files[digests]:
                problems[f"{row['name']}/{row['version']}"] = tuple(files[digests])
    numbers: dict[str, list[int]] = {}
    for row in versions:
        numbers.setdefault(row["name"], []).append(row["version"])
    for each, found in numbers.items():
        if found != list(range(1, len(found) + 1)):
            problems[each] = ("the numbers of its versions have gaps.",)
    replayed = replay_aliases([event for event in events if event["alias"]])
    present: dict[str, dict[str, int]] = {}
    for row in rows.aliases:
        present.setdefault(row["name"], {})[row["alias"]] = row["version"]
    for each in sorted(set(replayed) | set(present)):
        if replayed.get(each, {}) != present.get(each, {}):
            problems[each] = (
                *problems.get(each, ()),
                f"its aliases are {present.get(each, {})}, and its history says "
                f"{replayed.get(each, {})}.",
            )
    if rows.name is None and [event["number"] for event in events] != list(
        range(1, len(events) + 1)
    ):
        problems["events"] = ("the numbers of the events have gaps.",)
    return Verification(sum(row["removed_at"] is None for row in versions), len(events), problems)
