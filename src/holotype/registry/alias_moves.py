"""The changes of a registry, within a transaction: a version, an alias, and the event of each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from holotype.errors import ChampionMoved, HolotypeError, PromotionRefused, UnknownVersion
from holotype.registry.bundle_store import BundleStore
from holotype.registry.database import Connection
from holotype.registry.promotion_test import compare_with_champion
from holotype.registry.registered_name import RegisteredName, check_word
from holotype.registry.registered_version import RegisteredVersion
from holotype.registry.registry_events import PromotionTest, RegistryEvent, time_text
from holotype.registry.version_queries import alias_target, find_version

FORCE = "--force --reason promotes it all the same."


def existing_version(
    connection: Connection, store: BundleStore, named: RegisteredName
) -> RegisteredVersion:
    """A version that is there.

    Raises:
        UnknownVersion: there is none, or it was removed.
    """
    check_word("name", named.name)
    found = find_version(connection, store, named)
    if found.removed_at is not None:
        raise UnknownVersion(f"{named} was removed at {found.removed_at}.")
    return found


def require_target(
    connection: Connection, named: RegisteredName, expected: int | None
) -> int | None:
    """Where an alias points now, which is where the caller thinks it does.

    Args:
        expected: a version; 0: nowhere; None: wherever it does.

    Raises:
        ChampionMoved: it points elsewhere.
    """
    check_word("name", named.name)
    found = alias_target(connection, named.name, named.alias or "")
    if expected is not None and (found or 0) != expected:
        now = "none" if found is None else str(found)
        raise ChampionMoved(
            f"the {named.alias} of {named.name} is {now} now, not {expected or 'none'}; look again "
            f"(`holotype registry history {named.name}`) and decide anew."
        )
    return found


def compare_before_promotion(
    connection: Connection,
    store: BundleStore,
    candidate: RegisteredVersion,
    champion: int | None,
    *,
    force: bool,
) -> PromotionTest | None:
    """The test of a promotion; None where there is no champion, or it is forced without a test.

    Raises:
        PromotionRefused: the candidate is the champion, is surely worse, or cannot be compared.
    """
    name = f"{candidate.name}/{candidate.version}"
    if champion is None:
        return None
    if champion == candidate.version:
        raise PromotionRefused(f"{name} is the champion already.")
    other = find_version(connection, store, RegisteredName(candidate.name, champion))
    try:
        test = compare_with_champion(other, candidate)
    except HolotypeError as error:  # of damaged predictions too
        if force:
            return None
        raise PromotionRefused(
            f"{name} cannot be compared with the champion: {error} {FORCE}"
        ) from error
    if test.is_surely_worse and not force:
        raise PromotionRefused(f"{name} is surely worse than the champion: {test}. {FORCE}")
    return test


def insert_version(
    connection: Connection, name: str, columns: Mapping[str, Any], *, who: str, reason: str
) -> int:
    """Write the next version of a name; its number."""
    last = connection.row(
        "SELECT MAX(version) AS version FROM holotype_versions WHERE name = :name", name=name
    )
    version = ((last and last["version"]) or 0) + 1
    event = RegistryEvent(0, "", who, reason, "register", name, "", version)
    at = record_event(connection, event).at
    row = {"name": name, "version": version, "at": at, "who": who, "reason": reason, **columns}
    connection.insert("holotype_versions", row)
    return version


def remove_version(connection: Connection, event: RegistryEvent) -> RegistryEvent:
    """Mark the version of an event as removed; its row stays, so that its number does."""
    event = record_event(connection, event)
    connection.execute(
        "UPDATE holotype_versions SET removed_at = :at WHERE name = :name AND version = :version",
        at=event.at, name=event.name, version=event.version,
    )  # fmt: skip
    return event


def move_alias(
    connection: Connection, event: RegistryEvent, test: PromotionTest | None = None
) -> RegistryEvent:
    """Point an alias where an event says, and record the event; no version removes the alias."""
    name, alias, version = event.name, event.alias, event.version
    previous = alias_target(connection, name, alias)
    connection.execute(
        "DELETE FROM holotype_aliases WHERE name = :name AND alias = :alias", name=name, alias=alias
    )
    if version is not None:
        connection.insert("holotype_aliases", {"name": name, "alias": alias, "version": version})
    return record_event(connection, replace(event, previous_version=previous, test=test))


def record_event(connection: Connection, event: RegistryEvent) -> RegistryEvent:
    """Write the next event; its number and time are set here, later than those of all others."""
    last = connection.row(
        "SELECT number, at FROM holotype_events ORDER BY number DESC LIMIT 1"
    ) or {"number": 0, "at": ""}
    at = time_text(datetime.now(UTC))
    if at <= last["at"]:  # two within a microsecond, or the clock of another host
        at = time_text(datetime.fromisoformat(last["at"]) + timedelta(microseconds=1))
    event = replace(event, number=last["number"] + 1, at=at)
    test = "" if event.test is None else json.dumps(asdict(event.test))
    connection.insert("holotype_events", {**vars(event), "forced": int(event.forced), "test": test})
    return event
